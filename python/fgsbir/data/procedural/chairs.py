"""Parametric chairs in three-quarter view: the choices, and how the parts fit together."""

from __future__ import annotations

import numpy as np

from .chair_back import backrest
from .chair_body import armrests, frame, seat
from .chair_legs import legs
from .design import Attributes, Design, chosen, coin, pick, random_numbers
from .geometry import Part
from .solids import View

# Numbers of the outline and the main colour, alike within a family.
SHARED = (
    "width", "depth", "seat height", "back height", "recline", "taper", "flare", "splay", "crest",
    "yaw", "pitch", "hue", "lightness",
)  # fmt: skip
# Numbers of fine details, not alike at all.
OWN = (
    "slats", "slat width", "slat shift", "post", "shoulder", "gap", "panel", "seams", "seam kind",
    "seam shift", "arm height", "arm reach", "arm kind", "arm post", "seat bow", "seat edge",
    "cushion", "leg width", "leg taper", "stretcher 1", "stretcher 2", "stretcher kind",
    "cantilever", "sled bar", "spokes", "turn", "column", "foot", "ring", "ring height",
    "vividness", "accent tone", "base tone",
)  # fmt: skip

ATTRIBUTES: Attributes = {
    "no back": chosen("back", "none"),
    "high back": lambda d: d["back"] != "none" and d["back height"] == "high",
    "low back": lambda d: d["back"] != "none" and d["back height"] == "low",
    "detached back": chosen("detached", "yes"),
    "slatted back": chosen("back", "slats"),
    "barred back": chosen("back", "bars"),
    "solid back": chosen("back", "solid"),
    "armrests": chosen("arms", "yes"),
    "round seat": chosen("seat", "round"),
    "cushion": chosen("cushion", "yes"),
    "four legs": chosen("base", "four"),
    "sled legs": chosen("base", "sled"),
    "pedestal": chosen("base", "pedestal"),
    "castors": chosen("castors", "yes"),
    "stretchers": chosen("stretchers", "yes"),
}


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
        "detached": coin(family, 0.5 if back == "solid" else 0.0),
        "arms": coin(family, 0.0 if back == "none" else 0.4),
        "seat": "round" if family.random() < round_seat else "square",
        "cushion": coin(family, 0.7 if office else 0.4),
        "castors": coin(family, 0.6 if office else 0.0),
        "stretchers": coin(family, 0.55 if base == "four" else 0.0),
        "leg": pick(family, {"square": 1.0, "round": 1.0}),
    }
    return Design(choices, random_numbers(SHARED, OWN, family, instance))


def draw_chair(d: Design) -> list[Part]:
    """The parts of a chair, back to front, in its own coordinates: seat about 1 wide, y up."""
    f = frame(d)
    view = View(d.number("yaw", 0.42, 0.68), d.number("pitch", 0.2, 0.36))
    far, near = armrests(d, f, view)
    return [*legs(d, f, view), *far, *backrest(d, f, view), *seat(d, f, view), *near]
