"""Drawings of Quick, Draw!: of a class bitmaps of 28 x 28 pixels (.npy) or strokes (.ndjson)."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import binary_dilation
from skimage.morphology import skeletonize

from .images import SIZE, Images, OfOneFile
from .names import in_a_line, one_form

SUFFIXES = (".npy", ".ndjson")
SIDE = 28
ENLARGED = 10 * SIDE
INK = 96  # grey of an enlarged bitmap from which it is a line
MARGIN = 16  # pixels around a drawing that is made of strokes
WIDTH = 2
_PREFIX = re.compile(r"^(full_)?(numpy_bitmap|simplified|raw|binary)_")


class Bitmaps(OfOneFile):
    """Drawings of 28 x 28 pixels, white on black, as thin lines on white, ten times as large."""

    def __init__(self, file: Path) -> None:
        """Raises a ValueError for a file of anything else; names it."""
        try:
            rows = np.load(file, mmap_mode="r", allow_pickle=False)
        except Exception as error:  # NumPy reports damage in many ways
            raise ValueError(f"{file}: not an array of NumPy ({in_a_line(error)})") from error
        if rows.dtype != np.uint8 or rows.shape[1:] not in ((SIDE * SIDE,), (SIDE, SIDE)):
            raise ValueError(
                f"{file}: expected bitmaps (n, {SIDE * SIDE}) of uint8, as Quick, Draw! has them, "
                f"got {rows.shape} of {rows.dtype}"
            )
        self.file = file
        self._rows = rows.reshape(-1, SIDE, SIDE)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        small = Image.fromarray(np.array(self._rows[index]))
        large = np.asarray(small.resize((ENLARGED, ENLARGED), Image.Resampling.BICUBIC))
        # At this size the lines are as wide as areas.
        lines = binary_dilation(skeletonize(large >= INK), iterations=1)
        return np.where(lines, 0, 255).astype(np.uint8)


class Strokes(OfOneFile):
    """Drawings as strokes, a line of JSON each, drawn in black on white when asked for."""

    def __init__(self, file: Path) -> None:
        self.file = file
        with open(file, "rb") as opened:
            lengths = [(len(line), bool(line.strip())) for line in opened]
        starts = np.cumsum([0, *(length for length, _ in lengths)])[:-1]
        self._starts = starts[[filled for _, filled in lengths]] if lengths else starts

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        with open(self.file, "rb") as opened:
            opened.seek(int(self._starts[index]))
            line = opened.readline()
        try:
            return _draw(json.loads(line)["drawing"])
        except Exception as error:  # whatever else may be in there
            raise ValueError(
                f"{self.file}: drawing {index + 1} is no line of JSON with strokes as "
                f'"drawing": [[[x, ...], [y, ...]], ...] ({in_a_line(error)})'
            ) from error


def open_drawings(file: Path) -> Images:
    """The drawings of a class.

    Raises:
        ValueError: it is a file of anything else; names it.
    """
    if not file.is_file():  # to open a pipe would wait for whoever writes into it
        raise ValueError(f"{file}: is no file")
    return Bitmaps(file) if file.suffix.lower() == ".npy" else Strokes(file)


def class_of(file: Path) -> str:
    """The class that a file is of by its name, ``full_numpy_bitmap_cat.npy`` or ``cat.npy``."""
    return one_form(_PREFIX.sub("", file.stem) or file.stem)


def _draw(strokes: Any) -> NDArray[np.uint8]:
    lines = [np.array([stroke[0], stroke[1]], dtype=np.float64).T for stroke in strokes]
    points = np.concatenate([np.empty((0, 2)), *lines])
    if not np.isfinite(points).all():
        raise ValueError("a number that is not finite")
    image = Image.new("L", (SIZE, SIZE), 255)
    if len(points):
        low = points.min(0)
        with np.errstate(over="ignore"):
            extent = float((points.max(0) - low).max())
        if not math.isfinite(extent):
            raise ValueError("numbers too far apart")
        scale = (SIZE - 1 - 2 * MARGIN) / max(1.0, extent)
        pen = ImageDraw.Draw(image)
        for line in lines:
            drawn = [(float(x), float(y)) for x, y in MARGIN + scale * (line - low)]
            pen.line(drawn, fill=0, width=WIDTH, joint="curve")
    return np.array(image)
