"""Backrest of a chair: slats, bars or a panel."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .chair_body import Frame
from .colours import contrasting
from .design import Design
from .geometry import Colour, Part, curve, ellipse, lines, shape, vec
from .solids import Points3, View


def backrest(d: Design, f: Frame, view: View) -> list[Part]:
    """The backrest, back to front."""
    if d["back"] == "none":
        return []
    if d["back"] == "solid":
        return _panel(d, f, view)
    thick = d.number("leg width", 0.06, 0.13)
    v = np.linspace(-0.05, 1 + d.number("post", -0.04, 0.1), 5)
    posts = [
        view.tube(_on_back(d, f, np.full(5, side), v), thick, f.body) for side in (0.93, -0.93)
    ]
    return [*posts[:1], *_slats(d, f, view, thick), *posts[1:]]


def _on_back(d: Design, f: Frame, u: ArrayLike, v: ArrayLike) -> Points3:
    """Points of the backrest's plane: u in [-1, 1] across, v in [0, 1] from seat to top."""
    u, v = np.broadcast_arrays(np.asarray(u, float), np.asarray(v, float))
    narrow = 1 - d.number("taper", 0.0, 0.2) + d.number("flare", -0.06, 0.1) * v
    return np.column_stack(
        [0.5 * f.width * u * narrow, f.depth * 0.96 + f.recline * v, f.seat + f.back * v]
    )


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
            bar = _on_back(d, f, np.full(4, u), np.linspace(low, 0.95, 4))
            parts.append(view.tube(bar, width, f.body, salience=0.9))
        if low > 0.05:
            rail = _on_back(d, f, np.linspace(-0.93, 0.93, 4), np.full(4, low))
            parts.append(view.tube(rail, 0.8 * thick, f.body))
    return [*parts, view.prism(top, depth, f.body, relief=0.65)]


def _arched(d: Design, f: Frame, v: float, width: float, crest: float) -> Points3:
    """A cross slat's front face, its upper and lower edge arched by ``crest``."""
    u = np.linspace(-0.93, 0.93, 9)
    arch = crest * (1 - (u / 0.93) ** 2)
    upper, lower = v + arch, v - width + np.minimum(arch, 0.5 * width) * 0.6
    return np.concatenate([_on_back(d, f, u, lower), _on_back(d, f, u[::-1], upper[::-1])])


def _panel(d: Design, f: Frame, view: View) -> list[Part]:
    """A solid back, perhaps with a gap over the seat, seams or buttons."""
    low = d.number("gap", 0.2, 0.4) if d["detached"] == "yes" else -0.04
    thick = d.number("panel", 0.04, 0.16)
    crest = d.number("crest", 0.0, 0.16)
    shoulder = d.number("shoulder", 0.72, 0.98)
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
            view.tube(_on_back(d, f, np.full(4, at), rise) + vec(0, 0.05, 0), 0.09, f.legs)
            for at in carriers
        ]
    face = _on_back(d, f, outline[:, 0], outline[:, 1])
    cushioned = f.accent if d["cushion"] == "yes" else f.body
    parts.append(view.prism(face[::-1], (0, thick, 0), cushioned, relief=0.6))
    return [*parts, *_upholstery(d, f, view, low + 0.08, 0.93 * shoulder, contrasting(cushioned))]


def _upholstery(
    d: Design, f: Frame, view: View, low: float, high: float, colour: Colour
) -> list[Part]:
    """Upright seams, cross seams or rows of buttons, between two shares of the back's height."""
    count = d.count("seams", 0, 4)
    at = (np.arange(count) + 0.5) / max(count, 1) * 1.6 - 0.8 + d.number("seam shift", -0.12, 0.12)
    kind = d.count("seam kind", 0, 2)
    if kind == 0:
        drawn = [view(_on_back(d, f, np.full(6, u), np.linspace(low, high, 6))) for u in at]
    else:
        across = np.linspace(-0.85, 0.85, 6)
        heights = low + (high - low) * (at + 1) / 2
        drawn = [view(_on_back(d, f, across, np.full(6, v))) for v in heights]
    if kind == 2:
        buttons = [ellipse(spot, 0.022, 0.022, n=10) for line in drawn for spot in line[1:-1]]
        return [shape(button, colour, salience=0.5) for button in buttons]
    return [lines(drawn, colour, 0.02, salience=0.75)] if drawn else []
