"""`read_sketch`: what a model sees of a sketch, whatever it was drawn on, where and how large."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..data.images import SIZE
from .ground import find_ink
from .picture import Picture, open_sketch, planes_of, without_alpha
from .polarity import light_planes
from .strokes import PEN_WIDTH, WIDTHS, Drawing, find_drawing, line_width, redraw_lines

FIT = 225
"""Pixels of the longer side of a drawing in a frame of `SIZE`: the median of the QMUL benchmark's
training sketches, nine tenths of which lie within 215 and 229, all of them in the middle."""
WORKED = 512  # pixels of the longer side of the picture that ink is looked for in
SMALLEST = 128  # of the same; a smaller picture is enlarged
LEAST = 8  # pixels of the shorter side, below which there is no place for a drawing
FINE = 200  # of the drawing's longer side; below, more of the picture's pixels are looked at
SAME = 0.06  # share by which the size of a drawing changes when it is looked at again
MOVED = 0.1  # share by which size or place change before it is worth a word


class EmptySketchError(ValueError):
    """There is nothing drawn on a sketch."""

    def __init__(self) -> None:
        super().__init__("the sketch is empty")


@dataclass(frozen=True, eq=False)
class SketchReading:
    """What was read of a sketch.

    Attributes:
        image: (256, 256) uint8, dark lines on white, the longer side of the drawing 225 pixels, in
            the middle.
        changes: what was done to get there, in words, in this order; empty where the sketch was
            drawn as the models' training sketches are.
    """

    image: NDArray[np.uint8]
    changes: tuple[str, ...]


Sketch = Picture | SketchReading


def read_sketch(sketch: Sketch) -> SketchReading:
    """Read a sketch: turn it dark on white, leave out what is not drawn, fit it into the frame.

    Every sketch that a model sees has come this way, in training, evaluation and search.

    Args:
        sketch: An image file, a Pillow image, or an array (H, W), (H, W, 3) or (H, W, 4) uint8, of
            any size; lines of any colour on any even or shaded ground, or on nothing. What was
            read already is given back.

    Raises:
        EmptySketchError: Nothing is drawn, or no more than a dot; a ValueError.
        FileNotFoundError: There is no such file.
        TypeError: Neither a path nor an image; or an array of another type than uint8.
        ValueError: The file cannot be decoded, or the array is no image.
    """
    if isinstance(sketch, SketchReading):
        return sketch
    picture = open_sketch(sketch)
    if min(picture.size) == 0:
        raise EmptySketchError
    picture, by_alpha = without_alpha(picture)
    whole = _worked(picture)
    if min(whole.size) < LEAST:
        raise EmptySketchError
    planes = planes_of(whole)
    light_lines = light_planes(_small(planes))
    found = find_ink(planes, light_lines)
    drawing = find_drawing(found.ink)
    if drawing is None:
        raise EmptySketchError
    scale = picture.width / whole.width
    place = tuple(scale * v for v in drawing.box)
    finer = None
    if scale > 1 and drawing.side < FINE:
        finer = _close_up(picture, place, drawing.side, light_lines)
    fitted = fit(finer or drawing)
    width = line_width(fitted)
    redrawn = width > 0 and not WIDTHS[0] <= width <= WIDTHS[1]
    if redrawn:  # a thick line reaches beyond its middle
        wider = min(SIZE - 2, FIT + round(max(0, width - PEN_WIDTH)))
        fitted = redraw_lines(fit(finer or drawing, wider), width)
    changes = {
        "lines taken from transparency": by_alpha,
        "turned to dark on light": 2 * sum(light_lines) > len(light_lines),
        "paper made white": found.flattened,
        "left out what lies around the sheet": found.cut,
        "left out specks": drawing.had_specks,
        "moved and scaled into the frame": _is_moved(place, picture.size),
        "lines drawn anew at the usual width": redrawn,
    }
    return SketchReading(255 - fitted, tuple(words for words, done in changes.items() if done))


def _close_up(
    picture: Image.Image, place: Sequence[float], side: int, light_lines: Sequence[bool]
) -> Drawing | None:
    """The drawing at a place of the picture, from more of its pixels; `side` is how many it had."""
    left, top, right, bottom = place
    margin = 0.25 * max(right - left, bottom - top)
    box = (
        max(0, round(left - margin)),
        max(0, round(top - margin)),
        min(picture.width, round(right + margin)),
        min(picture.height, round(bottom + margin)),
    )
    close_up = picture.crop(box)
    small = _worked(close_up)
    ink = find_ink(planes_of(small), light_lines).ink
    scale = close_up.width / small.width
    reach = 0.03 * max(right - left, bottom - top) / scale + 2
    start_x, stop_x = (left - box[0]) / scale - reach, (right - box[0]) / scale + reach
    start_y, stop_y = (top - box[1]) / scale - reach, (bottom - box[1]) / scale + reach
    rows = slice(max(0, int(start_y)), int(stop_y))
    columns = slice(max(0, int(start_x)), int(stop_x))
    alone = np.zeros_like(ink)
    alone[rows, columns] = ink[rows, columns]
    finer = find_drawing(alone)
    if finer is None:
        return None
    # As large as before, up to what the first look could tell.
    change = abs(finer.side * scale / max(right - left, bottom - top) - 1)
    return finer if change < max(SAME, 2 / side) else None


def fit(drawing: Drawing, side: int = FIT) -> NDArray[np.uint8]:
    """The ink of a drawing, its longer side so many pixels, in the middle of a frame of `SIZE`."""
    left, top, right, bottom = drawing.box
    width, height = right - left, bottom - top
    scale = side / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    part = Image.fromarray(drawing.ink[top:bottom, left:right])
    if max(abs(size[0] - width), abs(size[1] - height)) > 1:
        part = part.resize(size, Image.Resampling.BICUBIC)
    frame = Image.new("L", (SIZE, SIZE))
    frame.paste(part, ((SIZE - part.width) // 2, (SIZE - part.height) // 2))
    return np.array(frame)


def _worked(picture: Image.Image) -> Image.Image:
    """The picture in a size that lines are looked for in."""
    if max(picture.size) > WORKED:
        return picture.reduce(-(-max(picture.size) // WORKED))
    factor = -(-SMALLEST // max(picture.size))
    if factor == 1:
        return picture
    size = factor * picture.width, factor * picture.height
    return picture.resize(size, Image.Resampling.BICUBIC)


def _small(planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Every so many pixels, no more than `SIZE` on a side."""
    step = -(-max(planes.shape) // SIZE)
    return np.ascontiguousarray(planes[:, ::step, ::step])


def _is_moved(place: Sequence[float], size: tuple[int, int]) -> bool:
    """Whether the drawing lay elsewhere in its picture, or was of another size."""
    left, top, right, bottom = place
    side = max(size)
    scale = max(right - left, bottom - top) / side
    middle = np.array([left + right - size[0], top + bottom - size[1]]) / 2 / side
    return bool(abs(scale * SIZE / FIT - 1) > MOVED or np.abs(middle).max() > MOVED)
