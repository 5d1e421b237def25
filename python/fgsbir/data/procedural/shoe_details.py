"""Seams, laces, shafts and treads of a shoe."""

from __future__ import annotations

import numpy as np

from .design import Design
from .geometry import Part, along, band, curve, ellipse, lines, normals, points, section, shape, vec
from .shoe_body import Last, Palette, Upper
from .shoe_straps import ankle_strap, bars, buckle, ornament

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
        parts += bars(d, upper, colours)
    if d["ankle strap"] == "yes":
        parts += ankle_strap(d, last, colours, near=True)
    if d["ornament"] == "yes":
        place = along(upper.front, d.number("ornament place", 0.78, 0.97))[0] - vec(0, 0.03)
        if style == "high boot":
            place = along(upper.front, 0.62)[0] + vec(0.2, 0.0)
        parts += ornament(d, place, colours)
    return parts


def _panels(d: Design, last: Last, upper: Upper, colours: Palette) -> list[Part]:
    """Heel counter, quarter seam, stripes."""
    parts: list[Part] = []
    if d["style"] == "mule":
        return parts
    if d.has("quarter", 0.55):
        x = last.back - d.number("quarter width", 0.1, 0.26)
        rear = points([last.at(last.back + 0.004, 0.0), last.at(last.back, 0.12)])
        edge = curve([rear[1], last.at(x + 0.05, 0.11), last.at(x, 0.0)])
        counter = np.concatenate([rear, edge, last.line(x, last.back)])
        parts.append(shape(counter, colours.accent, strokes=(edge,), relief=0.55, salience=0.8))
    if d.has("panel", 0.6):
        low, high = (0.3, 0.5) if d["style"].endswith("boot") else (0.55, 0.95)
        start = along(upper.front, d.number("panel start", low, high))[0]
        end = last.at(d.number("panel end", 0.3, 0.68), 0.0)
        bow = d.number("panel bow", 0.0, 0.08)
        drawn = [curve([start, 0.5 * (start + end) + vec(bow, -bow), end])]
        if d.has("stitch", 0.5):
            drawn.append(drawn[0] + vec(0.025, 0.0))
        parts.append(lines(drawn, colours.seam, SEAM, salience=0.75))
    if d["style"] == "sneaker":
        lean = d.number("stripe lean", -0.08, 0.16)
        for k in range(d.count("stripes", 0, 4)):
            x = d.number("stripe start", 0.42, 0.52) + 0.085 * k
            stripe = curve(
                [last.at(x, 0.02), last.at(x + 0.4 * lean, 0.1), last.at(x + lean, 0.17)]
            )
            parts.append(shape(band(stripe, 0.035), colours.accent, relief=0.55, salience=0.85))
    return parts


def _toe(d: Design, last: Last, upper: Upper, colours: Palette) -> list[Part]:
    if d["toe"] == "open":
        lip = section(upper.front, 0.0, d.number("peep", 0.16, 0.24), 8)
        hole = np.concatenate([lip, curve([lip[-1], last.at(last.tip + 0.1, 0.05),
                                           last.at(last.tip + 0.11, 0.0)])])  # fmt: skip
        return [shape(hole, colours.lining, relief=0.2)]
    if d["toe cap"] == "no":
        return []
    reach = d.number("cap", 0.2, 0.42)
    over = section(upper.front, 0.0, reach)
    foot = last.at(over[-1, 0] + d.number("cap slant", -0.03, 0.08), 0.0)
    middle = 0.5 * (over[-1] + foot) + vec(d.number("cap bow", -0.04, 0.05), 0)
    edge = curve([over[-1], middle, foot])
    cap = np.concatenate([over, edge, last.line(last.tip, foot[0])[::-1]])
    return [shape(cap, colours.accent, strokes=(edge,), relief=0.6, salience=0.9)]


