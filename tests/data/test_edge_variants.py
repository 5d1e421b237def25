"""Further edge maps of photos, and training on them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from fgsbir.config import AugmentConfig
from fgsbir.data import extract_edges, synthetic
from fgsbir.data.edge_variants import VARIANTS, with_edge_variants
from fgsbir.data.edges import LIKE_PUBLISHED
from fgsbir.models.preprocess import to_ink
from fgsbir.presets import QUICKSTART
from fgsbir.reproduce.rows import VARIANTS as VARIANT_ROWS
from fgsbir.reproduce.rows import override
from fgsbir.training.batches import PairBatches
from fgsbir.training.listed_triplets import TripletBatches
from fgsbir.training.train import train
from tests.support.training import seen

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
    shown = set()
    generator = torch.Generator().manual_seed(0)
    batches = PairBatches(with_edge_variants(data), seen(64, UNCHANGED), 6, generator)
    for _ in range(20):
        for batch in batches:
            shown |= {hash(photo.numpy().tobytes()) for photo in batch.photo}
    # The synthetic set's own edge maps are those of one of the variants.
    assert len(shown) == 6 * len(VARIANTS)

    config = dataclasses.replace(
        QUICKSTART, optim=dataclasses.replace(QUICKSTART.optim, epochs=1, batch_size=6)
    )
    plain = train(data, config, tmp_path / "plain", progress=False)
    varied_config = dataclasses.replace(config, edge_variants=True)
    varied = train(data, varied_config, tmp_path / "varied", progress=False)
    assert plain.data.digest != varied.data.digest


def test_listed_triplets_are_shown_by_any_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "fgsbir.training.training_images.sketches_to_ink", to_ink
    )  # sketches are plain grey
    data = dataclasses.replace(
        synthetic("shoes", 4, "train"), triplets=np.array([[0, 0, 1], [1, 1, 2], [2, 2, 3]])
    )
    copies = 1 + len(VARIANTS)
    grey = [np.full((64, 64), 255 - 10 * i, np.uint8) for i in range(4 * copies)]
    varied = dataclasses.replace(with_edge_variants(data), sketches=grey[:4], edges=grey)
    generator = torch.Generator().manual_seed(0)
    batches = TripletBatches(varied, seen(64, UNCHANGED), 3, generator, copies)
    shown = set()
    for _ in range(30):
        for batch in batches.draw(generator):
            inner = [x[:, 0, 16:48, 16:48].mean((1, 2)) for x in batch.images]
            sketch, positive, negative = ((x * 25.5).round().int() for x in inner)
            assert torch.equal(positive % 4, sketch)
            assert torch.equal(negative % 4, sketch + 1)
            shown |= {*positive.tolist(), *negative.tolist()}
    assert shown == set(range(4 * copies))

    listed = override(QUICKSTART, VARIANT_ROWS["listed-people"].overrides)
    config = override(listed, {"optim.epochs": 1, "optim.batch_size": 3})
    runs = [
        train(data, one, tmp_path / str(i), triplets=data.triplets, progress=False)
        for i, one in enumerate((config, dataclasses.replace(config, edge_variants=True)))
    ]
    assert runs[0].data.digest != runs[1].data.digest
