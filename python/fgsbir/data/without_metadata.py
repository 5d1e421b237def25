"""JPEG and PNG files without what says nothing of their pixels."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

JPEG_START = b"\xff\xd8"
PNG_START = b"\x89PNG\r\n\x1a\n"
START_OF_SCAN = 0xDA
# The first frame's size and range of colours, transparency, and which way is up.
JPEG_KEPT = frozenset({0xE0, 0xE1, 0xEE})  # JFIF, Exif, Adobe
PNG_KEPT = frozenset({b"tRNS", b"eXIf"})
JPEG_APPLICATION = range(0xE0, 0xF0)
JPEG_COMMENT = 0xFE


def without_metadata(content: bytes) -> bytes | None:
    """The file of the same pixels, without text, colour profiles, previews and the like.

    Returns:
        None for a file of another kind, and for one that is cut off before its pixels.
    """
    try:
        if content.startswith(JPEG_START):
            return JPEG_START + b"".join(_jpeg_segments(content))
        if content.startswith(PNG_START):
            return PNG_START + b"".join(_png_chunks(content))
    except (IndexError, struct.error):
        pass
    return None


def _jpeg_segments(content: bytes) -> Iterator[bytes]:
    at = len(JPEG_START)
    while True:
        if content[at] != 0xFF:  # bytes between segments mean nothing
            at += 1
            continue
        marker = content[at + 1]
        if marker == START_OF_SCAN:
            yield content[at:]
            return
        if marker in (0xFF, 0x00, 0x01) or 0xD0 <= marker <= 0xD9:  # without a length
            at += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", content, at + 2)
        if marker in JPEG_KEPT or not (marker in JPEG_APPLICATION or marker == JPEG_COMMENT):
            yield content[at : at + 2 + length]
        at += 2 + length


def _png_chunks(content: bytes) -> Iterator[bytes]:
    at = len(PNG_START)
    while at < len(content):
        length, name = struct.unpack_from(">I4s", content, at)
        chunk = content[at : at + 12 + length]
        is_critical = not name[0] & 0x20
        if is_critical or (name in PNG_KEPT and _is_whole(chunk)):
            yield chunk
        if name == b"IEND":
            return
        at += len(chunk)


def _is_whole(chunk: bytes) -> bool:
    return struct.pack(">I", zlib.crc32(chunk[4:-4])) == chunk[-4:]
