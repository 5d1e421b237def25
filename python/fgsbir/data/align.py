"""Alignment of several sets to one list of attributes, for one model of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .dataset import SketchPhotoSet


def align_attributes(sets: Sequence[SketchPhotoSet]) -> list[SketchPhotoSet]:
    """The same sets, each with the attributes of all.

    Attributes of one name are one attribute, wherever they occur; those that a set does not have
    are unknown there. A single set stays as it is.
    """
    if len(sets) == 1:
        return list(sets)
    names = tuple(dict.fromkeys(name for one in sets for name in annotated_names(one)))
    return [_widened(one, names) for one in sets]


def annotated_names(data: SketchPhotoSet) -> tuple[str, ...]:
    """The attributes of a set; none where neither its sketches nor its photos are annotated."""
    annotated = data.sketch_attributes is not None or data.photo_attributes is not None
    return data.attribute_names if annotated else ()


def _widened(data: SketchPhotoSet, names: tuple[str, ...]) -> SketchPhotoSet:
    places = [names.index(name) for name in annotated_names(data)]

    def wide(values: NDArray[np.int8] | None, count: int) -> NDArray[np.int8] | None:
        if not names:
            return None
        result = np.full((count, len(names)), -1, dtype=np.int8)
        if values is not None:
            result[:, places] = values
        return result

    return replace(
        data,
        sketch_attributes=wide(data.sketch_attributes, len(data.sketches)),
        photo_attributes=wide(data.photo_attributes, len(data.photos)),
        attribute_names=names,
    )
