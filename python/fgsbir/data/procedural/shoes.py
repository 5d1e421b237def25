"""Parametric shoes in side view, toe to the left: what there is to choose, and the body."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .design import Design, pick, random_numbers
from .geometry import Colour, Part, Points, curve, points, section, shape
from .shoe_details import closed_details, far_side, sandal_upper

# Numbers of the outline, alike within a family, and of fine details, not alike at all.
SHARED = (
    "heel", "sole", "toe length", "toe height", "throat", "instep", "shaft", "shaft width",
    "counter", "dip", "heel width", "spring", "hue", "lightness",
)  # fmt: skip
OWN = (
    "laces", "lace end", "straps", "strap 1", "strap 2", "strap 3", "strap width", "strap lean", "ornament",
    "ornament size", "cap", "panel", "panel end", "panel curve", "stripes", "stripe lean",
    "quarter", "tread", "midsole", "zip", "cuff", "stitch", "buckle", "tab", "opening", "sole tone",
    "accent tone", "vividness",
)  # fmt: skip

ATTRIBUTES = (
    "round toe", "pointed toe", "open toe", "flat heel", "low heel", "high heel", "block heel",
    "cone heel", "slender heel", "wedge", "platform", "laces", "ankle strap", "strappy upper",
    "backless", "low shaft", "ankle boot", "high boot", "ornament", "toe cap",
)  # fmt: skip

BED_POINTS = 24
PLUMP = 1.15  # heights over the footbed are drawn so much larger

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
    toe = "open" if family.random() < open_toe else "pointed"
    if toe == "pointed" and family.random() >= pointed:
        toe = "round"
    choices = {
        "style": style,
        "heel": heel,
        "heel shape": pick(family, shapes[heel]),
        "toe": toe,
        "platform": _coin(family, 0.3 if heel == "high" else 0.0),
        "laces": _coin(family, laced),
        "ankle strap": _coin(family, 0.75 if style == "sandal" else 0.15 if style == "pump" else 0),
        "ornament": _coin(family, 0.45 if dressy or style == "sandal" else 0.0),
        "toe cap": _coin(family, 0.4 if toe == "round" else 0.0),
    }
    return Design(choices, random_numbers(SHARED, OWN, family, instance))


def _coin(rng: np.random.Generator, chance: float) -> str:
    return "yes" if rng.random() < chance else "no"


def shoe_attributes(d: Design) -> dict[str, bool]:
    """The true value of every one of `ATTRIBUTES`."""
    style = d["style"]
    return {
        "round toe": d["toe"] == "round",
        "pointed toe": d["toe"] == "pointed",
        "open toe": d["toe"] == "open",
        "flat heel": d["heel"] == "flat",
        "low heel": d["heel"] == "low",
        "high heel": d["heel"] == "high",
        "block heel": d["heel shape"] == "block",
        "cone heel": d["heel shape"] == "cone",
        "slender heel": d["heel shape"] == "slender",
        "wedge": d["heel shape"] == "wedge",
        "platform": d["platform"] == "yes",
        "laces": d["laces"] == "yes",
        "ankle strap": d["ankle strap"] == "yes",
        "strappy upper": style in ("sandal", "mary jane"),
        "backless": style == "mule" or (style == "sandal" and d["ankle strap"] == "no"),
        "low shaft": not style.endswith("boot"),
        "ankle boot": style == "ankle boot",
        "high boot": style == "high boot",
        "ornament": d["ornament"] == "yes",
        "toe cap": d["toe cap"] == "yes",
    }


@dataclass(frozen=True)
class Palette:
    upper: Colour
    accent: Colour
    sole: Colour
    lining: Colour
    seam: Colour


def palette(d: Design) -> Palette:
    hue, light = 2 * np.pi * d.numbers["hue"], d.number("lightness", 0.2, 0.7)
    vivid = 0.5 * d.numbers["vividness"]
    tint = np.array([np.cos(hue), np.cos(hue - 2.1), np.cos(hue + 2.1)])
    upper = np.clip(light * (1 + vivid * tint) + [0.05, 0, -0.04], 0.08, 0.8)
    tone = d.number("accent tone", -1, 1)
    accent = (
        upper * (0.7 + 0.35 * tone) if tone < 0 else upper + (0.3 + 0.4 * tone) * (0.95 - upper)
    )
    sole = np.array([0.9, 0.8, 0.66]) * d.number("sole tone", 0.15, 0.8)
    seam = upper * 0.4 if light > 0.4 else upper + 0.35 * (1 - upper)
    return Palette(upper, accent, sole, np.array([0.72, 0.6, 0.47]) * (0.4 + 0.6 * light), seam)


class Last:
    """The foot that a shoe is built around: heights of the footbed and of the instep."""

    def __init__(self, d: Design) -> None:
        ranges = {"flat": (0.0, 0.03), "low": (0.09, 0.17), "high": (0.27, 0.42)}
        self.rise = d.number("heel", *ranges[d["heel"]])
        sturdy = d["style"] == "sneaker" or d["laces"] == "yes"
        self.thick = d.number("sole", 0.06, 0.1) if sturdy else d.number("sole", 0.022, 0.05)
        self.lift = self.thick + (d.number("sole", 0.06, 0.12) if d["platform"] == "yes" else 0)
        self.spring = d.number("spring", 0.0, 0.035)
        self.back = 1 - 0.3 * self.rise
        pointed = d["toe"] == "pointed"
        self.tip = -d.number("toe length", 0.05, 0.14) if pointed else -0.01
        self.box = d.number("toe height", 0.05, 0.08) if pointed else d.number(
            "toe height", 0.09, 0.15
        )  # fmt: skip

    def bed(self, x: float | Points) -> Points:
        """Height of the footbed."""
        t = np.clip((np.asarray(x) - 0.3) / (self.back - 0.42), 0, 1)
        toe = np.clip((0.22 - np.asarray(x)) / 0.22, 0, 2)
        return self.lift + self.rise * t * t * (3 - 2 * t) + self.spring * toe**2

    def at(self, x: float, height: float) -> tuple[float, float]:
        """A point so high above the footbed."""
        return x, float(self.bed(x)) + PLUMP * height

    def line(self, start: float, end: float, height: float = 0.0, n: int = 24) -> Points:
        x = np.linspace(start, end, n)
        return np.column_stack([x, self.bed(x) + height])


def draw_shoe(d: Design) -> list[Part]:
    """The parts of a shoe, back to front, in its own coordinates: about 1 long, y up."""
    last, colours = Last(d), palette(d)
    parts = sole(d, last, colours)
    if d["style"] == "sandal":
        return [*parts, *sandal_upper(d, last, colours)]
    made = upper(d, last)
    # The bed is the sole's line already: a person draws it once.
    rest = made.outline[: len(made.outline) - BED_POINTS]
    body = shape(made.outline, colours.upper, strokes=(rest,), relief=0.45)
    return [
        *far_side(d, last, colours),
        lining(d, last, made.topline, colours),
        *parts,
        body,
        *closed_details(d, last, made, colours),
    ]


def sole(d: Design, last: Last, colours: Palette) -> list[Part]:
    """Heel block, if any, and sole."""
    top = last.line(last.tip, last.back, n=32)
    slab = d["heel shape"] in ("none", "wedge")
    x = np.linspace(last.back, last.tip + 0.02, 32)
    toe = last.spring * np.clip((0.22 - x) / 0.22, 0, 2) ** 2
    under = np.zeros_like(x) if slab else np.maximum(last.bed(x) - last.lift, 0)
    bottom = np.column_stack([x, np.where(x < 0.3, toe, under)])
    # A closed upper brings its own line along the bed, and a person draws it once.
    bare = d["style"] in ("sandal", "mule")
    strokes = None if bare else (np.concatenate([top[-1:], bottom, top[:1]]),)
    plate = np.concatenate([top, bottom])
    parts = [shape(plate, colours.sole, strokes=strokes, relief=0.35)]
    if slab:
        return parts
    slender = d["heel shape"] == "slender"
    front = last.back - d.number("heel width", *((0.13, 0.19) if slender else (0.2, 0.3)))
    widths = {"block": (0.85, 1.0), "cone": (0.45, 0.62), "slender": (0.3, 0.42)}
    width = (last.back - front) * d.number("heel width", *widths[d["heel shape"]])
    foot = last.back - 0.05 * last.rise
    joint = last.line(front, last.back, -0.5 * last.lift, n=8)
    breast = curve([(foot - width, 0.0), (foot - width + 0.02, 0.5 * joint[0, 1]), joint[0]])
    rear = curve([joint[-1], (foot - 0.01, 0.5 * last.rise), (foot, 0.0)])
    outline = np.concatenate([breast, joint, rear])
    block = shape(outline, colours.sole * 0.85, strokes=(breast, rear, outline[[-1, 0]]), relief=0.3)
    return [block, *parts]


@dataclass(frozen=True)
class Upper:
    """The near side of a closed upper.

    Attributes:
        front: From the toe's tip over the instep to the throat.
        topline: The opening's near rim, from the throat to the back.
        outline: The whole polygon.
    """

    front: Points
    topline: Points
    outline: Points


def upper(d: Design, last: Last) -> Upper:
    throat = d.number("throat", 0.3, 0.46)
    instep = last.box + d.number("instep", 0.02, 0.055)
    front = [
        last.at(last.tip, 0.0),
        last.at(last.tip + 0.005, 0.35 * last.box),
        last.at(last.tip + 0.05, 0.85 * last.box),
        last.at(last.tip * 0.5 + 0.12, 1.08 * last.box),
    ]
    heel = [
        last.at(last.back + d.number("counter", 0.005, 0.03), 0.1),
        last.at(last.back, 0.0),
    ]
    end, style = last.back, d["style"]
    if style in ("pump", "mary jane"):
        front += [last.at(throat, instep)]
        top = [
            last.at(0.5 * (throat + last.back), d.number("dip", 0.05, 0.11)),
            last.at(last.back - 0.09, 0.17),
            last.at(last.back - 0.005, d.number("counter", 0.19, 0.26)),
        ]
    elif style == "mule":
        end, heel = throat + 0.14, []
        front += [last.at(throat, instep + 0.06)]
        top = [last.at(throat + 0.1, 0.06), last.at(end, 0.0)]
    elif style == "sneaker":
        throat = d.number("throat", 0.46, 0.54)
        front += [last.at(0.3, instep + 0.06), last.at(throat, instep + 0.19)]
        top = [
            last.at(throat + 0.2, d.number("dip", 0.21, 0.29)),
            last.at(last.back - 0.08, 0.28),
            last.at(last.back + 0.01, 0.32),
        ]
    else:
        height = d.number("shaft", *((0.8, 1.35) if style == "high boot" else (0.4, 0.6)))
        heel_bed = float(last.bed(last.back))
        crown = heel_bed + height
        shin = last.back - d.number("shaft width", 0.38, 0.48)
        front += [
            last.at(0.3, instep + 0.05),
            last.at(shin, 0.33),
            (shin + 0.03, 0.55 * crown + 0.12),
            (shin - 0.02, crown - 0.02),
        ]
        rim = crown + d.number("dip", -0.04, 0.04)
        top = [(0.5 * (shin + last.back), 0.5 * (crown - 0.06 + rim)), (last.back + 0.02, rim)]
        heel = [(last.back - 0.03, heel_bed + 0.3), *heel]
    topline = curve([front[-1], *top])
    closing = [curve([top[-1], *heel])] if heel else []
    bed = last.line(last.tip, end, -0.008, n=BED_POINTS)[::-1]  # over the seam with the sole
    over = curve(front)
    return Upper(over, topline, np.concatenate([over, topline, *closing, bed]))


def lining(d: Design, last: Last, topline: Points, colours: Palette) -> Part:
    """What shows of the inside: the far rim of the opening."""
    if d["style"] == "mule":
        far = last.line(0.3, last.back, d.number("opening", 0.02, 0.045))
        return shape(
            np.concatenate([far, last.line(0.3, last.back)[::-1]]), colours.lining, relief=0.2
        )
    start, end = topline[0], topline[-1]
    rise = d.number("opening", 0.03, 0.06)
    middle = section(topline, 0.25, 0.75, 3)
    far = curve([start, *(middle + points([(0.0, rise)])), end])
    return shape(np.concatenate([far, topline[::-1]]), colours.lining, strokes=(far,), relief=0.2)
