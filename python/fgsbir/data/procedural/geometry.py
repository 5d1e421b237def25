"""Points, curves and the parts that a picture is put together from.

Everything is in the product's own coordinates, x to the right and y up; `fitted` brings it into
the picture's, x right and y down, the picture being the unit square.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

Points = NDArray[np.float64]  # (n, 2)
Colour = NDArray[np.float64]  # (3,) red, green, blue in [0, 1]


@dataclass(frozen=True)
class Paint:
    """A filled polygon, or a line of some width, as the photo shows it."""

    points: Points
    colour: Colour
    width: float = 0.0  # 0 is a polygon


@dataclass(frozen=True)
class Part:
    """A part of a product. Parts are listed from back to front.

    Attributes:
        paints: How the photo shows it, drawn in order.
        strokes: The lines that a person draws for it.
        salience: How likely a person is to draw it at all, in [0, 1].
        relief: How far it stands out for the light, in [0, 1].
    """

    paints: tuple[Paint, ...]
    strokes: tuple[Points, ...]
    salience: float = 1.0
    relief: float = 0.5


def points(values: ArrayLike) -> Points:
    return np.asarray(values, dtype=np.float64).reshape(-1, 2)


def vec(*values: float) -> NDArray[np.float64]:
    """One point or direction."""
    return np.array(values, dtype=np.float64)


def curve(through: ArrayLike, *, closed: bool = False, steps: int = 8) -> Points:
    """A Catmull-Rom spline through some points, ``steps`` to each span."""
    p = points(through)
    if closed:
        p = np.concatenate([p[-1:], p, p[:2]])
    else:
        p = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None, None]
    a, b, c, d = p[:-3], p[1:-2], p[2:-1], p[3:]
    spans = 0.5 * (
        2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
    )
    smooth = spans.transpose(1, 0, 2).reshape(-1, 2)
    return smooth if closed else np.concatenate([smooth, p[-2:-1]])


def ellipse(centre: ArrayLike, rx: float, ry: float, tilt: float = 0.0, n: int = 28) -> Points:
    """A closed ellipse, tilted counter-clockwise by so many radians; first point repeated."""
    a = np.linspace(0, 2 * np.pi, n)
    x, y = rx * np.cos(a), ry * np.sin(a)
    c, s = np.cos(tilt), np.sin(tilt)
    return points(centre) + np.column_stack([c * x - s * y, s * x + c * y])


def ring(polygon: Points) -> Points:
    """A polygon's outline as a closed line."""
    return np.concatenate([polygon, polygon[:1]])


def along(line: Points, share: ArrayLike) -> Points:
    """Points at shares in [0, 1] of a line's length."""
    reach = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    at = np.atleast_1d(np.asarray(share, dtype=np.float64)) * reach[-1]
    return np.column_stack([np.interp(at, reach, line[:, i]) for i in (0, 1)])


def section(line: Points, start: float, end: float, n: int = 16) -> Points:
    """The piece of a line between two shares of its length."""
    return along(line, np.linspace(start, end, n))


def normals(line: Points) -> Points:
    """Unit vectors to the left of a line at each of its points."""
    d = np.gradient(line, axis=0)
    left = np.column_stack([-d[:, 1], d[:, 0]])
    return left / np.maximum(np.linalg.norm(left, axis=1, keepdims=True), 1e-9)


def band(line: Points, width: float | Points) -> Points:
    """The polygon of a line drawn with one width, or with (n, 1) widths."""
    half = 0.5 * width * normals(line)
    return np.concatenate([line + half, (line - half)[::-1]])


def shape(
    polygon: Points,
    colour: Colour,
    *,
    strokes: Sequence[Points] | None = None,
    salience: float = 1.0,
    relief: float = 0.5,
) -> Part:
    """A part that is one filled polygon; a person draws its outline unless told otherwise."""
    drawn = (ring(polygon),) if strokes is None else tuple(strokes)
    return Part((Paint(polygon, colour),), drawn, salience, relief)


def lines(drawn: Iterable[Points], colour: Colour, width: float, *, salience: float = 1.0) -> Part:
    """A part that is only lines: seams, laces."""
    drawn = tuple(drawn)
    return Part(tuple(Paint(p, colour, width) for p in drawn), drawn, salience, 0.8)


def fitted(parts: Sequence[Part], margin: float = 0.05) -> list[Part]:
    """Parts scaled and moved into the unit square, y downwards, keeping their proportions."""
    everything = np.concatenate([p.points for part in parts for p in part.paints])
    low, high = everything.min(axis=0), everything.max(axis=0)
    scale = (1 - 2 * margin) / (high - low).max()
    flip = np.array([scale, -scale])
    offset = 0.5 - flip * (low + high) / 2
    return [
        replace(
            part,
            paints=tuple(
                Paint(p.points * flip + offset, p.colour, p.width * scale) for p in part.paints
            ),
            strokes=tuple(s * flip + offset for s in part.strokes),
        )
        for part in parts
    ]
