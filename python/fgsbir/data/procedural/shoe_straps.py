"""Straps, buckles and ornaments of a shoe."""

from __future__ import annotations

import numpy as np

from .colours import METAL
from .design import Design
from .geometry import Part, Points, along, band, curve, ellipse, points, shape, vec
from .shoe_body import Last, Palette, Upper


def sandal_upper(d: Design, last: Last, colours: Palette) -> list[Part]:
    """A sandal's insole and straps, back to front."""
    tilt = d.number("opening", 0.03, 0.06)
    far_rim = last.line(last.tip + 0.03, last.back, tilt)
    edge = [last.at(last.tip, 0.0), *far_rim[[0, 8, 16, -1]], last.at(last.back + 0.015, 0.0)]
    insole = np.concatenate([curve(edge), last.line(last.tip, last.back)[::-1]])
    rim = shape(insole, colours.lining, relief=0.3)
    ankle = d["ankle strap"] == "yes"
    far: list[Part] = ankle_strap(d, last, colours, near=False) if ankle else []
    near: list[Part] = []
    count = d.count("straps", 2, 4)
    middle = np.linspace(0.17, 0.52, count) + 0.05 * (d.number("strap 4", -0.6, 1))
    shifts = [d.number(f"strap {1 + k % 3}", -0.045, 0.045) for k in range(count)]
    lean = d.number("strap lean", -0.06, 0.12)
    width = d.number("strap width", 0.03, 0.075)
    crests = []
    for k, x in enumerate(middle + shifts):
        height = 0.09 + 0.22 * max(0.0, x)
        crest = points(last.at(x + lean, height))[0]
        over = curve([last.at(x, 0.0), last.at(x + 0.25 * lean - 0.015, 0.6 * height), crest])
        under = curve([crest, last.at(x + lean + 0.05, tilt + 0.3 * height),
                       last.at(x + lean + 0.06, tilt)])  # fmt: skip
        far.append(shape(band(under, width), colours.upper * 0.55, relief=0.35))
        colour = colours.accent if k % 2 and d.has("two-tone", 0.4) else colours.upper
        near.append(shape(band(over, width), colour, relief=0.7, salience=0.9))
        crests.append(crest)
    if d.has("t-strap", 0.35):  # a T-strap joins them
        joint = curve([*crests, last.at(0.62, 0.3 if ankle else 0.2)])
        near.append(shape(band(joint, 0.8 * width), colours.upper, relief=0.75, salience=0.85))
    if ankle:
        high = last.at(last.back - 0.02, _ankle_height(d))
        counter = np.concatenate([
            last.line(last.back - d.number("quarter width", 0.08, 0.28), last.back),
            curve([last.at(last.back + 0.02, 0.1), high]),
            points([(high[0] - 0.05, high[1])]),
        ])  # fmt: skip
        near = [shape(counter, colours.upper, relief=0.5), *near]
        near += ankle_strap(d, last, colours, near=True)
    if d["ornament"] == "yes":
        near += ornament(d, crests[-1] - vec(0.01, 0.04), colours)
    return [rim, *far, *near]


def _ankle_height(d: Design) -> float:
    if d["style"] == "pump":
        return d.number("counter", 0.19, 0.26) - 0.015
    return d.number("strap height", 0.22, 0.36)


def ankle_strap(d: Design, last: Last, colours: Palette, *, near: bool) -> list[Part]:
    """The near or the far half of a strap around the ankle."""
    loop = ellipse(last.at(last.back - 0.15, _ankle_height(d) + 0.02), 0.15, 0.035, -0.13, 29)
    width = 0.7 * d.number("strap width", 0.03, 0.075)
    if not near:
        return [shape(band(loop[:15], width), colours.upper * 0.55, relief=0.35)]
    front = loop[14:]
    at = along(front, d.number("buckle", 0.25, 0.75))[0]
    return [
        shape(band(front, width), colours.upper, relief=0.75),
        *buckle(at, 0.7 * width, colours),
    ]


def bars(d: Design, upper: Upper, colours: Palette) -> list[Part]:
    """The straps across a mary jane's opening."""
    parts: list[Part] = []
    count = d.count("straps", 1, 3)
    width = d.number("strap width", 0.03, 0.06)
    first = d.number("strap 1", 0.14, 0.42)
    for k in range(count):
        foot = along(upper.topline, first + 0.13 * k)[0]
        top = foot + vec(d.number("strap lean", -0.03, 0.05), d.number("strap height", 0.075, 0.11))
        over = curve([foot - vec(0, 0.05), 0.5 * (foot + top) - vec(0.012, 0), top])
        parts.append(shape(band(over, width), colours.accent, relief=0.7, salience=0.95))
        parts += buckle(over[3], 0.4 * width, colours)
    return parts


def buckle(centre: Points, size: float, colours: Palette) -> list[Part]:
    square = points([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * size
    frame, hole = centre + square, centre + 0.5 * square
    return [
        shape(frame, METAL, relief=0.95, salience=0.7),
        shape(hole, colours.upper, relief=0.7, salience=0.4),
    ]


def ornament(d: Design, centre: Points, colours: Palette) -> list[Part]:
    """A bow, a flower, a ring or a plate."""
    size = d.number("ornament size", 0.035, 0.07)
    kind = d.count("ornament", 0, 3)
    if kind == 0:
        wings = [
            curve(points([(0, 0), (s * 1.1, 0.75), (s * 1.5, 0), (s * 1.1, -0.75)]) * size + centre,
                  closed=True)
            for s in (-1, 1)
        ]  # fmt: skip
        knot = ellipse(centre, 0.3 * size, 0.4 * size, n=12)
        return [shape(p, colours.accent, relief=0.9, salience=0.95) for p in [*wings, knot]]
    if kind == 1:
        turn = np.linspace(0, 2 * np.pi, 1 + d.count("petals", 5, 7))[:-1]
        petals = np.column_stack([np.cos(turn), np.sin(turn)]) * 0.75 * size + centre
        flower = [ellipse(p, 0.5 * size, 0.5 * size, n=12) for p in petals]
        flower.append(ellipse(centre, 0.4 * size, 0.4 * size, n=12))
        return [shape(p, colours.accent, relief=0.9, salience=0.9) for p in flower]
    if kind == 2:
        return [
            shape(ellipse(centre, size, size), METAL, relief=0.95),
            shape(ellipse(centre, 0.6 * size, 0.6 * size), colours.upper, relief=0.5),
        ]
    plate = points([(-1, -0.6), (1, -0.6), (1, 0.6), (-1, 0.6)]) * size + centre
    return [
        shape(plate, METAL, relief=0.95),
        shape(0.55 * (plate - centre) + centre, colours.upper),
    ]
