"""Decoding of image files into upright pictures and arrays of uint8."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from .depth import stretched, to_8_bits
from .names import in_a_line
from .without_metadata import without_metadata

ORIENTATION = 0x0112  # the number of its EXIF tag
TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Result = TypeVar("Result")


def verify_image(path: Path) -> None:
    """Check that ``path`` is an image file that `read_image` reads.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file cannot be decoded; names the file.
    """
    if not os.path.isfile(path):  # which answers for a name that is too long, too
        raise FileNotFoundError(f"no such file: {path}")

    def decode_coarsely(image: Image.Image) -> None:
        image.draft("L", (32, 32))  # of a JPEG the coarse part is enough to meet its end
        upright(image)

    try:
        decode(path, decode_coarsely)
    # Pillow's plugins report damage as OSError, SyntaxError, ValueError, struct.error, ...
    except Exception as error:
        raise ValueError(f"not a readable image: {path} ({in_a_line(error)})") from error


def read_image(
    path: Path, *, mode: str | None = "RGB", size: int | None = None
) -> NDArray[np.uint8]:
    """Decode an image file of any mode, upright, on white.

    EXIF orientation is applied, transparency becomes white, grey values of more than 8 bits are
    scaled to 8 (`fgsbir.data.depth`). Damaged metadata is passed over.

    Args:
        path: The file.
        mode: ``"RGB"`` for (H, W, 3), ``"L"`` for (H, W); None for what the file has, then (H, W),
            (H, W, 3) or, with transparency as it is, (H, W, 4).
        size: Fit the whole image into a white square of so many pixels, keeping its proportions;
            None keeps the file's own size.

    Returns:
        uint8.

    Raises:
        ValueError: The file can't be decoded; names the file.
    """
    try:
        return decode(path, lambda image: to_array(image, mode=mode, size=size))
    except Exception as error:
        raise ValueError(f"cannot decode image: {path} ({in_a_line(error)})") from error


def decode(
    source: Path | bytes,
    use: Callable[[Image.Image], Result],
    *,
    formats: tuple[str, ...] | None = None,
) -> Result:
    """What a function gives of an image file, whatever its metadata are.

    Where Pillow cannot open the file, or the function fails, it is tried again without metadata.

    Args:
        source: A file, or the content of one.
        use: Is given the open image.
        formats: Names of Pillow's that are tried; None for all.

    Raises:
        Exception: Of whatever kind Pillow's plugins and the function raise at first.
    """
    try:
        return _opened(source, use, formats)
    except (MemoryError, Image.DecompressionBombError):
        raise
    except Exception:
        for plain in without_metadata(source if isinstance(source, bytes) else source.read_bytes()):
            with suppress(Exception):  # the first error is the one to tell of
                return _opened(plain, use, formats)
        raise


def to_array(
    image: Image.Image, *, mode: str | None = "RGB", size: int | None = None
) -> NDArray[np.uint8]:
    """What `read_image` gives of an image that is already open; damage raises Pillow's errors."""
    flat = upright(image)
    if mode is not None:
        flat = on_white(flat).convert(mode)
    if size is not None and flat.size != (size, size):
        flat = _fitted(flat, size)
    return np.array(flat, dtype=np.uint8)


def upright(image: Image.Image) -> Image.Image:
    """An open image as it is to be looked at: decoded, turned by its EXIF orientation, of 8 bits.

    Returns:
        Mode L, RGB or RGBA; damage raises Pillow's errors.
    """
    was_deep = re.search(r";16[BLN]", str(getattr(image, "tile", "")))  # two bytes a channel
    image.load()
    turn = TURNED.get(_orientation(image))
    shown = image if turn is None else image.transpose(turn)
    shown = _in_colours(to_8_bits(shown))
    return stretched(shown) if was_deep and image.mode in ("RGB", "RGBA", "LA") else shown


def on_white(image: Image.Image) -> Image.Image:
    """The picture on white, in mode RGB, where it is of mode RGBA; else itself."""
    if image.mode != "RGBA":
        return image
    opaque = Image.new("RGB", image.size, "white")
    opaque.paste(image, mask=image.getchannel("A"))
    return opaque


def _opened(
    source: Path | bytes, use: Callable[[Image.Image], Result], formats: tuple[str, ...] | None
) -> Result:
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    with Image.open(file, formats=formats) as image:
        return use(image)


def _orientation(image: Image.Image) -> int:
    """Of EXIF or XMP, from 1 to 8; 1, as it is, where they do not say or cannot be read."""
    try:
        said = image.getexif().get(ORIENTATION, 1)
        return int(said) if said in TURNED else 1
    except Exception:  # whatever is in there
        return 1


def _in_colours(image: Image.Image) -> Image.Image:
    """A picture of 8 bits a channel as L, RGB or RGBA."""
    if image.mode == "LAB":  # which Pillow converts by profiles alone
        lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, lab, rgb, outputMode="RGB")
        assert converted is not None
        return converted
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        plain = image.convert("LA") if image.mode == "La" else image
        return plain if plain.mode == "RGBA" else plain.convert("RGBA")
    if image.mode in ("L", "RGB"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _fitted(image: Image.Image, size: int) -> Image.Image:
    longer = max(image.size)
    if round(min(image.size) / longer * size) == 0:  # which Pillow makes nothing of
        width, height = (max(1, round(side / longer * size)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    return ImageOps.pad(image, (size, size), Image.Resampling.LANCZOS, color="white")
