"""Rendering of a product photo: coloured parts under soft light on a white ground."""

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
LIGHT = (-0.55, -0.83)  # from the upper left


def render_photo(parts: Sequence[Part], size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Paint parts as a photo.

    Args:
        parts: From back to front, in the unit square.
        size: Side of the picture in pixels.
        rng: Draws the material's grain and the strength of light and shadow.

    Returns:
        (size, size, 3) uint8.
    """
    picture, relief, cover = _flat(parts, size)
    # As Python floats: NumPy's own would turn every picture into float64.
    rounded, raised, gloss, grain = rng.random(4).tolist()
    coarse = size / COARSE
    light = _coarse(cover, lambda small: _lit(_blur(small, 0.045 * coarse), 0.035 * coarse))
    light *= 1.1 + 0.7 * rounded
    light += (0.5 + 0.5 * raised) * _lit(_blur(relief, 0.007 * size), 0.01 * size)
    light += 1
    light *= 0.3 + 0.7 * _blur(cover, 0.012 * size)  # surfaces turn away at the silhouette
    noise = rng.standard_normal((size, size), dtype=np.float32)
    light += (0.04 + 0.08 * grain) * _blur(noise, 0.004 * size)
    bright = np.clip(light - 1.1, 0, None)
    ground = (1 - 0.25 * _contact_shadow(cover, size)) * (1 - cover)
    light -= 0.6 * bright
    picture *= light
    picture += (0.1 + 0.5 * gloss) * bright
    np.clip(picture, 0, 1, out=picture)
    picture *= cover
    picture += ground
    np.clip(picture, 0, 1, out=picture)
    return (255 * picture + 0.5).astype(np.uint8).transpose(1, 2, 0)


def _flat(parts: Sequence[Part], size: int) -> tuple[Field, Field, Field]:
    """Colour without light (3, size, size), relief and cover (size, size), in [0, 1]."""
    full = SUPERSAMPLING * size
    image = Image.new("RGBA", (full, full), (255, 255, 255, 0))  # alpha holds the relief
    canvas = ImageDraw.Draw(image)
    for part in parts:
        height = max(1, int(255 * part.relief))
        for paint in part.paints:
            red, green, blue = (255 * paint.colour).astype(int).tolist()
            xy = (paint.points * full).ravel().tolist()
            if paint.width:
                width = max(1, round(paint.width * full))
                canvas.line(xy, fill=(red, green, blue, height), width=width)
            else:
                canvas.polygon(xy, fill=(red, green, blue, height))
    alpha = image.getchannel("A")
    covered = alpha.point([0] + 255 * [255])
    layers = (*image.convert("RGB").split(), alpha, covered)
    fields = np.stack([np.asarray(layer.reduce(SUPERSAMPLING)) for layer in layers])
    fields = fields.astype(np.float32) / np.float32(255)
    return fields[:3], fields[3], fields[4]


def _blur(image: Field, sigma: float) -> Field:
    """Nearly Gaussian, in time that does not grow with sigma."""
    width = max(1, round(sigma * np.sqrt(12 / 2 + 1)))
    for _ in range(2):
        image = ndimage.uniform_filter(image, width, mode="nearest")
    return image


def _lit(height: Field, scale: float) -> Field:
    """How much slopes face the light, about [-1, 1]; ``scale`` pixels rise by the full height."""
    dy, dx = np.gradient(height)
    return -scale * (LIGHT[0] * dx + LIGHT[1] * dy)


def _coarse(image: Field, smooth: Callable[[Field], Field]) -> Field:
    """Apply a function whose result has no fine detail to a smaller copy of the image."""
    small = Image.fromarray(image).reduce(COARSE)
    result = Image.fromarray(smooth(np.asarray(small)))
    return np.array(result.resize(image.shape[::-1], Image.Resampling.BICUBIC))


def _contact_shadow(cover: Field, size: int) -> Field:
    """Soft darkness under the feet, in [0, 1]."""
    lowest = int(np.flatnonzero(cover.any(axis=1)).max(initial=0))
    top, drop = max(0, lowest - round(0.03 * size)), round(0.01 * size)
    feet = np.zeros_like(cover)
    feet[top + drop :] = cover[top : size - drop]
    return _coarse(feet, lambda small: _blur(small, 0.02 * size / COARSE))
