"""Further edge maps of the same photos, with finer and with coarser lines."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .dataset import SketchPhotoSet
from .edges import LIKE_PUBLISHED, Canny, PhotoEdges
from .images import Chained

VARIANTS = (Canny(1.6, 0.14, 0.34), LIKE_PUBLISHED, Canny(2.8, 0.08, 0.22))
"""Finer lines than the edge maps of the benchmark, lines like theirs, and coarser ones."""


def with_edge_variants(data: SketchPhotoSet) -> SketchPhotoSet:
    """A set with further edge maps of each photo, as photos of the same instance behind its own."""
    copies = 1 + len(VARIANTS)
    attributes = data.photo_attributes
    return replace(
        data,
        edges=Chained([data.edges, *(PhotoEdges(data.photos, canny) for canny in VARIANTS)]),
        photos=Chained([data.photos] * copies),
        photo_labels=np.tile(data.photo_labels, copies),
        photo_attributes=None if attributes is None else np.tile(attributes, (copies, 1)),
    )
