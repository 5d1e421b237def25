"""Colours of drawn products, independent of their shapes."""

from __future__ import annotations

import numpy as np

from .design import Design
from .geometry import Colour

COLOUR_NUMBERS = ("hue", "lightness", "vividness", "accent tone", "base tone")

METAL = np.array([0.85, 0.75, 0.45])


def main_and_accent(d: Design) -> tuple[Colour, Colour]:
    """A product's main colour, and a darker or lighter one that stands out against it."""
    hue, light = 2 * np.pi * d.numbers["hue"], d.number("lightness", 0.2, 0.7)
    tint = np.cos(hue + np.array([0.0, -2.1, 2.1]))
    main = np.clip(light * (1 + d.number("vividness", 0, 0.5) * tint) + [0.05, 0, -0.04], 0.08, 0.8)
    tone = d.number("accent tone", -1, 1)
    if tone < 0:
        return main, main * (0.7 + 0.35 * tone)
    return main, main + (0.3 + 0.4 * tone) * (0.95 - main)


def contrasting(colour: Colour) -> Colour:
    """A shade for seams on a surface: darker on a light one, lighter on a dark one."""
    return 0.4 * colour if colour.mean() > 0.4 else colour + 0.4 * (1 - colour)
