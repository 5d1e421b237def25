"""JSON schemas of the responses."""

from __future__ import annotations

from pydantic import BaseModel


class GalleryInfo(BaseModel):
    """What the page needs to know before the first stroke."""

    name: str
    photos: int
    attributes: tuple[str, ...]
    attribute_weight: float


class PhotoMatch(BaseModel):
    """A photo that was found; see `fgsbir.gallery.Match` for the distances.

    `copies` is how many other files the same photo is in.
    """

    index: int
    name: str
    copies: int
    photo: str
    distance: float
    embedding_distance: float
    attribute_distance: float | None
    attributes: dict[str, float]
    agree: tuple[str, ...]
    differ: tuple[str, ...]


class SketchSeen(BaseModel):
    """What the model sees of a sketch; see `fgsbir.sketches.SketchReading`.

    `image` is a PNG file in base 64, None where the sketch was drawn as the model sees it.
    """

    changes: tuple[str, ...]
    image: str | None


class SearchAnswer(BaseModel):
    """Matches, nearest first, how the sketch was read and what the model takes it for."""

    matches: list[PhotoMatch]
    sketch: SketchSeen
    sketch_attributes: dict[str, float]
    seconds: float
