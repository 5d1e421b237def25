"""Opening of a sketch: any file, Pillow image or array as upright grey or coloured pixels."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

from ..data.decoding import decode, on_white, upright
from .morphology import open_

Picture = str | Path | Image.Image | NDArray[np.uint8]

LIGHT = 0.35  # darkness on white of strokes that white does not show
THIN = 1 / 16  # of the side: what is narrower is a stroke
SAMPLES = 256  # pixels of the longer side from which it is told what alpha means


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
        return decode(path, upright)
    except Exception as error:
        with open(path, "rb") as file:
            if is_svg(file.read(1 << 16)):
                raise ValueError(f"{SVG_REFUSED}: {path}") from error
        raise ValueError(f"cannot decode image: {path} ({error})") from error


SVG_REFUSED = (
    "SVG is not read here; export the drawing as PNG, or open it on the page, which draws it"
)


def without_alpha(image: Image.Image) -> tuple[Image.Image, bool]:
    """The picture on paper, mode L or RGB; and whether its opacity was taken for its lines."""
    if image.mode != "RGBA":
        return image, False
    alpha = image.getchannel("A")
    if alpha.getextrema()[0] == 255:
        return image.convert("RGB"), False
    step = -(-max(image.size) // SAMPLES)
    size = max(1, image.width // step), max(1, image.height // step)
    sample = np.asarray(image.resize(size, Image.Resampling.NEAREST))
    if _is_drawn_by_alpha(sample):
        return ImageChops.invert(alpha), True
    return _on_its_ground(image, sample), False


def _is_drawn_by_alpha(sample: NDArray[np.uint8]) -> bool:
    """Whether pixels of mode RGBA are of strokes on nothing that white paper would not show.

    A dark mode leaves such light strokes.
    """
    alpha = sample[:, :, 3]
    darkness = alpha.astype(np.uint16) * (255 - sample[:, :, 1]) >> 8  # green is most luminous
    covered = float(alpha.sum(dtype=np.int64))
    if not covered or darkness.max() < 16:
        return True
    strokes = alpha - open_(alpha, 2 * int(THIN * max(alpha.shape) / 2) + 1)
    is_light = float(darkness.sum(dtype=np.int64)) < LIGHT * covered
    return is_light and float(strokes.sum(dtype=np.int64)) > 0.7 * covered


def _on_its_ground(image: Image.Image, sample: NDArray[np.uint8]) -> Image.Image:
    """On white; on its own ground where it is a sheet with something cut off, round corners say."""
    alpha = sample[:, :, 3]
    if alpha.mean() <= 127:
        return on_white(image)
    colour = np.median(sample[alpha >= 0.8 * alpha.max(), :3], axis=0)
    sheet = Image.new("RGB", image.size, tuple(int(value) for value in colour))
    sheet.paste(image, mask=image.getchannel("A"))
    return sheet


def planes_of(image: Image.Image) -> NDArray[np.uint8]:
    """(1, H, W) or (3, H, W): the planes of a picture of mode L or RGB; grey is one plane."""
    planes = np.stack([np.asarray(plane) for plane in image.split()])
    if len(planes) == 3 and np.array_equal(planes[0], planes[1]):
        return planes[:1] if np.array_equal(planes[0], planes[2]) else planes
    return planes
