"""Polarity: whether lines are lighter than their ground."""

from __future__ import annotations

import numpy as np

from .morphology import Grey, close, dilate, erode, open_

LEAST_CONTRAST = 15  # of 255: ink that is fainter is none
NARROW = 1 / 16  # of the side: what is narrower may be a line
TILES = (5, 6, 7)  # along the side: areas that are asked what is line and what is ground
WIDE_STEP = 25  # of 255: the edge of a sheet, which has corners as narrow as lines
OPPOSITE = 0.1  # correlation below the negative of which planes are opposite, not noise
DECIDED = 0.2  # mean vote, of at most 0.5, that is clear enough


def has_light_lines(grey: Grey) -> bool:
    """Whether lines are lighter than their ground.

    Around lines there is more ground than line, so the median of a small area is the ground's.
    Areas vote by how much there is in them that is narrow, which a sheet's edge is not. Where they
    disagree, in a dense drawing with a thick pen, the ground is what most of the picture is.
    """
    side = max(grey.shape)
    size = 2 * int(NARROW * side / 2) + 3
    closed, opened = close(grey, size), open_(grey, size)
    narrow = np.maximum(closed - grey, grey - opened)
    steps = [
        dilate(wide, 3) - erode(wide, 3) for wide in (open_(closed, size), close(opened, size))
    ]
    narrow[dilate((np.minimum(*steps) > WIDE_STEP).astype(np.uint8), 9) > 0] = 0
    level = max(0.3 * float(narrow.max()), 3 * _noise(grey), LEAST_CONTRAST)
    balance, count = 0.0, 0
    for tiles in TILES:
        half = max(4, -(-side // (2 * tiles)))
        lines = _tiles(narrow, 2 * half) > level
        brightness = np.sort(_tiles(grey[::2, ::2], half), axis=1)
        darkest, lightest = brightness[:, 0].astype(np.float32), brightness[:, -1]
        middle = brightness[:, brightness.shape[1] // 2]
        weights = np.count_nonzero(lines, axis=1)
        votes = (middle - darkest) / np.maximum(lightest - darkest, 1) - 0.5
        balance += float((votes * weights).sum())
        count += int(weights.sum())
    if abs(balance) > DECIDED * count or not count:
        return balance < 0
    return bool(np.median(grey) < (int(grey.min()) + int(grey.max())) / 2)


def light_planes(planes: Grey) -> list[bool]:
    """In which planes (C, H, W) lines are lighter than their ground.

    `has_light_lines` says it of the one with the most contrast; a plane that is dark where that is
    light has it the other way round, as red has of orange lines on grey paper.
    """
    if len(planes) == 1:
        return [has_light_lines(planes[0])]
    values = planes[:, ::2, ::2].reshape(len(planes), -1).astype(np.float32)
    covariance = np.cov(values)
    strongest = int(np.diagonal(covariance).argmax())
    light = has_light_lines(planes[strongest])
    deviations = np.sqrt(np.diagonal(covariance))
    opposite = covariance[strongest] < -OPPOSITE * deviations * deviations[strongest]
    return [bool(other != light) for other in opposite]


def _noise(grey: Grey) -> float:
    """The standard deviation of the noise, from differences of neighbours."""
    steps = np.abs(np.diff(grey[::4].astype(np.int16), axis=1))
    return float(1.4826 * np.median(steps) / 2**0.5)


def _tiles(grey: Grey, tile: int) -> Grey:
    """(T, tile ** 2): the pixels of square areas, the last of each row and column filled up."""
    height, width = grey.shape
    rows, columns = -(-height // tile), -(-width // tile)
    padded = np.pad(grey, ((0, rows * tile - height), (0, columns * tile - width)), "reflect")
    parts = padded.reshape(rows, tile, columns, tile).swapaxes(1, 2)
    return parts.reshape(rows * columns, tile * tile)
