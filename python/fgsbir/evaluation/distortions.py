"""Distortions of sketches: the same drawing on other grounds, of other sizes, in other places.

Each stands for a kind of picture that people bring. Settings are never chosen by them.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from ..data.decoding import to_array
from ..data.images import SIZE, Images

Array = NDArray[np.uint8]


def _white_on_black(sketch: Image.Image, rng: np.random.Generator) -> Image.Image:
    return ImageOps.invert(sketch)


def _in_a_corner(sketch: Image.Image, rng: np.random.Generator) -> Image.Image:
    """At 40% of its size."""
    sheet = Image.new("L", sketch.size, 255)
    small = sketch.resize([round(0.4 * side) for side in sketch.size], Image.Resampling.LANCZOS)
    sheet.paste(small, (5, 5))
    return sheet


def _on_a_large_sheet(sketch: Image.Image, rng: np.random.Generator) -> Image.Image:
    """At full size in a quarter of a sheet twice as wide and high."""
    width, height = sketch.size
    sheet = Image.new("L", (2 * width, 2 * height), 255)
    sheet.paste(sketch, (width * int(rng.integers(2)), height * int(rng.integers(2))))
    return sheet


def _on_grey_paper(sketch: Image.Image, rng: np.random.Generator) -> Image.Image:
    return _shaded(sketch, np.full(sketch.size[::-1], 0.78), rng)


def _under_a_shadow(sketch: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Grey paper, half as bright on one side."""
    y, x = np.mgrid[: sketch.height, : sketch.width] / max(sketch.size)
    angle = rng.uniform(0, 2 * np.pi)
    ramp = (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle)
    return _shaded(sketch, 0.82 - 0.41 / (1 + np.exp(-ramp / 0.06)), rng)


def _photographed(sketch: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A sheet of paper on a dark table, seen a little from the side, as a JPEG."""
    side = 768
    page = sketch.resize((480, 480), Image.Resampling.LANCZOS).convert("L")
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * 480 + 144.0
    corners += rng.uniform(-18, 18, (4, 2))
    table = (70 + 12 * np.sin(np.arange(side) / 9 + rng.uniform(0, 6)))[:, None].repeat(side, 1)
    lying = _seen_from(page, corners, side)
    mask = _seen_from(Image.new("L", page.size, 255), corners, side)
    seen = Image.composite(lying, Image.fromarray(table.astype(np.uint8)), mask)
    y, x = np.mgrid[:side, :side] / side
    light = 0.9 - 0.25 * (x * rng.uniform(-1, 1) + y * rng.uniform(-1, 1))
    shaded = _shaded(seen.filter(ImageFilter.GaussianBlur(0.8)), light, rng)
    file = io.BytesIO()
    shaded.convert("RGB").save(file, "JPEG", quality=75)
    return Image.open(file)


def _white_on_nothing(sketch: Image.Image, rng: np.random.Generator) -> Image.Image:
    strokes = Image.new("RGBA", sketch.size, (255, 255, 255, 0))
    strokes.putalpha(ImageOps.invert(sketch))
    return strokes


def _scanned_with_a_frame(sketch: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A dark band along the edges, of another width on each, and specks of dust."""
    scan = sketch.copy()
    canvas = ImageDraw.Draw(scan)
    width, height = scan.size
    left, top, right, bottom = rng.integers(2, 9, 4).tolist()
    for band in (
        (0, 0, left - 1, height),
        (0, 0, width, top - 1),
        (width - right, 0, width, height),
        (0, height - bottom, width, height),
    ):
        canvas.rectangle(band, fill=30)
    for x, y in rng.uniform(0.04, 0.96, (6, 2)) * scan.size:
        canvas.ellipse((x, y, x + 1, y + 1), fill=60)
    return scan


def _in_pencil(sketch: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Lines a quarter as dark."""
    return sketch.point(lambda value: 255 - (255 - value) // 4)


def _in_yellow(sketch: Image.Image, rng: np.random.Generator) -> Image.Image:
    return Image.merge(
        "RGB",
        (
            sketch.point(lambda v: 255 - (255 - v) // 12),
            sketch.point(lambda v: 255 - (255 - v) // 5),
            sketch,
        ),
    )


def _with_a_marker(sketch: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Lines wider by four pixels in 256."""
    return sketch.filter(ImageFilter.MinFilter(5))


def _turned(degrees: float) -> Callable[[Image.Image, np.random.Generator], Image.Image]:
    def turned(sketch: Image.Image, rng: np.random.Generator) -> Image.Image:
        angle = degrees if rng.random() < 0.5 else -degrees
        return sketch.rotate(angle, Image.Resampling.BICUBIC, expand=True, fillcolor=255)

    return turned


DISTORTIONS: dict[str, Callable[[Image.Image, np.random.Generator], Image.Image]] = {
    "white on black": _white_on_black,
    "white on nothing": _white_on_nothing,
    "40% in a corner": _in_a_corner,
    "in a quarter of a sheet": _on_a_large_sheet,
    "on grey paper": _on_grey_paper,
    "under a shadow": _under_a_shadow,
    "photographed on a table": _photographed,
    "scanned with a dark frame": _scanned_with_a_frame,
    "in pencil": _in_pencil,
    "in yellow": _in_yellow,
    "with a marker": _with_a_marker,
    "turned by 10 degrees": _turned(10),
}
"""By name; from a picture of `SIZE` of dark lines on white, mode L, to one of any size and mode."""


class Distorted(Images):
    """Sketches, fitted into a square of `SIZE`, under one distortion; a seed fixes how."""

    def __init__(self, sketches: Images, name: str, seed: int = 0) -> None:
        self.sketches = sketches
        self.name = name
        self.seed = seed

    def __len__(self) -> int:
        return len(self.sketches)

    def __getitem__(self, index: int, /) -> Array:
        place = range(len(self))[index]
        fitted = to_array(Image.fromarray(self.sketches[place]), mode="L", size=SIZE)
        rng = np.random.default_rng([self.seed, place])
        distorted = DISTORTIONS[self.name](Image.fromarray(fitted), rng)
        return np.asarray(distorted)


def _shaded(
    sketch: Image.Image, brightness: NDArray[np.float64], rng: np.random.Generator
) -> Image.Image:
    """Under uneven light, with the noise of a camera."""
    values = np.asarray(sketch) * brightness + rng.normal(0, 3, sketch.size[::-1])
    return Image.fromarray(values.clip(0, 255).round().astype(np.uint8))


def _seen_from(page: Image.Image, corners: NDArray[np.float64], side: int) -> Image.Image:
    """The page with its corners, clockwise from the upper left, at places of a larger picture."""
    width, height = page.size
    flat = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=float)
    rows, values = [], []
    for (x, y), (u, v) in zip(corners, flat, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    coefficients = np.linalg.solve(np.array(rows), np.array(values))
    return page.transform(
        (side, side), Image.Transform.PERSPECTIVE, coefficients.tolist(), Image.Resampling.BICUBIC
    )
