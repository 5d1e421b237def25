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
    """A photo that was found; see `fgsbir.gallery.Match` for the distances."""

    index: int
    name: str
    photo: str
    distance: float
    embedding_distance: float
    attribute_distance: float | None
    attributes: dict[str, float]
    agree: tuple[str, ...]
    differ: tuple[str, ...]


class SearchAnswer(BaseModel):
    """Matches, nearest first, and what the model takes the sketch for."""

    matches: list[PhotoMatch]
    sketch_attributes: dict[str, float]
    seconds: float
