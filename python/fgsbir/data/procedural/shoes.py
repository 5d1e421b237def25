"""Parametric shoes in side view, toe to the left: the choices, and how the parts fit together."""

from __future__ import annotations

import numpy as np

from .design import Attributes, Design, chosen, coin, pick, random_numbers
from .geometry import Part, shape
from .shoe_body import BED_POINTS, Last, lining, palette, sole, upper
from .shoe_details import closed_details, sole_details
from .shoe_straps import ankle_strap, sandal_upper

# Numbers of the outline and the main colour, alike within a family.
SHARED = (
    "heel", "sole", "toe length", "toe height", "throat", "instep", "shaft", "shaft width",
    "counter", "dip", "heel width", "spring", "hue", "lightness",
)  # fmt: skip
# Numbers of fine details, not alike at all.
OWN = (
    "laces", "lace start", "lace end", "crossed", "lace bow", "facing", "straps", "strap 1",
    "strap 2", "strap 3", "strap 4", "strap width", "strap lean", "strap height", "t-strap",
    "two-tone", "buckle", "ornament", "ornament size", "ornament place", "petals", "cap",
    "cap slant", "cap bow", "peep", "panel", "panel start", "panel end", "panel bow", "stitch",
    "stripes", "stripe lean", "stripe start", "quarter", "quarter width", "midsole",
    "midsole height", "tread", "treads", "zip", "zip place", "zip lean", "gore", "cuff",
    "cuff depth", "tab", "opening", "vividness", "accent tone", "base tone",
)  # fmt: skip

ATTRIBUTES: Attributes = {
    "round toe": chosen("toe", "round"),
    "pointed toe": chosen("toe", "pointed"),
    "open toe": chosen("toe", "open"),
    "flat heel": chosen("heel", "flat"),
    "low heel": chosen("heel", "low"),
    "high heel": chosen("heel", "high"),
    "block heel": chosen("heel shape", "block"),
    "cone heel": chosen("heel shape", "cone"),
    "slender heel": chosen("heel shape", "slender"),
    "wedge": chosen("heel shape", "wedge"),
    "platform": chosen("platform", "yes"),
    "laces": chosen("laces", "yes"),
    "ankle strap": chosen("ankle strap", "yes"),
    "strappy upper": chosen("style", "sandal", "mary jane"),
    "backless": lambda d: (
        d["style"] == "mule" or (d["style"] == "sandal" and d["ankle strap"] == "no")
    ),
    "ankle boot": chosen("style", "ankle boot"),
    "high boot": chosen("style", "high boot"),
    "ornament": chosen("ornament", "yes"),
    "toe cap": chosen("toe cap", "yes"),
}

STYLES = {
    "pump": 3.0, "mary jane": 2.0, "sandal": 3.0, "mule": 1.5, "sneaker": 2.5, "ankle boot": 3.0,
    "high boot": 2.5,
}  # fmt: skip


def design_shoe(family: np.random.Generator, instance: np.random.Generator) -> Design:
    """Draw a design: the family decides on the choices, the instance on the details."""
    style = pick(family, STYLES)
    flat = style == "sneaker"
    heel = pick(family, {"flat": 1, "low": 0 if flat else 1, "high": 0 if flat else 1})
    shapes = {
        "flat": {"none": 1.0},
        "low": {"block": 2.0, "cone": 1.0, "wedge": 1.0},
        "high": {"block": 1.0, "cone": 1.0, "slender": 2.0, "wedge": 1.0},
    }
    laced = {"sneaker": 1.0, "ankle boot": 0.5, "high boot": 0.4}.get(style, 0.0)
    dressy = style in ("pump", "mary jane", "mule", "high boot")
    open_toe = {"sandal": 1.0, "mule": 0.4, "pump": 0.2}.get(style, 0.0)
    pointed = 0.0 if flat or heel == "flat" else 0.5
    closed = pick(family, {"pointed": pointed, "round": 1 - pointed})
    toe = "open" if coin(family, open_toe) == "yes" else closed
    choices = {
        "style": style,
        "heel": heel,
        "heel shape": pick(family, shapes[heel]),
        "toe": toe,
        "platform": coin(family, 0.3 if heel == "high" else 0.0),
        "laces": coin(family, laced),
        "ankle strap": coin(family, 0.75 if style == "sandal" else 0.15 if style == "pump" else 0),
        "ornament": coin(family, 0.45 if dressy or style == "sandal" else 0.0),
        "toe cap": coin(family, 0.4 if toe == "round" else 0.0),
    }
    return Design(choices, random_numbers(SHARED, OWN, family, instance))


def draw_shoe(d: Design) -> list[Part]:
    """The parts of a shoe, back to front, in its own coordinates: about 1 long, y up."""
    last, colours = Last(d), palette(d)
    parts = sole(d, last, colours)
    if d["style"] == "sandal":
        return [*parts, *sandal_upper(d, last, colours), *sole_details(d, last, colours)]
    made = upper(d, last)
    far = ankle_strap(d, last, colours, near=False) if d["ankle strap"] == "yes" else []
    # The bed is the sole's line already: a person draws it once.
    rest = made.outline[: len(made.outline) - BED_POINTS]
    body = shape(made.outline, colours.upper, strokes=(rest,), relief=0.45)
    return [
        *far,
        lining(d, last, made.topline, colours),
        *parts,
        body,
        *closed_details(d, last, made, colours),
        *sole_details(d, last, colours),
    ]
