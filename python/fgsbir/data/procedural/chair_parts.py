"""The parts of a chair: legs, seat, backrest, armrests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .design import Design
from .geometry import Part, Points, curve, ellipse, lines, points, shape
from .solids import Points3, View, points3

if TYPE_CHECKING:
    from .chairs import Frame


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
        bars.append(
            view.tube(np.linspace(*ends, 4), 0.55 * width, f.legs, salience=0.9, relief=0.45)
        )

    sides, cross = d.number("stretcher 1", 0.18, 0.6), d.number("stretcher 2", 0.15, 0.65)
    kind = d.count("stretcher kind", 0, 3)
    bar(0, 2, sides)
    bar(1, 3, sides)
    if kind in (0, 1):
        bar(0, 1, cross)
    if kind in (1, 2):
        bar(2, 3, cross)
    if kind == 3:  # an H
        middle = [0.5 * (feet[i] + feet[j]) * (1 - sides) + 0.5 * (tops[i] + tops[j]) * sides
                  for i, j in ((0, 2), (1, 3))]  # fmt: skip
        bars.append(view.tube(np.linspace(*middle, 4), 0.5 * width, f.legs, salience=0.9))
    return [*rear, *bars, *front]


def _sled(d: Design, f: Frame, view: View, under: float) -> list[Part]:
    tops, feet = _feet(d, f)
    tops = tops * (1, 1, under)
    width = d.number("leg width", 0.035, 0.07)
    cantilever = d.has("stretcher kind", 0.4)  # no rear legs
    parts = []
    for rear, front in ((0, 2), (1, 3)):
        corners = [tops[front], feet[front], feet[rear]]
        if not cantilever:
            corners.append(tops[rear])
        parts.append(view.tube(_rounded(points3(corners)), width, f.legs))
    floor = [feet[0], feet[1]] if d.has("foot", 0.6) else [feet[2], feet[3]]
    parts.insert(0, view.tube(np.linspace(*floor, 4), width, f.legs, salience=0.9))
    return parts


def _rounded(corners: Points3, share: float = 0.12) -> Points3:
    """A path with its inner corners cut."""
    path = [corners[0]]
    for before, corner, after in zip(corners[:-2], corners[1:-1], corners[2:], strict=True):
        for t in np.linspace(0, 1, 5):
            a, b = corner + share * (before - corner), corner + share * (after - corner)
            path.append((1 - t) ** 2 * a + 2 * t * (1 - t) * corner + t**2 * b)
    return np.array([*path, corners[-1]])


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
        height = d.number("stretcher 1", 0.25, 0.5) * under
        turn = np.linspace(0, 2 * np.pi, 25)[:, None]
        loop = middle + (0, 0, height) + 0.3 * np.hstack([np.cos(turn), np.sin(turn), 0 * turn])
        column.append(view.tube(loop, 0.029, f.legs, salience=0.9))
    if not castors and d.has("spokes", 0.4):
        disc = _disc(middle + (0, 0, 0), 0.42 + 0.1 * d.numbers["foot"])
        return [view.prism(disc, (0, 0, 0.05), f.legs), *column]
    count = 4 if d.has("spokes", 0.6) else 5
    turn = 2 * np.pi * (np.arange(count) + d.numbers["stretcher 2"]) / count
    ends = middle + 0.52 * np.column_stack([np.cos(turn), np.sin(turn), 0 * turn]) + (0, 0, floor)
    spokes: list[Part] = []
    for end in sorted(ends, key=lambda p: -p[1]):
        taper = np.linspace(0.1, 0.05, 5)[:, None]
        spokes.append(view.tube(np.linspace(middle + (0, 0, hub), end, 5), taper, f.legs))
        if castors:
            wheel = ellipse(view(points3(end - (0, 0, 0.06)))[0], 0.05, 0.06, n=16)
            spokes.append(shape(wheel, f.legs * 0.6, relief=0.7))
    return [*spokes, *column]


def _disc(centre: Points3, radius: float, n: int = 28) -> Points3:
    turn = np.linspace(0, 2 * np.pi, n, endpoint=False)[:, None]
    return centre + radius * np.hstack([np.cos(turn), np.sin(turn), 0 * turn])


def _seat_outline(d: Design, f: Frame, grow: float = 1.0) -> Points3:
    """The seat from above, at height 0."""
    middle = np.array([0.0, 0.5 * f.depth, 0.0])
    if d["seat"] == "round":
        return middle + (_disc(np.zeros(3), 0.5) * (f.width, f.depth, 1)) * grow
    bow, narrow = d.number("seat bow", 0.0, 0.12), 1 - d.number("taper", 0.0, 0.2)
    half, depth = 0.5 * f.width * grow, 0.5 * f.depth * grow
    corners = points(
        [(-half, -depth + bow), (-0.5 * half, -depth), (0.5 * half, -depth), (half, -depth + bow),
         (narrow * half, depth), (-narrow * half, depth)]
    )  # fmt: skip
    cut = _rounded(np.column_stack([[*corners, *corners[:2]], np.zeros(8)]), 0.15)[1:-1]
    return middle + cut


def seat(d: Design, f: Frame, view: View) -> list[Part]:
    slab = view.prism(_seat_outline(d, f) + (0, 0, f.seat - f.slab), (0, 0, f.slab), f.body)
    if d["cushion"] == "no":
        return [slab]
    thick = d.number("cushion", 0.06, 0.16)
    cushion = view.prism(
        _seat_outline(d, f, 0.94) + (0, 0, f.seat), (0, 0, thick), f.accent, relief=0.7
    )
    return [slab, cushion]


def _on_back(f: Frame, d: Design, u: Points, v: Points) -> Points3:
    """Points of the backrest's plane: u in [-1, 1] across, v in [0, 1] from seat to top."""
    u, v = np.broadcast_arrays(np.asarray(u, float), np.asarray(v, float))
    narrow = 1 - d.number("taper", 0.0, 0.2) + d.number("recline", -0.06, 0.1) * v
    return np.column_stack(
        [0.5 * f.width * u * narrow, f.depth * 0.96 + f.recline * v, f.seat + f.back * v]
    )


