"""Grey values of any depth as 8 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

DEPTHS = (8, 10, 12, 14, 16)
"""Bits of integers that cameras and scanners write, in two bytes or more."""
OVERSHOOT = 1.25
"""By how much resampling may carry real numbers beyond the full scale."""


def to_8_bits(image: Image.Image) -> Image.Image:
    """A decoded picture of at most 8 bits a channel.

    Integers are scaled by the smallest of `DEPTHS` that holds them all, real numbers from [0, 1]
    or from the same ranges. What is no number is white, as what is transparent is.
    """
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image)
    if values.dtype.itemsize == 2 and values.dtype.kind == "u":
        table = _scaled(np.arange(1 << 16), 0.0, _full_scale(float(values.max(initial=0))))
        return Image.fromarray(table[values])
    real = values.astype(np.float64)
    known = real[np.isfinite(real)]
    low, top = float(known.min(initial=0.0)), float(known.max(initial=0.0))
    full = _full_scale_of_reals(top) if image.mode == "F" else _full_scale(top)
    if low < -(OVERSHOOT - 1) * full:  # not from 0: a range of its own
        return Image.fromarray(_scaled(real, low, top))
    return Image.fromarray(_scaled(real, 0.0, full))


def stretched(image: Image.Image) -> Image.Image:
    """A picture of channels that were cut from 16 bits to their upper 8, over its own range.

    The lower 10, 12 or 14 of 16 bits leave but the lowest 2, 4 or 6 of 8.
    """
    channels = np.array(image)
    colours = channels[..., :3] if image.mode in ("RGB", "RGBA") else channels[..., :1]
    top = int(colours.max(initial=0))
    full = next(2 ** (bits - 8) - 1 for bits in DEPTHS[1:] if top < 2 ** (bits - 8))
    if full == 255:
        return image
    colours[...] = (colours.astype(np.uint16) * 255 + full // 2) // full
    return Image.fromarray(channels)


def _full_scale(top: float) -> float:
    return next((2.0**bits - 1 for bits in DEPTHS if top < 2**bits), top)


def _full_scale_of_reals(top: float) -> float:
    scales = (1.0, *(2.0**bits - 1 for bits in DEPTHS))
    return next((scale for scale in scales if top <= OVERSHOOT * scale), top)


def _scaled(values: NDArray[np.number[Any]], low: float, full: float) -> NDArray[np.uint8]:
    span = full - low or 1.0
    share = np.nan_to_num((values - low) / span, nan=1.0, posinf=1.0, neginf=0.0)
    return (255 * share).round().clip(0, 255).astype(np.uint8)
