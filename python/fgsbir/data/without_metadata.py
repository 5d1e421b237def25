"""JPEG, PNG and WebP files without what says nothing of their pixels."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress

JPEG_START = b"\xff\xd8"
PNG_START = b"\x89PNG\r\n\x1a\n"
RIFF, WEBP = b"RIFF", b"WEBP"
START_OF_SCAN = 0xDA
JPEG_APPLICATION = range(0xE0, 0xF0)
JPEG_COMMENT = 0xFE
JPEG_KEPT = frozenset({0xE0, 0xE1, 0xEE})  # JFIF, Exif for which way is up, Adobe for the colours
PNG_KEPT = frozenset({b"tRNS", b"eXIf"})
WEBP_PIXELS = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF"})
MOST_PARTS = 10_000  # of a file, and bytes of filling between them
WEBP_METADATA_FLAGS = 0x20 | 0x08 | 0x04  # of a profile, of Exif, of XMP


def without_metadata(content: bytes) -> Iterator[bytes]:
    """Files of the same pixels, without text, colour profiles, previews and the like.

    None is the file itself. The first keeps what says how pixels are to be shown, the second
    nothing but pixels. There are none of a file of another kind, or of one that is cut off before
    its pixels.
    """
    parts: Callable[[bytes, Collection[int | bytes]], Iterator[bytes]]
    kept: tuple[Collection[int | bytes], ...]
    if content.startswith(JPEG_START):
        start, parts, kept = JPEG_START, _jpeg_segments, (JPEG_KEPT, frozenset())
    elif content.startswith(PNG_START):
        start, parts, kept = PNG_START, _png_chunks, (PNG_KEPT, frozenset())
    elif content.startswith(RIFF) and content[8:12] == WEBP:
        start, parts, kept = b"", _webp, (frozenset(),)
    else:
        return
    for names in kept:
        with suppress(IndexError, struct.error):
            plain = start + b"".join(parts(content, names))
            if plain != content:
                yield plain


def has_too_many_parts(content: bytes) -> bool:
    """Whether a JPEG has so many segments before its pixels that reading them takes seconds."""
    try:
        for _ in _jpeg_segments(content, JPEG_KEPT):
            pass
    except TooManyPartsError:
        return content.startswith(JPEG_START)
    except (IndexError, struct.error):
        pass
    return False


class TooManyPartsError(struct.error):
    """A file has more than `MOST_PARTS`."""


def _jpeg_segments(content: bytes, kept: Collection[int | bytes]) -> Iterator[bytes]:
    at = len(JPEG_START)
    for _ in range(MOST_PARTS):
        at = content.find(b"\xff", at)  # bytes between segments mean nothing
        if at < 0:
            raise IndexError
        marker = content[at + 1]
        if marker == START_OF_SCAN:
            yield content[at:]
            return
        if marker in (0xFF, 0x00, 0x01) or 0xD0 <= marker <= 0xD9:  # without a length
            at += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", content, at + 2)
        if marker in kept or not (marker in JPEG_APPLICATION or marker == JPEG_COMMENT):
            yield content[at : at + 2 + length]
        at += 2 + length
    raise TooManyPartsError


def _png_chunks(content: bytes, kept: Collection[int | bytes]) -> Iterator[bytes]:
    at = len(PNG_START)
    for _ in range(MOST_PARTS):
        if at >= len(content):
            return
        length, name = struct.unpack_from(">I4s", content, at)
        chunk = content[at : at + 12 + length]
        is_critical = not name[0] & 0x20
        if is_critical or (name in kept and _is_whole(chunk)):
            yield chunk
        if name == b"IEND":
            return
        at += len(chunk)
    raise TooManyPartsError


def _is_whole(chunk: bytes) -> bool:
    return struct.pack(">I", zlib.crc32(chunk[4:-4])) == chunk[-4:]


def _webp(content: bytes, kept: Collection[int | bytes]) -> Iterator[bytes]:
    chunks = []
    at = len(RIFF) + 4 + len(WEBP)
    while at + 8 <= len(content):
        name, length = struct.unpack_from("<4sI", content, at)
        chunk = bytearray(content[at : at + 8 + length + length % 2])
        if name == b"VP8X" and length:
            chunk[8] &= ~WEBP_METADATA_FLAGS & 0xFF
        if name in WEBP_PIXELS:
            chunks.append(bytes(chunk))
        at += 8 + length + length % 2
    body = WEBP + b"".join(chunks)
    yield RIFF + struct.pack("<I", len(body)) + body
