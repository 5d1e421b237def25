"""The sheet that was drawn on, among a scan's frame, a table and what else a photo shows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .morphology import Grey, dilate, erode, shares

SURROUND = 0.6  # brightness beside that of the sheet, of frames and of what was filled with ink
FRAME_ROW = 0.85  # share of a row along the border that is dark where it is a scan's frame
CELL = 4  # pixels of the side of the cells in which the ground is looked at
STEP = 0.18  # share by which the brightness of the ground changes at the edge of a sheet
LEAST_SHEET = 0.08  # of the picture
GRAIN = (1.2, 2.0)  # times as many lines as on the sheet are the grain of a dark, of a grey table
MARGIN = 5  # cells by which the edge of what lies around the sheet is left out too


class Sheet(NamedTuple):
    """What is not the sheet that was drawn on: masks (H, W).

    Attributes:
        surroundings: what lies around it, such as a table.
        filled: wide dark areas on it, which were filled with ink.
        level: its brightness.
    """

    surroundings: NDArray[np.bool_]
    filled: NDArray[np.bool_]
    level: float


def find_sheet(ground: Grey, contrast: Grey) -> Sheet | None:
    """The sheet among areas of ground that sharp edges divide; None where there is but one.

    A shadow has no sharp edge, mostly. Where it has, there are lines on both sides of it.
    """
    small = ground[::CELL, ::CELL]
    areas, count = ndimage.label(dilate(small, 3) * (1 - STEP) <= erode(small, 3))
    if count < 2:
        return None
    cells = np.bincount(areas.ravel(), minlength=count + 1)
    levels = np.bincount(areas.ravel(), small.ravel(), count + 1) / np.maximum(cells, 1)
    large = cells >= LEAST_SHEET * small.size
    large[0] = False  # the edges between areas
    strength = contrast[::CELL, ::CELL] * small.astype(np.float32)  # a dark table's grain is weak
    lines = np.bincount(areas.ravel(), strength.ravel() > 0.4 * strength.max(), count + 1)
    touching = np.zeros(count + 1, dtype=bool)
    touching[np.concatenate([areas[0], areas[-1], areas[:, 0], areas[:, -1]])] = True
    sheets = large & (~touching | (lines >= 0.1 * lines.sum()))
    if not sheets.any():
        return None
    chosen = int(np.where(sheets, levels, -1).argmax())
    level = max(float(levels[chosen]), 1.0)
    density = lines / np.maximum(cells, 1)
    is_dark = levels < 0.5 * level
    few = lines <= np.where(is_dark, 0.25, 0.04) * lines.sum()
    grain = density > np.where(is_dark, GRAIN[0], GRAIN[1]) * density[chosen]
    outside = touching & (few | grain)
    filled = ~touching & (levels < SURROUND * level)
    outside[[0, chosen]] = filled[[0, chosen]] = False

    def full(chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        wide = dilate(chosen[areas].astype(np.uint8), MARGIN).repeat(CELL, 0).repeat(CELL, 1)
        return wide[: ground.shape[0], : ground.shape[1]] > 0

    return Sheet(full(outside), full(filled), level)


def within_frame(grey: Grey) -> tuple[slice, slice]:
    """Rows and columns of the picture without a dark frame along its borders."""
    dark = grey < SURROUND * np.percentile(grey[::4, ::4], 80)
    sides = []
    for axis in (1, 0):
        share, lines = shares(dark, axis), grey if axis else grey.T
        before = _frame_width(share, lines)
        sides.append(slice(before, len(share) - _frame_width(share[::-1], lines[::-1])))
    return sides[0], sides[1]


def _frame_width(share: NDArray[np.float64], lines: Grey) -> int:
    """How many lines of pixels at the start belong to a frame, which ends with a step.

    Args:
        share: (N,) of the pixels of each line that are dark.
        lines: (N, M) uint8.
    """
    if share[0] < FRAME_ROW:
        return 0
    ends = np.flatnonzero(share[: len(share) // 12] < 0.5)
    if not len(ends):
        return 0
    end = int(ends[0]) + 2
    before, behind = lines[max(0, end - 5)].mean(), lines[end].mean()
    if before > (SURROUND + 0.1) * behind:
        return 0
    slanted = np.flatnonzero(share[end : end + len(share) // 16] < 0.02)
    return end + int(slanted[0]) + 2 if len(slanted) else end
