"""The fine details of a shoe: straps, laces, seams, ornaments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .design import Design
from .geometry import (
    Part,
    Points,
    along,
    band,
    curve,
    ellipse,
    lines,
    points,
    section,
    shape,
)

if TYPE_CHECKING:
    from .shoes import Last, Palette, Upper

SEAM = 0.009  # width of a visible seam


def closed_details(d: Design, last: Last, upper: Upper, colours: Palette) -> list[Part]:
    """Everything on a closed upper, back to front."""
    parts = [*_panels(d, last, upper, colours), *_toe(d, last, upper, colours)]
    style = d["style"]
    if style.endswith("boot"):
        parts += _shaft(d, last, upper, colours)
    if d["laces"] == "yes":
        parts += _laces(d, upper, colours)
    if style == "mary jane":
        parts += _bars(d, last, upper, colours)
    if d["ankle strap"] == "yes":
        parts += _ankle_strap(d, last, colours, near=True)
    if d["ornament"] == "yes":
        place = along(upper.front, d.number("panel end", 0.78, 0.97))[0] - (0, 0.03)
        if style == "high boot":
            place = along(upper.front, 0.62)[0] + (0.2, 0.0)
        parts += _ornament(d, place, colours)
    return [*parts, *_rim(d, last, colours)]


def far_side(d: Design, last: Last, colours: Palette) -> list[Part]:
    """What of the far side shows behind a closed upper."""
    return _ankle_strap(d, last, colours, near=False) if d["ankle strap"] == "yes" else []


def sandal_upper(d: Design, last: Last, colours: Palette) -> list[Part]:
    """A sandal's insole and straps, back to front."""
    tilt = d.number("opening", 0.03, 0.06)
    far_rim = last.line(last.tip + 0.03, last.back, tilt)
    rim = shape(
        np.concatenate([curve([last.at(last.tip, 0.0), *far_rim[[0, 8, 16]], far_rim[-1],
                               last.at(last.back + 0.015, 0.0)]),
                        last.line(last.tip, last.back)[::-1]]),
        colours.lining,
        relief=0.3,
    )  # fmt: skip
    ankle = d["ankle strap"] == "yes"
    far: list[Part] = _ankle_strap(d, last, colours, near=False) if ankle else []
    near: list[Part] = []
    count = d.count("straps", 2, 4)
    middle = np.linspace(0.17, 0.52, count) + 0.05 * (d.number("strap 1", -0.6, 1))
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
        colour = colours.accent if k % 2 and d.has("cuff", 0.4) else colours.upper
        near.append(shape(band(over, width), colour, relief=0.7, salience=0.9))
        crests.append(crest)
    if d.has("panel", 0.35):  # a T-strap joins them
        joint = curve([*crests, last.at(0.62, 0.3 if ankle else 0.2)])
        near.append(shape(band(joint, 0.8 * width), colours.upper, relief=0.75, salience=0.85))
    if ankle:
        high = last.at(last.back - 0.02, _ankle_height(d))
        counter = np.concatenate([
            last.line(last.back - d.number("quarter", 0.08, 0.28), last.back),
            curve([last.at(last.back + 0.02, 0.1), high]),
            points([(high[0] - 0.05, high[1])]),
        ])  # fmt: skip
        near = [shape(counter, colours.upper, relief=0.5), *near]
        near += _ankle_strap(d, last, colours, near=True)
    if d["ornament"] == "yes":
        near += _ornament(d, crests[-1] - (0.01, 0.04), colours)
    return [rim, *far, *near, *_rim(d, last, colours)]


def _ankle_height(d: Design) -> float:
    if d["style"] == "pump":
        return d.number("counter", 0.19, 0.26) - 0.015
    return d.number("strap 2", 0.22, 0.36)


def _ankle_strap(d: Design, last: Last, colours: Palette, *, near: bool) -> list[Part]:
    loop = ellipse(last.at(last.back - 0.15, _ankle_height(d) + 0.02), 0.15, 0.035, -0.13, 29)
    width = 0.7 * d.number("strap width", 0.03, 0.075)
    if not near:
        return [shape(band(loop[:15], width), colours.upper * 0.55, relief=0.35)]
    front = loop[14:]
    buckle = along(front, d.number("buckle", 0.25, 0.75))[0]
    return [
        shape(band(front, width), colours.upper, relief=0.75),
        *_buckle(buckle, 0.7 * width, colours),
    ]


