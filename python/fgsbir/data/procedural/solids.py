"""Projection of solids in three dimensions to parts of a picture.

World coordinates: x to the right, y away from the viewer, z up.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .geometry import Colour, Paint, Part, Points, band, ring

Points3 = NDArray[np.float64]  # (n, 3)

LIGHT = np.array([-0.45, -0.5, 0.74])
AMBIENT = 0.62
CREASE = np.cos(np.radians(35))  # sides that meet at a larger angle show a line


def points3(values: ArrayLike) -> Points3:
    return np.asarray(values, dtype=np.float64).reshape(-1, 3)


def segment(start: Points3, end: Points3, n: int = 4) -> Points3:
    """A straight path of n points."""
    return np.linspace(start, end, n)


def disc(centre: Points3, radius: float, n: int = 28, turn: float = 0.0) -> Points3:
    """n points around a level circle, from a share ``turn`` of the full angle."""
    angle = 2 * np.pi * (np.arange(n) / n + turn)
    return centre + radius * np.column_stack([np.cos(angle), np.sin(angle), np.zeros(n)])


def rounded(corners: Points3, share: float = 0.12) -> Points3:
    """A path with its inner corners cut."""
    path = [corners[0]]
    for before, corner, after in zip(corners[:-2], corners[1:-1], corners[2:], strict=True):
        for t in np.linspace(0, 1, 5):
            a, b = corner + share * (before - corner), corner + share * (after - corner)
            path.append((1 - t) ** 2 * a + 2 * t * (1 - t) * corner + t**2 * b)
    return np.array([*path, corners[-1]])


@dataclass(frozen=True)
class View:
    """A camera far away: turned by ``yaw`` about the vertical, looking down by ``pitch`` radians.

    ``reach`` is its distance: things shrink with depth towards the point at height ``eye``, the
    more the shorter it is.
    """

    yaw: float
    pitch: float
    reach: float = 8.0
    eye: float = 1.5

    def __call__(self, p: Points3) -> Points:
        """Project (n, 3) to (n, 2), y up."""
        turned = p @ self._axes.T
        return (turned[:, [0, 2]] - (0, self.eye)) / (1 + turned[:, 1:2] / self.reach)

    @cached_property
    def _axes(self) -> NDArray[np.float64]:
        cy, sy, cp, sp = np.cos(self.yaw), np.sin(self.yaw), np.cos(self.pitch), np.sin(self.pitch)
        about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
        about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
        return about_x @ about_z

    def prism(
        self,
        base: Points3,
        offset: ArrayLike,
        colour: Colour,
        *,
        salience: float = 1.0,
        relief: float = 0.5,
    ) -> Part:
        """A convex polygon (n, 3) swept along ``offset`` (3,), lit by its faces' directions."""
        offset = np.asarray(offset, dtype=np.float64)
        after = np.arange(1, len(base) + 1) % len(base)
        spokes = base - base.mean(axis=0)
        cap = np.cross(spokes, spokes[after]).sum(axis=0)
        cap /= np.linalg.norm(cap)
        if np.dot(cap, offset) > 0:  # so that sides and caps face outwards
            base, cap = base[::-1], -cap
        low, high = self(base), self(base + offset)
        quads = np.stack([low, high, high[after], low[after]], axis=1)
        seen = _area(quads) > 0
        normals = np.cross(offset, base[after] - base)
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        sides = np.outer(_brightness(normals), colour)
        paints = [Paint(quads[i], sides[i]) for i in np.flatnonzero(seen)]
        strokes: list[Points] = []
        for outline, normal, whole in (
            (low, cap, _area(low) > 0),
            (high, -cap, _area(high) < 0),
        ):
            if whole:
                paints.append(Paint(outline, colour * _brightness(normal)))
            strokes += [ring(outline)] if whole else _runs(outline, seen)
        creased = np.empty(len(base), dtype=bool)
        creased[after] = np.einsum("ij,ij->i", normals, normals[after]) < CREASE
        before = np.empty_like(seen)
        before[after] = seen
        # An upright edge is drawn where only one of its sides is seen, or where they meet sharply.
        upright = (seen != before) | (seen & before & creased)
        strokes += [np.array([low[i], high[i]]) for i in np.flatnonzero(upright)]
        return Part(tuple(paints), tuple(strokes), salience, relief)

    def box(self, low: ArrayLike, high: ArrayLike, colour: Colour, **how: float) -> Part:
        """An upright box between two corners."""
        (x0, y0, z0), (x1, y1, z1) = np.asarray(low), np.asarray(high)
        base = points3([(x0, y0, z0), (x1, y0, z0), (x1, y1, z0), (x0, y1, z0)])
        return self.prism(base, (0, 0, z1 - z0), colour, **how)

    def tube(
        self,
        path: Points3,
        width: float | Points,
        colour: Colour,
        *,
        salience: float = 1.0,
        relief: float = 0.6,
    ) -> Part:
        """A round rod along a path, of one width or of (n, 1) widths; a thin one is one line."""
        middle = self(path)
        outline = band(middle, width)
        thin = float(np.max(width)) < 0.03
        strokes = (middle,) if thin else (ring(outline),)
        return Part((Paint(outline, colour * 0.95),), strokes, salience, relief)


def _area(polygons: NDArray[np.float64]) -> NDArray[np.float64]:
    """Twice the areas of (..., n, 2) polygons, positive where counter-clockwise."""
    x, y = polygons[..., 0], polygons[..., 1]
    after = np.arange(1, x.shape[-1] + 1) % x.shape[-1]
    return (x * y[..., after] - y * x[..., after]).sum(axis=-1)


def _brightness(normals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of faces with these (..., 3) unit normals."""
    return AMBIENT + (1.12 - AMBIENT) * np.maximum(0, normals @ LIGHT) ** 0.8


def _runs(outline: Points, seen: NDArray[np.bool_]) -> list[Points]:
    """The pieces of a closed outline whose edges are seen."""
    if seen.all():
        return [ring(outline)]
    if not seen.any():
        return []
    first = int(np.flatnonzero(seen & ~np.roll(seen, 1))[0])
    order = np.roll(np.arange(len(outline)), -first)
    runs: list[list[int]] = []
    for i, edge in enumerate(order):
        if seen[edge]:
            if i == 0 or not seen[order[i - 1]]:
                runs.append([int(edge)])
            runs[-1].append(int((edge + 1) % len(outline)))
    return [outline[run] for run in runs]
