"""A product photo: coloured parts under soft light on a white ground."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from .geometry import Part

Field = NDArray[np.float32]

SUPERSAMPLING = 2
COARSE = 4  # soft light is computed on a picture so many times smaller
LIGHT = np.array([-0.55, -0.83])  # from the upper left


def render_photo(parts: Sequence[Part], size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Paint parts as a photo.

    Args:
        parts: From back to front, in the unit square.
        size: Side of the picture in pixels.
        rng: Draws the material's grain and the strength of light and shadow.

    Returns:
        (size, size, 3) uint8.
    """
    albedo, relief, cover = _flat(parts, size)
    rounded, raised, gloss, grain = rng.random(4)
    coarse = size / COARSE
    body = _coarse(cover, lambda small: _lit(_blur(small, 0.045 * coarse), 0.035 * coarse))
    light = 1 + (1.1 + 0.7 * rounded) * body
    light += (0.5 + 0.5 * raised) * _lit(_blur(relief, 0.007 * size), 0.01 * size)
    light *= 0.3 + 0.7 * _blur(cover, 0.012 * size)  # surfaces turn away at the silhouette
    noise = _blur(rng.standard_normal((size, size), dtype=np.float32), 0.004 * size)
    light += (0.04 + 0.08 * grain) * noise
    bright = np.clip(light - 1.1, 0, None)
    lit = albedo * (light - 0.6 * bright)[..., None] + ((0.1 + 0.5 * gloss) * bright)[..., None]
    ground = 1 - 0.25 * _contact_shadow(cover, size)
    picture = np.clip(lit, 0, 1) * cover[..., None] + (ground * (1 - cover))[..., None]
    return (255 * np.clip(picture, 0, 1)).round().astype(np.uint8)


def _flat(
    parts: Sequence[Part], size: int
) -> tuple[Field, Field, Field]:
    """Colour without light (size, size, 3), relief and cover (size, size), in [0, 1]."""
    full = SUPERSAMPLING * size
    colour, relief = Image.new("RGB", (full, full), "white"), Image.new("L", (full, full))
    cover = Image.new("L", (full, full))
    canvases = [ImageDraw.Draw(image) for image in (colour, relief, cover)]
    for part in parts:
        for paint in part.paints:
            xy = (paint.points * full).ravel().tolist()
            red, green, blue = (255 * paint.colour).astype(int).tolist()
            inks: list[tuple[int, ...]] = [(red, green, blue), (int(255 * part.relief),), (255,)]
            for canvas, ink in zip(canvases, inks, strict=True):
                if paint.width:
                    canvas.line(xy, fill=ink, width=max(1, round(paint.width * full)))
                else:
                    canvas.polygon(xy, fill=ink)
    flat, raised, covered = (
        np.asarray(image.reduce(SUPERSAMPLING), dtype=np.float32) / np.float32(255)
        for image in (colour, relief, cover)
    )
    return flat, raised, covered


def _blur(image: Field, sigma: float) -> Field:
    """Nearly Gaussian, in time that does not grow with sigma."""
    width = max(1, round(sigma * np.sqrt(12 / 2 + 1)))
    for _ in range(2):
        image = ndimage.uniform_filter(image, width, mode="nearest")
    return image


def _lit(height: Field, scale: float) -> Field:
    """How much slopes face the light, about [-1, 1]; ``scale`` pixels rise by the full height."""
    dy, dx = np.gradient(height)
    return (-scale * (LIGHT[0] * dx + LIGHT[1] * dy)).astype(np.float32)


def _coarse(image: Field, smooth: Callable[[Field], Field]) -> Field:
    """Apply a function whose result has no fine detail to a smaller copy of the image."""
    small = Image.fromarray(image).reduce(COARSE)
    result = Image.fromarray(smooth(np.asarray(small)))
    return np.asarray(result.resize(image.shape[::-1], Image.Resampling.BICUBIC))


def _contact_shadow(cover: Field, size: int) -> Field:
    """Soft darkness under the feet, in [0, 1]."""
    lowest = int(np.flatnonzero(cover.any(axis=1)).max(initial=0))
    top, drop = max(0, lowest - round(0.03 * size)), round(0.01 * size)
    feet = np.zeros_like(cover)
    feet[top + drop :] = cover[top : size - drop]
    return _coarse(feet, lambda small: _blur(small, 0.02 * size / COARSE))
