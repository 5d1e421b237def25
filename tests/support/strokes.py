"""Tracing of a drawn sketch back to strokes that a mouse can follow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage.measure import approximate_polygon
from skimage.morphology import skeletonize

Pixel = tuple[int, int]
STEPS = [(-1, 0), (0, 1), (1, 0), (0, -1), (-1, -1), (-1, 1), (1, 1), (1, -1)]


def trace(sketch: NDArray[np.uint8], *, shortest: int = 4) -> list[NDArray[np.float64]]:
    """The lines of a sketch as strokes, longest first.

    Args:
        sketch: (H, W) uint8, dark on white.
        shortest: strokes of fewer pixels are left out.

    Returns:
        Strokes (n, 2) of x and y as shares of the side.
    """
    left = {(int(y), int(x)) for y, x in np.argwhere(skeletonize(sketch < 128))}
    strokes = []
    while left:
        # Ends first, so that a line is one stroke; what remains then is closed.
        start = min(left, key=lambda pixel: (len(_neighbours(pixel, left)), pixel))
        stroke = _walk(start, left)
        if len(stroke) >= shortest:
            bent = approximate_polygon(np.array(stroke, dtype=np.float64), 0.7)
            strokes.append((bent[:, ::-1] + 0.5) / sketch.shape[0])
    return sorted(strokes, key=_length, reverse=True)


def _walk(start: Pixel, left: set[Pixel]) -> list[Pixel]:
    stroke = [start]
    left.discard(start)
    while ahead := _neighbours(stroke[-1], left):
        stroke.append(ahead[0])
        left.discard(ahead[0])
    return stroke


def _neighbours(pixel: Pixel, left: set[Pixel]) -> list[Pixel]:
    return [(pixel[0] + y, pixel[1] + x) for y, x in STEPS if (pixel[0] + y, pixel[1] + x) in left]


def _length(stroke: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(np.diff(stroke, axis=0), axis=1).sum())
