"""Measures, seat and armrests of a chair."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .colours import main_and_accent
from .design import Design
from .geometry import Colour, Part, points, vec
from .solids import Points3, View, disc, points3, rounded


@dataclass(frozen=True)
class Frame:
    """A chair's main measures and colours; the seat's top is at height ``seat``, its front at 0."""

    width: float
    depth: float
    seat: float
    slab: float
    back: float
    recline: float
    body: Colour
    accent: Colour
    legs: Colour


def frame(d: Design) -> Frame:
    """Measures and colours of a design."""
    body, accent = main_and_accent(d)
    wood = np.array([0.8, 0.58, 0.38]) * d.number("base tone", 0.3, 1.0)
    steel = np.full(3, d.number("base tone", 0.1, 0.7))
    stool = d["back"] == "none"
    heights = {"high": (1.05, 1.5), "low": (0.55, 0.85)}
    return Frame(
        width=d.number("width", 0.85, 1.15) * (0.85 if stool else 1.0),
        depth=d.number("depth", 0.8, 1.05) * (0.85 if stool else 1.0),
        seat=d.number("seat height", 0.8, 1.5) if stool else d.number("seat height", 0.75, 1.0),
        slab=d.number("seat edge", 0.05, 0.13),
        back=d.number("back height", *heights[d["back height"]]),
        recline=d.number("recline", 0.03, 0.3),
        body=body,
        accent=accent,
        legs=wood if d["base"] == "four" else steel,
    )


def seat(d: Design, f: Frame, view: View) -> list[Part]:
    """The seat's slab and the cushion on it."""
    under = vec(0, 0, f.seat - f.slab)
    slab = view.prism(_seat_outline(d, f) + under, (0, 0, f.slab), f.body)
    if d["cushion"] == "no":
        return [slab]
    thick = d.number("cushion", 0.06, 0.16)
    base = _seat_outline(d, f, 0.94) + vec(0, 0, f.seat)
    return [slab, view.prism(base, (0, 0, thick), f.accent, relief=0.7)]


def _seat_outline(d: Design, f: Frame, grow: float = 1.0) -> Points3:
    """The seat from above, at height 0."""
    middle = np.array([0.0, 0.5 * f.depth, 0.0])
    if d["seat"] == "round":
        return middle + (disc(np.zeros(3), 0.5) * (f.width, f.depth, 1)) * grow
    bow, narrow = d.number("seat bow", 0.0, 0.12), 1 - d.number("taper", 0.0, 0.2)
    half, depth = 0.5 * f.width * grow, 0.5 * f.depth * grow
    corners = points(
        [(-half, -depth + bow), (-0.5 * half, -depth), (0.5 * half, -depth), (half, -depth + bow),
         (narrow * half, depth), (-narrow * half, depth)]
    )  # fmt: skip
    cut = rounded(np.column_stack([[*corners, *corners[:2]], np.zeros(8)]), 0.15)[1:-1]
    return middle + cut


def armrests(d: Design, f: Frame, view: View) -> tuple[list[Part], list[Part]]:
    """The far arm, on the right, and the near one."""
    if d["arms"] == "no":
        return [], []
    height = f.seat + d.number("arm height", 0.3, 0.48)
    reach = d.number("arm reach", 0.02, 0.35) * f.depth
    width = d.number("arm post", 0.055, 0.12)
    end = f.depth * 0.96 + f.recline * (height - f.seat) / f.back
    kind = d.count("arm kind", 0, 2)
    arms: list[list[Part]] = []
    for side in (-1, 1):
        x = side * (0.5 * f.width + 0.02)
        if kind == 0:  # a flat board on a post
            post = points3([(x, reach + 0.08, height), (x, reach + 0.12, f.seat - 0.05)])
            low, high = (x - 0.06, reach - 0.05, height), (x + 0.06, end, height + 0.05)
            arms.append([view.tube(post, width, f.legs), view.box(low, high, f.body)])
        elif kind == 1:  # one bent tube
            bends = [(x, end, height), (x, reach, height), (x, reach + 0.05, f.seat - 0.05)]
            arms.append([view.tube(rounded(points3(bends), 0.2), width, f.legs)])
        else:  # a T with a short pad
            middle = 0.5 * (reach + end)
            post = points3([(x, middle, f.seat - 0.08), (x, middle, height)])
            low, high = (x - 0.06, reach, height), (x + 0.06, 0.85 * end, height + 0.07)
            arms.append([view.tube(post, width, f.legs), view.box(low, high, f.accent)])
    return arms[1], arms[0]
