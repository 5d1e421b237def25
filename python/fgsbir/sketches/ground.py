"""Separation of a picture's ink from its ground: paper, shadow, screens, scan frames, tables.

Ink is what is darker than its surroundings and narrower than `REACH` of the picture. So a shadow,
a gradient or the edge of a sheet on a dark table, all of which are wider, are ground.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .morphology import Grey, close, dilate, erode, open_, shares
from .polarity import LEAST_CONTRAST
from .sheet import SURROUND, find_sheet, within_frame

WIDE = 1 / 20  # of the side: ink that is wider is an area, not a line
LEVEL = 48  # of 255: ink of an area
REACH = 1 / 8  # of the side
BLOCK = 16  # pixels of the side of small areas
WHITE = 250  # of 255: brightness of paper from which it is white
FULL = 190  # of 255: contrast of usual lines that are not made stronger
FAINT = 0.12  # share of the contrast of usual lines, of what is left of noise
NOISE = 4.0  # deviations of the noise of the ground that are no ink
MOST_INK = 0.3  # share of the picture; what covers more and is faint is noise
MOST_NOISE = 24  # of 255: contrast that is faint
BORDER = 0.02  # of the side: a line along the border is no wider
RULING = (12, 130)  # contrast of the lines of ruled paper
RULES = 4  # lines at least


class Ink(NamedTuple):
    """Ink that was found in a picture.

    Attributes:
        ink: (H, W) uint8, 255 where a line is.
        flattened: whether the ground was uneven, grey or coloured.
        cut: whether something around the sheet was left out.
    """

    ink: Grey
    flattened: bool
    cut: bool


def find_ink(planes: Grey, light_lines: Sequence[bool]) -> Ink:
    """The ink of a picture.

    Args:
        planes: (C, H, W) uint8, one plane of grey or three of colours.
        light_lines: what `light_planes` says of them.
    """
    planes = planes ^ np.where(light_lines, 255, 0).astype(np.uint8)[:, None, None]
    darkest = planes.min(axis=0)
    if len(planes) > 1 and _is_white_throughout(darkest):
        planes = darkest[None]
    rows, columns = within_frame(darkest)
    inside = planes[:, rows, columns]
    reach = 2 * int(REACH * max(inside.shape) / 2) + 1
    ground = np.stack([_ground(plane, reach) for plane in inside])
    contrast = _contrast(inside, ground)
    sheet = find_sheet(ground.min(axis=0), contrast)
    filled = np.zeros(contrast.shape, dtype=bool)
    if sheet is not None:
        filled = sheet.filled & (inside.min(axis=0) < (1 + SURROUND) / 2 * sheet.level)
        contrast[sheet.surroundings] = 0
    step = 255 / max(1.0, float(np.median(ground[:, ::8, ::8])))
    clean, noisy = _without_noise(_without_ruling(contrast), step)
    ink = np.zeros(planes.shape[1:], dtype=np.uint8)
    ink[rows, columns] = _outlined(clean, filled)
    cut = inside.shape != planes.shape or (sheet is not None and bool(sheet.surroundings.any()))
    return Ink(ink, noisy or bool(ground.min() < WHITE), cut)


def _is_white_throughout(plane: Grey) -> bool:
    """Whether every small area has white in it: the ground is then 255 wherever a line is."""
    down, across = (size // BLOCK for size in plane.shape)
    if not down or not across:
        return False
    whole = plane[: down * BLOCK, : across * BLOCK].reshape(down, BLOCK, across, BLOCK)
    return bool((whole.max(axis=1).max(axis=2) >= WHITE).all())


def _ground(plane: Grey, reach: int) -> Grey:
    """The plane without its lines, those included that run along the border.

    Beyond the border it goes on as a little way within, so that a wedge of table beside a sheet is
    as wide as it would be seen from farther away.
    """
    depth = max(2, round(BORDER * max(plane.shape)))
    half = reach // 2
    top, bottom = plane[:depth].max(axis=0), plane[-depth:].max(axis=0)
    tall = np.concatenate([[top] * half, plane, [bottom] * half])
    left, right = tall[:, :depth].max(axis=1), tall[:, -depth:].max(axis=1)
    wide = np.concatenate(
        [left[:, None].repeat(half, 1), tall, right[:, None].repeat(half, 1)], axis=1
    )
    height, width = plane.shape
    closed = close(wide, reach)[half : half + height, half : half + width]
    return np.maximum(closed, plane)


def _contrast(inside: Grey, ground: Grey) -> Grey:
    """How much darker than the ground each pixel is in its darkest colour, 255 for black."""
    differences = ground - inside
    if ground.min() < WHITE:
        for difference, level in zip(differences, ground, strict=True):
            scale = np.float32(255) / np.maximum(level, 24)
            np.copyto(difference, np.minimum(difference * scale, 255), casting="unsafe")
    return differences.max(axis=0)


def _without_noise(contrast: Grey, step: float) -> tuple[Grey, bool]:
    """Contrast above the noise of the ground, at full strength; and whether there was noise.

    `step` is what one level of brightness is in contrast: more than 1 on dark ground.
    """
    counts = np.bincount(contrast[::2, ::2].ravel(), minlength=256)
    noise = counts.copy()
    noise[0] = 0  # where a photo is overexposed there is no noise
    middle = _percentile(noise, 50)
    if middle > MOST_NOISE or noise.sum() < MOST_INK * counts.sum():
        noise, middle = counts, _percentile(counts, 50)
    deviations = np.zeros(256, dtype=np.int64)
    np.add.at(deviations, np.abs(np.arange(256) - middle), noise)
    deviation = 1.4826 * _percentile(deviations, 50)
    if not deviation and step >= 2:  # half of a normal noise is within half a level
        deviation = 0.74 * step
    floor = middle + NOISE * deviation
    strongest = int(contrast.max(initial=0))
    if strongest < max(LEAST_CONTRAST, floor):
        return np.zeros_like(contrast), True
    values = np.maximum(np.arange(256) - floor, 0) * (255 / max(255 - floor, 1))
    lines = np.where(values > 0.4 * values[strongest], counts, 0)
    usual = values[_percentile(lines, 75)] if lines.any() else values[strongest]
    if usual < LEAST_CONTRAST / 2:
        return np.zeros_like(contrast), True
    values[values < FAINT * usual] = 0
    table = (values * max(1, FULL / usual)).clip(0, 255).round().astype(np.uint8)
    return table.take(contrast), floor > 2


def _outlined(ink: Grey, filled: NDArray[np.bool_]) -> Grey:
    """Ink with wide areas drawn by their outline and by the lines on them, as most people draw."""
    thick = open_(ink, 2 * int(WIDE * max(ink.shape) / 2) + 1)
    wide = ((thick > LEVEL) | filled).astype(np.uint8)
    if not wide.any():
        return ink
    above = (ink - thick) / np.maximum(255 - thick.astype(np.float32), 64)
    lines = np.where(above > 0.25, 255 * above, 0).astype(np.uint8)
    near = dilate(wide, 3)
    outline = 255 * (near - erode(wide, 3))
    return np.where(near > 0, np.maximum(lines, outline), ink)


def _without_ruling(ink: Grey) -> Grey:
    """The ink without the faint lines of ruled or squared paper, which run through all of it."""
    for axis in (1, 0):
        covered = ink > RULING[0]
        share = shares(covered, axis)
        ruled = share > 0.7
        starts = np.count_nonzero(ruled[1:] & ~ruled[:-1])
        if starts < RULES or share[~ruled].mean() > 0.5:  # noise is between the lines as well
            continue
        places = np.flatnonzero(dilate(ruled.astype(np.uint8)[:, None], 3)[:, 0])
        rows = ink.take(places, axis=1 - axis)
        usual = np.median(rows, axis=axis, keepdims=True)
        rows[(rows <= 1.6 * usual) & (usual < RULING[1])] = 0
        rows[rows <= RULING[0]] = 0
        ink = ink.copy()
        ink[(places, slice(None)) if axis == 1 else (slice(None), places)] = rows
    return ink


def _percentile(counts: NDArray[np.int64], share: float) -> int:
    """The value that so many percent of a histogram do not exceed."""
    return int(np.searchsorted(counts.cumsum(), counts.sum() * share / 100))
