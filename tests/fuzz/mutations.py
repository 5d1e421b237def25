"""Random damage to the content of files."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

Random = np.random.Generator
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
"""Numbers at the limits of what a field can hold."""


def damaged(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """The content after one to six mutations.

    Args:
        content: of a sound file.
        others: contents of other files, to splice in.
        random: source of randomness.
    """
    for _ in range(int(random.integers(1, 7))):
        content = MUTATIONS[int(random.integers(len(MUTATIONS)))](content, others, random)
    return content


def _place(content: bytes, random: Random) -> int:
    """Near the beginning as often as anywhere, since there the headers are."""
    reach = len(content) if random.random() < 0.5 else min(len(content), 64)
    return int(random.integers(reach + 1))


def _flip(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    at = _place(content, random)
    return content[:at] + bytes([int(random.integers(256))]) + content[at + 1 :]


def _number(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    at, width = _place(content, random), int(random.choice((1, 2, 4)))
    number = NUMBERS[int(random.integers(len(NUMBERS)))] % 256**width
    order = "big" if random.random() < 0.5 else "little"
    return content[:at] + number.to_bytes(width, order) + content[at + width :]


def _cut(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    return content[: _place(content, random)]


def _leave_out(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    at = _place(content, random)
    return content[:at] + content[at + int(random.integers(1, 64)) :]


def _insert(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    at = _place(content, random)
    return content[:at] + random.bytes(int(random.integers(1, 64))) + content[at:]


def _repeat(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    at, times = _place(content, random), int(random.integers(2, 6))
    part = content[at : at + int(random.integers(1, 200))]
    return content[:at] + times * part + content[at + len(part) :]


def _splice(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    other = others[int(random.integers(len(others)))]
    return content[: _place(content, random)] + other[_place(other, random) :]


MUTATIONS: tuple[Callable[[bytes, Sequence[bytes], Random], bytes], ...] = (
    _flip,
    _number,
    _cut,
    _leave_out,
    _insert,
    _repeat,
    _splice,
)
