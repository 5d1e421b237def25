"""Division of a training split by instance: held-out parts and folds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .dataset import SketchPhotoSet


def hold_out(data: SketchPhotoSet, count: int, seed: int) -> tuple[SketchPhotoSet, SketchPhotoSet]:
    """Splits a set by instance into one to train on and one of `count` instances to score.

    Raises:
        ValueError: when fewer than two instances would be left to train on.
    """
    labels = _instances(data)
    if not 0 < count <= len(labels) - 2:
        raise ValueError(
            f"holdout: expected 1 to {len(labels) - 2} of the {len(labels)} instances of "
            f"{data.name}, got {count}"
        )
    held = np.random.default_rng(seed).permutation(labels)[:count]
    rest, gallery = _split(data, held)
    return (
        replace(rest, name=f"{data.name} without {count} held out"),
        replace(gallery, name=f"{data.name}, {count} held out"),
    )


def fold(
    data: SketchPhotoSet, number: int, folds: int, seed: int = 0
) -> tuple[SketchPhotoSet, SketchPhotoSet]:
    """One fold of a cross-validation: a set to train on, and one to score.

    The instances are dealt at random into folds whose sizes differ by one at most; each instance
    is scored in exactly one fold.

    Args:
        data: the training split.
        number: which fold, from 0.
        folds: how many there are.
        seed: of the dealing; the same for all folds that belong together.

    Raises:
        ValueError: for fewer than two folds, or so many that one would be empty, or a number
            outside them.
    """
    labels = _instances(data)
    if not 2 <= folds <= len(labels) // 2:
        raise ValueError(
            f"folds: expected 2 to {len(labels) // 2} for the {len(labels)} instances of "
            f"{data.name}, got {folds}"
        )
    if not 0 <= number < folds:
        raise ValueError(f"fold: expected 0 to {folds - 1}, got {number}")
    held = np.array_split(np.random.default_rng(seed).permutation(labels), folds)[number]
    rest, gallery = _split(data, held)
    which = f"fold {number + 1} of {folds}"
    return (
        replace(rest, name=f"{data.name} without {which}"),
        replace(gallery, name=f"{data.name}, {which}"),
    )


def _instances(data: SketchPhotoSet) -> NDArray[np.int64]:
    return np.unique(np.concatenate([data.sketch_labels, data.photo_labels]))


def _split(data: SketchPhotoSet, held: NDArray[np.int64]) -> tuple[SketchPhotoSet, SketchPhotoSet]:
    """The set without some instances, and the set of them."""
    sketches, photos = np.isin(data.sketch_labels, held), np.isin(data.photo_labels, held)
    return data.take(~sketches, ~photos), data.take(sketches, photos)
