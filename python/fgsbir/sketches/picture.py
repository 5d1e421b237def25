"""Opening of a sketch: any file, Pillow image or array as upright grey or coloured pixels."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..data.images import on_white, upright
from .morphology import open_

Picture = str | Path | Image.Image | NDArray[np.uint8]

LIGHT = 0.35  # darkness on white of strokes that white does not show
THIN = 1 / 16  # of the side: what is narrower is a stroke


def open_sketch(sketch: Picture) -> Image.Image:
    """A sketch as an upright picture of mode L, RGB or RGBA.

    Raises:
        FileNotFoundError: There is no such file.
        TypeError: Neither a path nor an image; or an array of another type than uint8.
        ValueError: The file cannot be decoded, or the array is no image.
    """
    if isinstance(sketch, str | Path):
        return _open_file(Path(sketch))
    if isinstance(sketch, np.ndarray):
        if sketch.dtype != np.uint8:
            raise TypeError(f"sketch: expected an array of uint8, got {sketch.dtype}")
        channels = sketch.shape[2:]
        if sketch.ndim not in (2, 3) or channels not in ((), (3,), (4,)) or not sketch.size:
            raise ValueError(f"sketch: expected (H, W), (H, W, 3) or (H, W, 4), got {sketch.shape}")
        return Image.fromarray(np.ascontiguousarray(sketch))
    if not isinstance(sketch, Image.Image):
        raise TypeError(
            f"sketch: expected a path, a Pillow image or an array, got {type(sketch).__name__}"
        )
    try:
        return upright(sketch)
    except Exception as error:
        raise ValueError(f"sketch: cannot be decoded ({error})") from error


def is_svg(start: bytes) -> bool:
    """Whether a file that begins so is an SVG drawing, which Pillow does not read."""
    head = start[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return head.startswith((b"<svg", b"<?xml", b"<!doctype svg", b"<!--")) and b"<svg" in start


def _open_file(path: Path) -> Image.Image:
    if not os.path.isfile(path):  # which answers for a name that is too long, too
        raise FileNotFoundError(f"no such file: {path}")
    try:
        with Image.open(path) as image:
            return upright(image)
    except Exception as error:
        with open(path, "rb") as file:
            if is_svg(file.read(1 << 16)):
                raise ValueError(f"{SVG_REFUSED}: {path}") from error
        raise ValueError(f"cannot decode image: {path} ({error})") from error


SVG_REFUSED = (
    "SVG is not read here; export the drawing as PNG, or open it on the page, which draws it"
)


def reduced(image: Image.Image, side: int) -> Image.Image:
    """The picture, by a whole factor smaller, so that no side is longer than that."""
    factor = -(-max(image.size) // side)
    if factor == 1:
        return image
    if image.mode == "RGBA":  # colours weigh by how much of them there is
        return image.convert("RGBa").reduce(factor).convert("RGBA")
    return image.reduce(factor)


def is_drawn_by_alpha(image: Image.Image) -> bool:
    """Whether a picture of mode RGBA is of strokes on nothing that white paper would not show.

    A dark mode leaves such light strokes.
    """
    pixels = np.asarray(image)[::2, ::2].astype(np.uint16)
    alpha = pixels[:, :, 3]
    if alpha.min() == 255:
        return False
    darkness = alpha * (255 - pixels[:, :, 1]) >> 8  # green is most of the luminance
    covered = float(alpha.sum(dtype=np.int64))
    if not covered or darkness.max() < 16:
        return True
    cover = alpha.astype(np.uint8)
    strokes = cover - open_(cover, 2 * int(THIN * max(cover.shape) / 2) + 1)
    is_light = float(darkness.sum(dtype=np.int64)) < LIGHT * covered
    return is_light and float(strokes.sum(dtype=np.int64)) > 0.7 * covered


def planes_of(image: Image.Image, *, by_alpha: bool) -> NDArray[np.uint8]:
    """(1, H, W) or (3, H, W): the picture on white, or its alpha as ink; grey is one plane."""
    if by_alpha:
        return 255 - np.asarray(image.getchannel("A"))[None]
    planes = np.stack([np.asarray(plane) for plane in _on_its_ground(image).split()])
    if len(planes) == 3 and np.array_equal(planes[0], planes[1]):
        return planes[:1] if np.array_equal(planes[0], planes[2]) else planes
    return planes


def _on_its_ground(image: Image.Image) -> Image.Image:
    """On white; on its own ground where it is a sheet with something cut off, round corners say."""
    if image.mode != "RGBA":
        return image
    alpha = np.asarray(image.getchannel("A"))
    if not 127 < alpha.mean() < 255:
        return on_white(image)
    colour = np.median(np.asarray(image)[alpha >= 0.8 * alpha.max(), :3], axis=0)
    sheet = Image.new("RGB", image.size, tuple(int(value) for value in colour))
    sheet.paste(image, mask=image.getchannel("A"))
    return sheet
