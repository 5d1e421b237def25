"""Body of a shoe: colours, the foot inside, sole, heel and upper."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .colours import contrasting, main_and_accent
from .design import Design
from .geometry import Colour, Part, Points, curve, points, section, shape

BED_POINTS = 24
PLUMP = 1.15  # heights over the footbed are drawn so much larger


@dataclass(frozen=True)
class Palette:
    """The colours of a shoe's parts."""

    upper: Colour
    accent: Colour
    sole: Colour
    lining: Colour
    seam: Colour


def palette(d: Design) -> Palette:
    main, accent = main_and_accent(d)
    sole = np.array([0.9, 0.8, 0.66]) * d.number("base tone", 0.15, 0.8)
    lining = np.array([0.72, 0.6, 0.47]) * d.number("lightness", 0.5, 0.8)
    return Palette(main, accent, sole, lining, contrasting(main))


class Last:
    """The foot that a shoe is built around.

    Attributes:
        rise: How much higher the heel stands than the ball.
        lift: How high the ball stands over the ground.
        spring: How much higher the toe stands than the ball.
        tip, back: Where the foot ends, x.
        box: Height of the toe.
    """

    def __init__(self, d: Design) -> None:
        ranges = {"flat": (0.0, 0.03), "low": (0.09, 0.17), "high": (0.27, 0.42)}
        self.rise = d.number("heel", *ranges[d["heel"]])
        sturdy = d["style"] == "sneaker" or d["laces"] == "yes"
        self.lift = d.number("sole", *((0.06, 0.1) if sturdy else (0.022, 0.05)))
        if d["platform"] == "yes":
            self.lift += d.number("sole", 0.06, 0.12)
        self.spring = d.number("spring", 0.0, 0.035)
        self.back = 1 - 0.3 * self.rise
        pointed = d["toe"] == "pointed"
        self.tip = d.number("toe length", -0.14, -0.05) if pointed else -0.01
        self.box = d.number("toe height", *((0.05, 0.08) if pointed else (0.09, 0.15)))

    def bed(self, x: ArrayLike) -> NDArray[np.float64]:
        """Height of the footbed at x."""
        x = np.asarray(x, dtype=np.float64)
        t = np.clip((x - 0.3) / (self.back - 0.42), 0, 1)
        toe = np.clip((0.22 - x) / 0.22, 0, 2)
        return self.lift + self.rise * t * t * (3 - 2 * t) + self.spring * toe**2

    def at(self, x: float, height: float) -> tuple[float, float]:
        """A point so high above the footbed."""
        return x, float(self.bed(x)) + PLUMP * height

    def line(self, start: float, end: float, height: float = 0.0, n: int = 24) -> Points:
        """The footbed from x = start to end, raised by ``height``."""
        x = np.linspace(start, end, n)
        return np.column_stack([x, self.bed(x) + height])


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
    block = shape(
        outline, colours.sole * 0.85, strokes=(breast, rear, outline[[-1, 0]]), relief=0.3
    )
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
    """The upper of any style but a sandal."""
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
