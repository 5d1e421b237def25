"""Base of a chair: four legs, a sled or a pedestal."""

from __future__ import annotations

import numpy as np

from .chair_body import Frame
from .design import Design
from .geometry import Part, ellipse, shape, vec
from .solids import Points3, View, disc, points3, rounded, segment


def legs(d: Design, f: Frame, view: View) -> list[Part]:
    """What carries the seat, back to front."""
    under = f.seat - f.slab
    if d["base"] == "pedestal":
        return _pedestal(d, f, view, under)
    if d["base"] == "sled":
        return _sled(d, f, view, under)
    return _four_legs(d, f, view, under)


def _feet(d: Design, f: Frame) -> tuple[Points3, Points3]:
    """Tops (at height 1) and feet (at 0) of four legs: rear left, rear right, front left, right."""
    inset = 0.07 if d["seat"] == "square" else 0.2
    splay = d.number("splay", 0.0, 0.16)
    x = (0.5 - inset) * f.width * np.array([-1, 1, -1, 1])
    y = np.where([True, True, False, False], (1 - inset) * f.depth, inset * f.depth)
    outward = np.column_stack([np.sign(x), [1, 1, -1, -1]]) * splay
    tops = np.column_stack([x, y, np.ones(4)])
    return tops, np.column_stack([x + outward[:, 0], y + outward[:, 1], np.zeros(4)])


def _four_legs(d: Design, f: Frame, view: View, under: float) -> list[Part]:
    tops, feet = _feet(d, f)
    tops = tops * (1, 1, under)
    width = d.number("leg width", 0.06, 0.13)
    thin = d.number("leg taper", 0.45, 1.0)
    half = 0.5 * width * points3([(-1, -1, 0), (1, -1, 0), (1, 1, 0), (-1, 1, 0)])
    parts = []
    for top, foot in zip(tops, feet, strict=True):
        if d["leg"] == "square":
            parts.append(view.prism(foot + half * (0.5 + 0.5 * thin), top - foot, f.legs))
        else:
            path = np.linspace(foot, top, 6)
            widths = np.linspace(thin * width, width, 6)[:, None]
            parts.append(view.tube(path, widths, f.legs))
    if d["stretchers"] == "no":
        return parts
    rear, front = parts[:2], parts[2:]
    bars: list[Part] = []

    def bar(a: int, b: int, height: float) -> None:
        ends = [feet[i] + (tops[i] - feet[i]) * height for i in (a, b)]
        bars.append(view.tube(segment(*ends), 0.55 * width, f.legs, salience=0.9, relief=0.45))

    sides, cross = d.number("stretcher 1", 0.18, 0.6), d.number("stretcher 2", 0.15, 0.65)
    kind = d.count("stretcher kind", 0, 3)
    bar(0, 2, sides)
    bar(1, 3, sides)
    if kind in (0, 1):
        bar(0, 1, cross)
    if kind in (1, 2):
        bar(2, 3, cross)
    if kind == 3:  # an H
        at = feet + (tops - feet) * sides
        across = segment(0.5 * (at[0] + at[2]), 0.5 * (at[1] + at[3]))
        bars.append(view.tube(across, 0.5 * width, f.legs, salience=0.9))
    return [*rear, *bars, *front]


def _sled(d: Design, f: Frame, view: View, under: float) -> list[Part]:
    tops, feet = _feet(d, f)
    tops = tops * (1, 1, under)
    width = d.number("leg width", 0.035, 0.07)
    cantilever = d.has("cantilever", 0.4)
    parts = []
    for rear, front in ((0, 2), (1, 3)):
        corners = [tops[front], feet[front], feet[rear]]
        if not cantilever:
            corners.append(tops[rear])
        parts.append(view.tube(rounded(points3(corners)), width, f.legs))
    floor = [feet[0], feet[1]] if d.has("sled bar", 0.6) else [feet[2], feet[3]]
    parts.insert(0, view.tube(segment(*floor), width, f.legs, salience=0.9))
    return parts


def _pedestal(d: Design, f: Frame, view: View, under: float) -> list[Part]:
    middle = np.array([0.0, 0.5 * f.depth, 0.0])
    castors = d["castors"] == "yes"
    floor = 0.11 if castors else 0.02
    hub = floor + d.number("foot", 0.06, 0.2)
    thick = d.number("column", 0.07, 0.16)
    column = [
        view.tube(middle + points3([(0, 0, hub), (0, 0, 0.55 * under)]), thick, f.legs),
        view.tube(middle + points3([(0, 0, 0.55 * under), (0, 0, under)]), 0.62 * thick, f.legs),
    ]
    if d.has("ring", 0.35) and not castors:
        height = d.number("ring height", 0.25, 0.5) * under
        loop = disc(middle + vec(0, 0, height), 0.3)
        column.append(view.tube(np.concatenate([loop, loop[:1]]), 0.029, f.legs, salience=0.9))
    if not castors and d.has("spokes", 0.4):
        plate = disc(middle, 0.42 + 0.1 * d.numbers["foot"])
        return [view.prism(plate, (0, 0, 0.05), f.legs), *column]
    count = 4 if d.has("spokes", 0.6) else 5
    ends = disc(middle + vec(0, 0, floor), 0.52, count, d.numbers["turn"] / count)
    spokes: list[Part] = []
    for end in sorted(ends, key=lambda p: -p[1]):
        taper = np.linspace(0.1, 0.05, 5)[:, None]
        spokes.append(view.tube(np.linspace(middle + vec(0, 0, hub), end, 5), taper, f.legs))
        if castors:
            wheel = ellipse(view(points3(end - vec(0, 0, 0.06)))[0], 0.05, 0.06, n=16)
            spokes.append(shape(wheel, f.legs * 0.6, relief=0.7))
    return [*spokes, *column]
