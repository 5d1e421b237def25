"""Attributes of instances, and the share of them in which two instances differ."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .dataset import SketchPhotoSet


def instance_attributes(data: SketchPhotoSet, instances: NDArray[np.int64]) -> NDArray[np.int8]:
    """(I, K) attributes of instances: of the photo, and what is unknown there, of the sketch.

    Of several photos or sketches of an instance the first one that knows an attribute decides.

    Raises:
        ValueError: when no attribute of any of them is known.
    """
    rows = np.full((len(instances), len(data.attribute_names)), -1, dtype=np.int8)
    annotations = (
        (data.photo_labels, data.photo_attributes),
        (data.sketch_labels, data.sketch_attributes),
    )
    for labels, attributes in annotations:
        if attributes is None:
            continue
        for row, instance in zip(rows, instances, strict=True):
            for candidate in attributes[labels == instance]:
                np.copyto(row, candidate, where=row < 0)
    if not (rows >= 0).any():
        raise ValueError(f"{data.name}: has no known attributes to sample by")
    return rows


def expected_difference(a: NDArray[np.int8], b: NDArray[np.int8]) -> NDArray[np.float32]:
    """(N, M) share of attributes in which rows differ, one unknown to either counting as half.

    a (N, K) and b (M, K) hold 1 yes, 0 no, -1 unknown. Unlike h of :mod:`fgsbir_ext`, for which the
    unknown never differs, this does not make a row without annotation the nearest of all.
    """
    x, y = (np.choose(rows + 1, (0, -1, 1)).astype(np.float32) for rows in (a, b))
    difference: NDArray[np.float32] = (1 - x @ y.T / x.shape[1]) / 2
    return difference
