"""Grey values of any depth as 8 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

DEPTHS = (8, 10, 12, 14, 16)
"""Bits of integers that cameras and scanners write, in two bytes or more."""
PART = 1 << 20  # numbers
OVERSHOOT = 1.25
"""By how much resampling may carry real numbers beyond the full scale."""
UNIT = 8.0
"""Up to where real numbers are of [0, 1] all the same: of any other range they were all but 0."""


def to_8_bits(image: Image.Image) -> Image.Image:
    """A decoded picture of at most 8 bits a channel.

    Integers are scaled by the smallest of `DEPTHS` that holds them all, real numbers from [0, 1]
    or from the same ranges. What is no number is white, as what is transparent is.
    """
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image)
    if values.dtype.itemsize == 2 and values.dtype.kind == "u":
        table = _scaled(np.arange(1 << 16), 0.0, _full_scale(float(values.max(initial=0))))
        return Image.fromarray(table[values])
    ranges = [_range(rows) for rows in _in_parts(values)]
    low, top = min(low for low, _ in ranges), max(top for _, top in ranges)
    full = _full_scale_of_reals(top) if image.mode == "F" else _full_scale(top)
    if low >= -(OVERSHOOT - 1) * full:  # else not from 0: a range of its own
        low, top = 0.0, full
    return Image.fromarray(np.concatenate([_scaled(part, low, top) for part in _in_parts(values)]))


def stretched(image: Image.Image) -> Image.Image:
    """A picture of channels that were cut from 16 bits to their upper 8, over its own range.

    The lower 10, 12 or 14 of 16 bits leave but the lowest 2, 4 or 6 of 8.
    """
    channels = np.array(image)
    for part in (channels[..., :3], channels[..., 3:]):  # colours, and opacity where there is some
        top = int(part.max(initial=0))
        full = next(2 ** (bits - 8) - 1 for bits in DEPTHS[1:] if top < 2 ** (bits - 8))
        if full < 255:
            part[...] = (part.astype(np.uint16) * 255 + full // 2) // full
    return Image.fromarray(channels)


def _in_parts(values: NDArray[Any]) -> list[NDArray[Any]]:
    """Some rows at a time: of a large picture numbers of 8 bytes would take gigabytes."""
    return np.array_split(values, max(1, values.size // PART), axis=0)


def _range(values: NDArray[Any]) -> tuple[float, float]:
    """The least and the largest of 0 and all finite numbers."""
    known = values[np.isfinite(values)]
    return float(known.min(initial=0)), float(known.max(initial=0))


def _full_scale(top: float) -> float:
    return next((2.0**bits - 1 for bits in DEPTHS if top < 2**bits), top)


def _full_scale_of_reals(top: float) -> float:
    if top <= UNIT:
        return 1.0
    scales = (2.0**bits - 1 for bits in DEPTHS)
    return next((scale for scale in scales if top <= OVERSHOOT * scale), top)


def _scaled(values: NDArray[np.number[Any]], low: float, full: float) -> NDArray[np.uint8]:
    span = full - low or 1.0
    with np.errstate(invalid="ignore", over="ignore"):  # infinite values
        share = np.nan_to_num((values - low) / span, nan=1.0, posinf=1.0, neginf=0.0)
    return (255 * share).round().clip(0, 255).astype(np.uint8)