def backrest(d: Design, f: Frame, view: View) -> list[Part]:
    """The backrest, back to front."""
    if d["back"] == "none":
        return []
    if d["back"] == "solid":
        return _panel(d, f, view)
    thick = d.number("leg width", 0.06, 0.13)
    v = np.linspace(-0.05, 1 + d.number("post", -0.04, 0.1), 5)
    posts = [
        view.tube(_on_back(f, d, np.full(5, side), v), thick, f.body) for side in (0.93, -0.93)
    ]
    return [*posts[:1], *_slats(d, f, view, thick), *posts[1:]]


def _slats(d: Design, f: Frame, view: View, thick: float) -> list[Part]:
    parts = []
    crest = d.number("crest", -0.04, 0.14)
    top = _arched(d, f, 1.0, d.number("slat width", 0.1, 0.24), crest)
    depth = (0.0, 0.04, 0.0)
    if d["back"] == "slats":
        count = d.count("slats", 1, 5)
        width = min(d.number("slat width", 0.07, 0.2), 0.55 / count)
        start = d.number("slat shift", 0.12, 0.42)
        for middle in np.linspace(start, 0.78, count):
            slat = _arched(d, f, middle, width, crest * 0.5)
            parts.append(view.prism(slat, depth, f.body, salience=0.92, relief=0.6))
    else:
        count = d.count("slats", 3, 8)
        width = d.number("slat width", 0.028, 0.075)
        low = d.number("slat shift", -0.02, 0.3)
        for u in np.linspace(-0.93, 0.93, count + 2)[1:-1]:
            bar = _on_back(f, d, np.full(4, u), np.linspace(low, 0.95, 4))
            parts.append(view.tube(bar, width, f.body, salience=0.9))
        if low > 0.05:
            rail = _on_back(f, d, np.linspace(-0.93, 0.93, 4), np.full(4, low))
            parts.append(view.tube(rail, 0.8 * thick, f.body))
    return [*parts, view.prism(top, depth, f.body, relief=0.65)]


def _arched(d: Design, f: Frame, v: float, width: float, crest: float) -> Points3:
    """A cross slat's front face, its upper and lower edge arched by ``crest``."""
    u = np.linspace(-0.93, 0.93, 9)
    arch = crest * (1 - (u / 0.93) ** 2)
    upper, lower = v + arch, v - width + np.minimum(arch, 0.5 * width) * 0.6
    return np.concatenate([_on_back(f, d, u, lower), _on_back(f, d, u[::-1], upper[::-1])])