def _laces(d: Design, upper: Upper, colours: Palette) -> list[Part]:
    boot = d["style"].endswith("boot")
    start = d.number("lace start", 0.42, 0.52)
    end = d.number("lace end", 0.72, 1.0) if boot else 0.98
    edge = section(upper.front, start, end)
    inward = -normals(edge)
    inner = edge + d.number("facing", 0.06, 0.1) * inward
    facing = np.concatenate([edge, inner[::-1]])
    parts = [shape(facing, colours.accent, strokes=(inner,), relief=0.55, salience=0.8)]
    rows = d.count("laces", 3, 8 if boot else 6)
    share = (np.arange(rows) + 0.5) / rows
    holes = along(inner + 0.3 * (edge - inner), share)
    tops = along(edge - 0.018 * inward, np.clip(share + 0.4 / rows, 0, 1))
    cord = np.array([0.93, 0.92, 0.88]) if colours.accent.mean() < 0.45 else colours.upper * 0.3
    drawn = [np.array([a, b]) for a, b in zip(holes, tops, strict=True)]
    if d.has("crossed", 0.5):
        drawn += [np.array([a, b]) for a, b in zip(holes[1:], tops[:-1], strict=True)]
    parts.append(lines(drawn, cord, 0.016, salience=0.95))
    for hole in holes:
        parts.append(shape(ellipse(hole, 0.011, 0.011, n=9), colours.lining * 0.5, salience=0.3))
    if d.has("lace bow", 0.6):
        knot = along(edge, 0.97)[0]
        for side in (-1, 1):
            out, tip = vec(-0.05, 0.05 * side + 0.02), vec(-0.09, 0.04 * side)
            loop = curve([knot, knot + out, knot + tip, knot])
            parts.append(lines([loop], cord, 0.012, salience=0.6))
    return parts


def _shaft(d: Design, last: Last, upper: Upper, colours: Palette) -> list[Part]:
    """Cuff, zip, elastic gore, shaft straps and pull tab of a boot."""
    parts: list[Part] = []
    front, back = upper.topline[0], upper.topline[-1]
    ankle = float(last.bed(last.back)) + 0.3
    drop = front[1] - ankle
    across = back - front
    if d.has("cuff", 0.45):
        depth = d.number("cuff depth", 0.06, 0.16) * (1 + 0.4 * drop)
        low = upper.topline - vec(0.0, depth)
        cuff = np.concatenate([upper.topline, low[::-1]])
        parts.append(shape(cuff, colours.accent, strokes=(low,), relief=0.65, salience=0.85))
    if d.has("zip", 0.4):
        top = front + d.number("zip place", 0.35, 0.8) * across
        foot = (top[0] + d.number("zip lean", -0.08, 0.04), ankle - 0.22)
        line = curve([top, 0.5 * (top + foot) + vec(0.012, 0), foot])
        parts.append(lines([line, line + vec(0.022, 0)], colours.seam, SEAM, salience=0.75))
    elif d["style"] == "ankle boot" and d.has("gore", 0.6) and d["laces"] == "no":
        top = front + d.number("zip place", 0.35, 0.6) * across
        deep = drop + 0.12
        gore = top + points([(-0.09, 0), (0.08, 0), (0.03, -deep), (-0.02, -deep)])
        parts.append(shape(gore, colours.accent * 0.7, relief=0.35, salience=0.85))
    for k in range(d.count("straps", 0, 3) if d["laces"] == "no" else 0):
        y = ankle - 0.02 + drop * (0.12 + 0.24 * k + d.number(f"strap {k + 1}", 0.0, 0.14))
        x = np.interp(y, upper.front[-24:, 1], upper.front[-24:, 0])
        strap = curve([(x - 0.004, y), (0.5 * (x + last.back), y - d.number("strap lean", 0, 0.06)),
                       (last.back - 0.004, y + 0.01)])  # fmt: skip
        width = d.number("strap width", 0.03, 0.06)
        parts.append(shape(band(strap, width), colours.accent, relief=0.75, salience=0.85))
        parts += buckle(along(strap, d.number("buckle", 0.2, 0.75))[0], 0.6 * width, colours)
    if d.has("tab", 0.35):
        loop = curve(back + points([(-0.02, -0.01), (0, 0.05), (0.025, 0), (0, -0.06)]))
        parts.append(lines([loop], colours.accent, 0.016, salience=0.7))
    return parts


def sole_details(d: Design, last: Last, colours: Palette) -> list[Part]:
    """The sole's welt and its tread."""
    parts: list[Part] = []
    thick = last.lift
    if thick > 0.055 and d.has("midsole", 0.6):
        height = -thick * d.number("midsole height", 0.3, 0.8)
        line = last.line(last.tip + 0.04, last.back - 0.03, height)
        parts.append(lines([line], colours.sole * 0.5, SEAM, salience=0.7))
    if d["heel shape"] == "none" and d.has("tread", 0.5):
        n = d.count("treads", 5, 16)
        x = np.linspace(last.tip + 0.12, last.back - 0.03, n)
        marks = [np.array([(a, 0.0), (a + 0.01, 0.4 * thick)]) for a in x]
        parts.append(lines(marks, colours.sole * 0.4, 0.012, salience=0.45))
    return parts
