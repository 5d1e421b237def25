"""Further edge maps of the photos of a set, and training on them."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from fgsbir.batches import PairBatches
from fgsbir.config import AugmentConfig
from fgsbir.data import extract_edges, synthetic
from fgsbir.data.edge_variants import VARIANTS, with_edge_variants
from fgsbir.data.edges import LIKE_PUBLISHED
from fgsbir.presets import QUICKSTART
from fgsbir.train import train

UNCHANGED = AugmentConfig(
    rotate=0, scale=0, shear=0, shift=0, elastic=0, cutout=0, thicken=0, flip=0
)


def test_every_photo_gets_all_variants_behind_its_own() -> None:
    data = synthetic("shoes", 4, "train")
    varied = with_edge_variants(data)
    assert len(varied.photos) == len(varied.edges) == 4 * (1 + len(VARIANTS))
    for i, (edges, photo) in enumerate(zip(varied.edges, varied.photos, strict=True)):
        part, own = divmod(i, 4)
        expected = data.edges[own] if part == 0 else extract_edges(photo, VARIANTS[part - 1])
        np.testing.assert_array_equal(photo, data.photos[own])
        np.testing.assert_array_equal(edges, expected)
        assert varied.photo_labels[i] == data.photo_labels[own]
        np.testing.assert_array_equal(varied.photo_attributes[i], data.photo_attributes[own])
    np.testing.assert_array_equal(varied.sketch_labels, data.sketch_labels)


def test_variants_are_different_drawings() -> None:
    assert VARIANTS[1] == LIKE_PUBLISHED
    photo = synthetic("shoes", 1, "train").photos[0]
    assert len({extract_edges(photo, variant).tobytes() for variant in VARIANTS}) == len(VARIANTS)


def test_training_draws_any_of_them(tmp_path) -> None:
    data = synthetic("shoes", 6, "train")
    seen = set()
    generator = torch.Generator().manual_seed(0)
    batches = PairBatches(with_edge_variants(data), 64, 6, UNCHANGED, generator)
    for _ in range(20):
        for batch in batches:
            seen |= {hash(photo.numpy().tobytes()) for photo in batch.photo}
    # The synthetic set's own edge maps are those of one of the variants.
    assert len(seen) == 6 * len(VARIANTS)

    config = dataclasses.replace(
        QUICKSTART, optim=dataclasses.replace(QUICKSTART.optim, epochs=1, batch_size=6)
    )
    plain = train(data, config, tmp_path / "plain", progress=False)
    varied_config = dataclasses.replace(config, edge_variants=True)
    varied = train(data, varied_config, tmp_path / "varied", progress=False)
    assert plain.data.digest != varied.data.digest