def _panel(d: Design, f: Frame, view: View) -> list[Part]:
    """A solid back, perhaps with a gap over the seat, seams or buttons."""
    low = d.number("gap", 0.2, 0.4) if d["detached"] == "yes" else -0.04
    thick = d.number("panel", 0.04, 0.16)
    crest = d.number("crest", 0.0, 0.16)
    shoulder = d.number("crest cut", 0.72, 0.98)
    u = np.array([-0.86, -0.97, -1.0, -0.97, -0.8, -0.4, 0.0])
    v = np.array([low, low + 0.06, 0.5 * (low + shoulder), shoulder - 0.08, shoulder + 0.02,
                  1.0 - 0.35 * crest, 1.0])  # fmt: skip
    left = curve(np.column_stack([u, v]), steps=4)
    outline = np.concatenate([left, (left * (-1, 1))[::-1][1:]])
    parts: list[Part] = []
    if d["detached"] == "yes":
        carriers = (0.0,) if d["base"] == "pedestal" else (-0.55, 0.55)
        rise = np.linspace(-0.05, low + 0.1, 4)
        parts += [
            view.tube(_on_back(f, d, np.full(4, at), rise) + (0, 0.05, 0), 0.09, f.legs)
            for at in carriers
        ]
    face = _on_back(f, d, outline[:, 0], outline[:, 1])
    cushioned = f.accent if d["cushion"] == "yes" else f.body
    parts.append(view.prism(face[::-1], (0, thick, 0), cushioned, relief=0.6))
    count = d.count("seams", 0, 4)
    if not count:
        return parts
    inner = np.linspace(low + 0.08, 0.93 * shoulder, 6)
    kind, shift = d.count("slat shift", 0, 2), d.number("seam shift", -0.12, 0.12)
    at = (np.arange(count) + 0.5) / count * 1.6 - 0.8 + shift
    if kind == 0:
        drawn = [view(_on_back(f, d, np.full(6, u), inner)) for u in at]
    else:
        across = np.linspace(-0.85, 0.85, 6)
        share = inner[0] + (inner[-1] - inner[0]) * (at + 1) / 2
        drawn = [view(_on_back(f, d, across, np.full(6, v))) for v in share]
    if kind == 2:  # buttons
        spots = [p for line in drawn for p in line[1:-1]]
        return [*parts, *(shape(ellipse(p, 0.022, 0.022, n=10), cushioned * 0.5, salience=0.5)
                          for p in spots)]  # fmt: skip
    return [*parts, lines(drawn, cushioned * 0.55, 0.016, salience=0.75)]


def armrests(d: Design, f: Frame, view: View) -> tuple[list[Part], list[Part]]:
    """The far arm, on the right, and the near one."""
    if d["arms"] == "no":
        return [], []
    height = f.seat + d.number("arm height", 0.3, 0.48)
    reach = d.number("arm reach", 0.02, 0.35) * f.depth
    width = d.number("arm post", 0.055, 0.12)
    arms: list[list[Part]] = []
    for side in (-1, 1):
        x = side * (0.5 * f.width + 0.02)
        end = f.depth * 0.96 + f.recline * (height - f.seat) / f.back
        kind = d.count("arm kind", 0, 2)
        rest = points3([(x, end, height), (x, reach, height)])
        if kind == 0:  # a flat board on a post
            post = points3([(x, reach + 0.08, height), (x, reach + 0.12, f.seat - 0.05)])
            board = view.box((x - 0.06, reach - 0.05, height), (x + 0.06, end, height + 0.05), f.body)
            arms.append([view.tube(post, width, f.legs), board])
        elif kind == 1:  # one bent tube
            path = _rounded(points3([*rest, (x, reach + 0.05, f.seat - 0.05)]), 0.2)
            arms.append([view.tube(path, width, f.legs)])
        else:  # a T with a short pad
            middle = 0.5 * (reach + end)
            post = points3([(x, middle, f.seat - 0.08), (x, middle, height)])
            pad = view.box((x - 0.06, reach, height), (x + 0.06, 0.85 * end, height + 0.07), f.accent)
            arms.append([view.tube(post, width, f.legs), pad])
    return arms[1], arms[0]
