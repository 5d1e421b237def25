"""Rendering of a hand sketch: some of the parts, drawn with a shaky line."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .geometry import Part, Points, along

SUPERSAMPLING = 2


def render_sketch(parts: Sequence[Part], size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Sketch parts as a person does who is more or less skilled.

    The whole is skewed and smoothly bent, parts sit a little off their place, some details are
    left out, and every stroke wobbles, ends short or shoots over, and varies in width.

    Args:
        parts: From back to front, in the unit square.
        size: Side of the picture in pixels.
        rng: Draws the hand.

    Returns:
        (size, size) uint8, dark on white.
    """
    full = SUPERSAMPLING * size
    image = Image.new("L", (full, full), 255)
    canvas = ImageDraw.Draw(image)
    clumsy = 0.35 + 0.65 * rng.random()
    pen = size / 256 * (1.2 + 1.6 * rng.random())
    bend = _Bend(rng, clumsy)
    forgetful = 0.2 + 1.1 * rng.random()
    for part in parts:
        if rng.random() < (1 - part.salience) * forgetful:
            continue
        misplaced = 0.011 * clumsy * rng.standard_normal(2)
        for paint in part.paints:
            if not paint.width:  # what lies behind a solid part is not seen
                hidden = bend(paint.points) + misplaced
                canvas.polygon((hidden * full).ravel().tolist(), fill=255)
        for stroke in part.strokes:
            width = round(SUPERSAMPLING * max(1.0, pen * (0.85 + 0.3 * rng.random())))
            for piece in _drawn(bend(stroke) + misplaced, clumsy, rng):
                shade = int(20 + 40 * rng.random())
                canvas.line((piece * full).ravel().tolist(), fill=shade, width=width)
    return np.array(image.reduce(SUPERSAMPLING), dtype=np.uint8)


class _Bend:
    """A person's misjudged proportions: one affine map and a smooth warp for the whole sketch."""

    def __init__(self, rng: np.random.Generator, clumsy: float) -> None:
        self.affine = 0.95 * np.eye(2) + 0.08 * clumsy * rng.standard_normal((2, 2))
        self.shift = 0.5 + 0.015 * rng.standard_normal(2)
        self.waves = 2 * np.pi * rng.uniform(0.5, 1.3, (3, 2)) * rng.choice([-1, 1], (3, 2))
        self.phases = rng.uniform(0, 2 * np.pi, 3)
        self.reach = 0.018 * clumsy * rng.standard_normal((3, 2))

    def __call__(self, p: Points) -> Points:
        warped = p + np.sin(p @ self.waves.T + self.phases) @ self.reach
        return (warped - 0.5) @ self.affine.T + self.shift


def _drawn(stroke: Points, clumsy: float, rng: np.random.Generator) -> list[Points]:
    """The pieces that a hand makes of one line."""
    length = float(np.linalg.norm(np.diff(stroke, axis=0), axis=1).sum())
    count = 1 + int(length > 0.5) + int(length > 1.2)  # the pen is set down anew
    cuts = np.linspace(0, 1, count + 1)
    cuts[1:-1] += 0.1 * rng.standard_normal(count - 1)
    pieces = []
    for start, end in pairwise(cuts.tolist()):
        n = max(4, round((end - start) * length * 90))
        share = np.linspace(start, end, n)
        line = along(stroke, share.clip(0, 1))
        slip = np.clip(0.008 * clumsy * rng.standard_normal(2) / max(length, 0.05), -0.1, 0.1)
        line[0] += slip[0] * n * (line[1] - line[0])  # too short, or over the end
        line[-1] += slip[1] * n * (line[-1] - line[-2])
        pieces.append(line + _wobble(share * length, clumsy, rng))
    return pieces


def _wobble(at: NDArray[np.float64], clumsy: float, rng: np.random.Generator) -> Points:
    """Slow sideways drift of the pen at distances along the line."""
    waves = 2 * np.pi * rng.uniform([2, 5, 9], [5, 9, 16])
    sizes = clumsy * np.array([0.0035, 0.002, 0.001])
    phases = rng.uniform(0, 2 * np.pi, (2, 3))
    return np.sin(at[:, None, None] * waves + phases) @ sizes
