"""Leaks: no scored image, nor a near duplicate of one, is in any training data."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fgsbir.data import add_shoe_sketches, load_sbir
from fgsbir.data.classified_images import open_classes

pytestmark = pytest.mark.slow

SIDE = 32
CATEGORIES = ("shoes", "chairs")


@pytest.fixture(scope="module")
def qmul(data_root: Path) -> Path:
    return data_root / "sbir_cvpr2016"


def thumbnails(images: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """(n, SIDE^2) means of blocks, of mean 0 and length 1: their products are correlations."""
    rows = []
    for image in images:
        grey = np.asarray(image, np.float32)
        grey = grey.mean(2) if grey.ndim == 3 else grey
        block = len(grey) // SIDE
        rows.append(grey.reshape(SIDE, block, SIDE, block).mean((1, 3)).ravel())
    centred = np.stack(rows) - np.mean(rows, axis=1, keepdims=True)
    return centred / np.linalg.norm(centred, axis=1, keepdims=True)


def closest(learnt: Iterable[NDArray[np.uint8]], scored: Iterable[NDArray[np.uint8]]) -> float:
    return float((thumbnails(learnt) @ thumbnails(scored).T).max())


@pytest.mark.parametrize("category", CATEGORIES)
@pytest.mark.parametrize(("kind", "limit"), [("photos", 0.99), ("edges", 0.9), ("sketches", 0.7)])
def test_training_pairs(qmul: Path, category: str, kind: str, limit: float) -> None:
    scored = getattr(load_sbir(qmul, category, "test"), kind)
    learnt = [image for c in CATEGORIES for image in getattr(load_sbir(qmul, c, "train"), kind)]
    assert closest(learnt, scored) < limit


def test_the_leaked_photo_would_be_found(qmul: Path) -> None:
    everything = load_sbir(qmul, "chairs", "train", keep_leaked=True)
    assert closest(everything.photos, load_sbir(qmul, "chairs", "test").photos) > 0.999


def test_further_sketches_and_those_of_pretraining(qmul: Path, data_root: Path) -> None:
    scored = [image for c in CATEGORIES for image in load_sbir(qmul, c, "test").sketches]
    further = add_shoe_sketches(
        load_sbir(qmul, "shoes", "train"), data_root / "extra_shoe_sketches"
    )
    assert closest(further.sketches, scored) < 0.7
    pretraining = open_classes(data_root / "tu_berlin_224_bits.npz")
    assert closest(pretraining.images, scored) < 0.7