def _buckle(centre: Points, size: float, colours: Palette) -> list[Part]:
    metal = np.array([0.85, 0.75, 0.45])
    frame = points([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * size + centre
    hole = points([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * 0.5 * size + centre
    return [
        shape(frame, metal, relief=0.95, salience=0.7),
        shape(hole, colours.upper, relief=0.7, salience=0.4),
    ]


def _toe(d: Design, last: Last, upper: Upper, colours: Palette) -> list[Part]:
    if d["toe"] == "open":
        lip = section(upper.front, 0.0, d.number("cap", 0.16, 0.24), 8)
        hole = np.concatenate([lip, curve([lip[-1], last.at(last.tip + 0.1, 0.05),
                                           last.at(last.tip + 0.11, 0.0)])])  # fmt: skip
        return [shape(hole, colours.lining, relief=0.2)]
    if d["toe cap"] == "no":
        return []
    reach = d.number("cap", 0.2, 0.42)
    over = section(upper.front, 0.0, reach)
    foot = last.at(over[-1, 0] + d.number("panel curve", -0.03, 0.08), 0.0)
    middle = 0.5 * (over[-1] + foot) + (d.number("strap lean", -0.04, 0.05), 0)
    edge = curve([over[-1], middle, foot])
    cap = np.concatenate([over, edge, last.line(last.tip, foot[0])[::-1]])
    return [shape(cap, colours.accent, strokes=(edge,), relief=0.6, salience=0.9)]


def _panels(d: Design, last: Last, upper: Upper, colours: Palette) -> list[Part]:
    """Heel counter, quarter seam, stripes."""
    parts: list[Part] = []
    if d["style"] == "mule":
        return parts
    if d.has("quarter", 0.55):
        x = last.back - d.number("strap 1", 0.1, 0.26)
        rear = points([last.at(last.back + 0.004, 0.0), last.at(last.back, 0.12)])
        edge = curve([rear[1], last.at(x + 0.05, 0.11), last.at(x, 0.0)])
        counter = np.concatenate([rear, edge, last.line(x, last.back)])
        parts.append(shape(counter, colours.accent, strokes=(edge,), relief=0.55, salience=0.8))
    if d.has("panel", 0.6):
        boot = d["style"].endswith("boot")
        start = along(upper.front, d.number("panel end", *((0.3, 0.5) if boot else (0.55, 0.95))))[0]
        end = last.at(d.number("panel curve", 0.3, 0.68), 0.0)
        bow = d.number("strap 3", 0.0, 0.08)
        drawn = [curve([start, 0.5 * (start + end) + (bow, -abs(bow)), end])]
        if d.has("stitch", 0.5):
            drawn.append(drawn[0] + (0.025, 0.0))
        parts.append(lines(drawn, colours.seam, SEAM, salience=0.75))
    if d["style"] == "sneaker":
        lean = d.number("stripe lean", -0.08, 0.16)
        for k in range(d.count("stripes", 0, 4)):
            x = d.number("strap 2", 0.42, 0.52) + 0.085 * k
            stripe = curve(
                [last.at(x, 0.02), last.at(x + 0.4 * lean, 0.1), last.at(x + lean, 0.17)]
            )
            parts.append(shape(band(stripe, 0.035), colours.accent, relief=0.55, salience=0.85))
    return parts


def _laces(d: Design, upper: Upper, colours: Palette) -> list[Part]:
    boot = len(upper.front) > 45
    start = d.number("strap lean", 0.42, 0.52)
    end = d.number("lace end", 0.72, 1.0) if boot else 0.98
    edge = section(upper.front, start, end)
    d_edge = np.gradient(edge, axis=0)
    inward = np.column_stack([d_edge[:, 1], -d_edge[:, 0]])
    inward /= np.linalg.norm(inward, axis=1, keepdims=True)
    inner = edge + d.number("panel curve", 0.06, 0.1) * inward
    facing = np.concatenate([edge, inner[::-1]])
    parts = [shape(facing, colours.accent, strokes=(inner,), relief=0.55, salience=0.8)]
    rows = d.count("laces", 3, 8 if boot else 6)
    share = (np.arange(rows) + 0.5) / rows
    holes = along(inner + 0.3 * (edge - inner), share)
    tops = along(edge - 0.018 * inward, np.clip(share + 0.4 / rows, 0, 1))
    cord = np.array([0.93, 0.92, 0.88]) if colours.accent.mean() < 0.45 else colours.upper * 0.3
    drawn = [np.array([a, b]) for a, b in zip(holes, tops, strict=True)]
    if d.has("zip", 0.5):  # crossed
        drawn += [np.array([a, b]) for a, b in zip(holes[1:], tops[:-1], strict=True)]
    parts.append(lines(drawn, cord, 0.016, salience=0.95))
    for hole in holes:
        parts.append(shape(ellipse(hole, 0.011, 0.011, n=9), colours.lining * 0.5, salience=0.3))
    if d.has("tab", 0.6):  # the bow's loops
        knot = along(edge, 0.97)[0]
        for side in (-1, 1):
            loop = curve([knot, knot + (-0.05, 0.05 * side + 0.02), knot + (-0.09, 0.04 * side),
                          knot])  # fmt: skip
            parts.append(lines([loop], cord, 0.012, salience=0.6))
    return parts


def _bars(d: Design, last: Last, upper: Upper, colours: Palette) -> list[Part]:
    """The straps across a mary jane's opening."""
    parts: list[Part] = []
    count = d.count("straps", 1, 3)
    width = d.number("strap width", 0.03, 0.06)
    first = d.number("strap 1", 0.14, 0.42)
    for k in range(count):
        foot = along(upper.topline, first + 0.13 * k)[0]
        top = foot + (d.number("strap lean", -0.03, 0.05), d.number("strap 2", 0.075, 0.11))
        over = curve([foot - (0, 0.05), 0.5 * (foot + top) - (0.012, 0), top])
        parts.append(shape(band(over, width), colours.accent, relief=0.7, salience=0.95))
        parts += _buckle(over[3], 0.4 * width, colours)
    return parts


def _shaft(d: Design, last: Last, upper: Upper, colours: Palette) -> list[Part]:
    """Cuff, zip, elastic gore, shaft straps and pull tab of a boot."""
    parts: list[Part] = []
    front, back = upper.topline[0], upper.topline[-1]
    ankle = float(last.bed(last.back)) + 0.3
    drop = front[1] - ankle
    across = back - front
    if d.has("cuff", 0.45):
        depth = d.number("cap", 0.06, 0.16) * (1 + 0.4 * drop)
        low = upper.topline - (0.0, depth)
        cuff = np.concatenate([upper.topline, low[::-1]])
        parts.append(shape(cuff, colours.accent, strokes=(low,), relief=0.65, salience=0.85))
    if d.has("zip", 0.4):
        top = front + d.number("panel end", 0.35, 0.8) * across
        foot = (top[0] + d.number("strap lean", -0.08, 0.04), ankle - 0.22)
        line = curve([top, 0.5 * (top + foot) + (0.012, 0), foot])
        parts.append(lines([line, line + (0.022, 0)], colours.seam, SEAM, salience=0.75))
    elif d["style"] == "ankle boot" and d.has("zip", 0.75) and d["laces"] == "no":
        top = front + d.number("panel end", 0.35, 0.6) * across
        gore = np.array([top - (0.09, 0), top + (0.08, 0), top + (0.03, -drop - 0.12),
                         top - (0.02, drop + 0.12)])  # fmt: skip
        parts.append(shape(gore, colours.accent * 0.7, relief=0.35, salience=0.85))
    for k in range(d.count("straps", 0, 3) if d["laces"] == "no" else 0):
        y = ankle - 0.02 + drop * (0.12 + 0.24 * k + d.number(f"strap {k + 1}", 0.0, 0.14))
        x = np.interp(y, upper.front[-24:, 1], upper.front[-24:, 0])
        strap = curve([(x - 0.004, y), (0.5 * (x + last.back), y - d.number("strap lean", 0, 0.06)),
                       (last.back - 0.004, y + 0.01)])  # fmt: skip
        width = d.number("strap width", 0.03, 0.06)
        parts.append(shape(band(strap, width), colours.accent, relief=0.75, salience=0.85))
        parts += _buckle(along(strap, d.number("buckle", 0.2, 0.75))[0], 0.6 * width, colours)
    if d.has("tab", 0.35):
        loop = curve([back - (0.02, 0.01), back + (0.0, 0.05), back + (0.025, 0.0),
                      back - (0.0, 0.06)])  # fmt: skip
        parts.append(lines([loop], colours.accent, 0.016, salience=0.7))
    return parts


def _ornament(d: Design, centre: Points, colours: Palette) -> list[Part]:
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
        turn = np.linspace(0, 2 * np.pi, 1 + d.count("buckle", 5, 7))[:-1]
        petals = np.column_stack([np.cos(turn), np.sin(turn)]) * 0.75 * size + centre
        flower = [ellipse(p, 0.5 * size, 0.5 * size, n=12) for p in petals]
        flower.append(ellipse(centre, 0.4 * size, 0.4 * size, n=12))
        return [shape(p, colours.accent, relief=0.9, salience=0.9) for p in flower]
    metal = np.array([0.85, 0.75, 0.45])
    if kind == 2:
        return [
            shape(ellipse(centre, size, size), metal, relief=0.95),
            shape(ellipse(centre, 0.6 * size, 0.6 * size), colours.upper, relief=0.5),
        ]
    plate = points([(-1, -0.6), (1, -0.6), (1, 0.6), (-1, 0.6)]) * size + centre
    return [
        shape(plate, metal, relief=0.95),
        shape(0.55 * (plate - centre) + centre, colours.upper),
    ]


def _rim(d: Design, last: Last, colours: Palette) -> list[Part]:
    """The sole's welt and its tread."""
    parts: list[Part] = []
    thick = last.lift
    if thick > 0.055 and d.has("midsole", 0.6):
        height = -thick * d.number("midsole", 0.3, 1.1)
        line = last.line(last.tip + 0.04, last.back - 0.03, height)
        parts.append(lines([line], colours.sole * 0.5, SEAM, salience=0.7))
    if d["heel shape"] == "none" and d.has("tread", 0.5):
        n = d.count("midsole", 5, 16)
        x = np.linspace(last.tip + 0.12, last.back - 0.03, n)
        marks = [np.array([(a, 0.0), (a + 0.01, 0.4 * thick)]) for a in x]
        parts.append(lines(marks, colours.sole * 0.4, 0.012, salience=0.45))
    return parts
