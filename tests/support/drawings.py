"""Drawings to read, and how alike two readings are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

# fmt: off
SHOE = [(20, 160), (60, 150), (110, 120), (160, 90), (220, 50), (238, 66), (236, 100), (226, 112),
        (222, 196), (210, 196), (204, 128), (150, 156), (100, 186), (56, 194), (22, 186), (20, 160)]
# fmt: on
STRAP = [(120, 116), (140, 150), (170, 140)]


def drawn(side: int = 256, width: float = 3) -> Image.Image:
    """A shoe in black on white, mode L, lines of a width in pixels of 256."""
    image = Image.new("L", (4 * side, 4 * side), 255)
    canvas = ImageDraw.Draw(image)
    for stroke in (SHOE, STRAP):
        points = [(x * side / 64, y * side / 64) for x, y in stroke]
        canvas.line(points, fill=0, width=round(width * side / 64), joint="curve")
    return image.resize((side, side), Image.Resampling.LANCZOS)


def inverted(image: Image.Image) -> Image.Image:
    return ImageOps.invert(image)


def coloured(
    image: Image.Image, ink: tuple[int, int, int], ground: tuple[int, int, int]
) -> Image.Image:
    """A drawing in black on white in other colours, mode RGB."""
    share = np.asarray(image)[:, :, None] / 255
    return Image.fromarray((share * ground + (1 - share) * ink).round().astype(np.uint8))


def on_nothing(image: Image.Image, ink: tuple[int, int, int]) -> Image.Image:
    """A drawing in one colour on a transparent ground, mode RGBA."""
    strokes = Image.new("RGBA", image.size, (*ink, 0))
    strokes.putalpha(inverted(image))
    return strokes


def lit(image: Image.Image, light: NDArray[np.float64], noise: float = 2.0) -> Image.Image:
    """A drawing under some light, of the picture's size, and with the noise of a camera."""
    grain = np.random.default_rng(0).normal(0, noise, light.shape)
    return Image.fromarray((np.asarray(image) * light + grain).clip(0, 255).astype(np.uint8))


def likeness(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """The correlation of the ink of two readings, coarsely: 1 for the same drawing."""
    coarse = [
        np.asarray(Image.fromarray(255 - image).resize((16, 16), Image.Resampling.BOX), float)
        for image in (one, other)
    ]
    return float(np.corrcoef(coarse[0].ravel(), coarse[1].ravel())[0, 1])
