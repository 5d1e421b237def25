"""Parametric chairs in three-quarter view: what there is to choose, and how it fits together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .chair_parts import armrests, backrest, legs, seat
from .design import Design, pick, random_numbers
from .geometry import Colour, Part
from .solids import View

# Numbers of the outline, alike within a family, and of fine details, not alike at all.
SHARED = (
    "width", "depth", "seat height", "back height", "recline", "taper", "splay", "crest", "yaw",
    "pitch", "hue", "lightness",
)  # fmt: skip
OWN = (
    "slats", "slat width", "slat shift", "post", "crest cut", "gap", "panel", "seams", "seam shift",
    "arm height", "arm reach", "arm kind", "arm post", "seat bow", "seat edge", "cushion",
    "leg width", "leg taper", "stretcher 1", "stretcher 2", "stretcher kind", "spokes", "column",
    "foot", "ring", "accent tone", "leg tone", "vividness",
)  # fmt: skip

ATTRIBUTES = (
    "no back", "high back", "low back", "detached back", "slatted back", "barred back",
    "solid back", "armrests", "round seat", "cushion", "four legs", "sled legs", "pedestal",
    "castors", "stretchers",
)  # fmt: skip


def design_chair(family: np.random.Generator, instance: np.random.Generator) -> Design:
    """Draw a design: the family decides on the choices, the instance on the details."""
    base = pick(family, {"four": 5.0, "sled": 2.0, "pedestal": 3.0})
    office = base == "pedestal"
    back = pick(family, {"none": 1.0, "slats": 2.0, "bars": 0.5 if office else 2.0, "solid": 4.0})
    round_seat = {"none": 0.6, "slats": 0.1, "bars": 0.3, "solid": 0.15}[back]
    choices = {
        "base": base,
        "back": back,
        "back height": pick(family, {"high": 1.0, "low": 1.0}),
        "detached": _coin(family, 0.5 if back == "solid" else 0.0),
        "arms": _coin(family, 0.0 if back == "none" else 0.4),
        "seat": "round" if family.random() < round_seat else "square",
        "cushion": _coin(family, 0.7 if office else 0.4),
        "castors": _coin(family, 0.6 if office else 0.0),
        "stretchers": _coin(family, 0.55 if base == "four" else 0.0),
        "leg": pick(family, {"square": 1.0, "round": 1.0}),
    }
    return Design(choices, random_numbers(SHARED, OWN, family, instance))


def _coin(rng: np.random.Generator, chance: float) -> str:
    return "yes" if rng.random() < chance else "no"


def chair_attributes(d: Design) -> dict[str, bool]:
    """The true value of every one of `ATTRIBUTES`."""
    backed = d["back"] != "none"
    return {
        "no back": not backed,
        "high back": backed and d["back height"] == "high",
        "low back": backed and d["back height"] == "low",
        "detached back": d["detached"] == "yes",
        "slatted back": d["back"] == "slats",
        "barred back": d["back"] == "bars",
        "solid back": d["back"] == "solid",
        "armrests": d["arms"] == "yes",
        "round seat": d["seat"] == "round",
        "cushion": d["cushion"] == "yes",
        "four legs": d["base"] == "four",
        "sled legs": d["base"] == "sled",
        "pedestal": d["base"] == "pedestal",
        "castors": d["castors"] == "yes",
        "stretchers": d["stretchers"] == "yes",
    }


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
    hue, light = 2 * np.pi * d.numbers["hue"], d.number("lightness", 0.2, 0.7)
    vivid = 0.45 * d.numbers["vividness"]
    tint = np.array([np.cos(hue), np.cos(hue - 2.1), np.cos(hue + 2.1)])
    body = np.clip(light * (1 + vivid * tint) + [0.05, 0, -0.05], 0.08, 0.8)
    tone = d.number("accent tone", -1, 1)
    accent = body * (0.65 + 0.35 * tone) if tone < 0 else body + (0.3 + 0.4 * tone) * (0.9 - body)
    wood = np.array([0.8, 0.58, 0.38]) * d.number("leg tone", 0.3, 1.0)
    steel = np.full(3, d.number("leg tone", 0.1, 0.7))
    stool = d["back"] == "none"
    return Frame(
        width=d.number("width", 0.85, 1.15) * (0.85 if stool else 1.0),
        depth=d.number("depth", 0.8, 1.05) * (0.85 if stool else 1.0),
        seat=d.number("seat height", 0.8, 1.5) if stool else d.number("seat height", 0.75, 1.0),
        slab=d.number("seat edge", 0.05, 0.13),
        back=d.number("back height", *((1.05, 1.5) if d["back height"] == "high" else (0.55, 0.85))),
        recline=d.number("recline", 0.03, 0.3),
        body=body,
        accent=accent,
        legs=wood if d["base"] == "four" else steel,
    )


def draw_chair(d: Design) -> list[Part]:
    """The parts of a chair, back to front, in its own coordinates: seat about 1 wide, y up."""
    f = frame(d)
    view = View(d.number("yaw", 0.42, 0.68), d.number("pitch", 0.2, 0.36))
    far, near = armrests(d, f, view)
    return [*legs(d, f, view), *far, *backrest(d, f, view), *seat(d, f, view), *near]
