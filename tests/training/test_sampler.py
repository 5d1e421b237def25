"""Batches of instances that share attributes, and folds of a split."""

import dataclasses

import numpy as np
import pytest
import torch

from fgsbir.data import SketchPhotoSet
from fgsbir.data.instance_attributes import expected_difference, instance_attributes
from fgsbir.data.splits import fold
from fgsbir.training.batches import PairBatches
from fgsbir.training.sampler import attribute_batches
from tests.support.training import seen


def labelled(attributes: np.ndarray, **changes) -> SketchPhotoSet:
    count, k = attributes.shape
    lines = np.full((count, 64, 64), 255, np.uint8)
    lines[:, 16:48, 31:33] = 0
    base = SketchPhotoSet(
        name="labelled",
        sketches=lines,
        edges=lines,
        photos=np.zeros((count, 64, 64, 3), np.uint8),
        sketch_labels=np.arange(count),
        photo_labels=np.arange(count),
        sketch_attributes=attributes,
        photo_attributes=attributes,
        attribute_names=tuple(f"a{i}" for i in range(k)),
    )
    return dataclasses.replace(base, **changes)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def mean_within(distance: np.ndarray, batches: list[torch.Tensor]) -> float:
    pairs = [distance[a, b] for batch in batches for a in batch for b in batch if a != b]
    return float(np.mean(pairs))


@pytest.mark.parametrize("unknown", [0.0, 0.3])
def test_batches_hold_what_shares_attributes_and_everything_once(unknown):
    random = np.random.default_rng(0)
    described = random.integers(0, 2, (60, 8)).astype(np.int8)
    described[random.random(described.shape) < unknown] = -1
    distance = expected_difference(described, described)
    batches = attribute_batches(described, 7, generator())
    assert sorted(torch.cat(batches).tolist()) == list(range(60))
    assert {len(batch) for batch in batches} == {8, 9}
    at_random = list(torch.randperm(60, generator=generator()).tensor_split(7))
    assert mean_within(distance, batches) < 0.8 * mean_within(distance, at_random)
    other = attribute_batches(described, 7, generator(1))
    assert {frozenset(b.tolist()) for b in batches} != {frozenset(b.tolist()) for b in other}


def test_twins_meet_and_ties_are_at_random():
    described = np.repeat(np.eye(4, dtype=np.int8), 3, axis=0)
    for seed in range(5):
        for batch in attribute_batches(described, 4, generator(seed)):
            assert len({i // 3 for i in batch.tolist()}) == 1
    same = np.zeros((12, 2), np.int8)
    firsts = {tuple(attribute_batches(same, 4, generator(seed))[0].tolist()) for seed in range(5)}
    assert len(firsts) == 5


def test_expected_difference_by_hand():
    a = np.array([[1, 0, 1, -1], [-1, -1, -1, -1]], np.int8)
    b = np.array([[1, 1, -1, -1], [1, 0, 1, 0]], np.int8)
    expected = [[(0 + 1 + 0.5 + 0.5) / 4, 0.5 / 4], [0.5, 0.5]]
    np.testing.assert_allclose(expected_difference(a, b), expected)


def test_an_instance_is_described_by_its_photo_first():
    photo = np.array([[1, -1], [-1, -1]], np.int8)
    sketch = np.array([[0, 0], [-1, 1]], np.int8)
    data = labelled(photo, sketch_attributes=sketch)
    assert instance_attributes(data, np.array([1, 0])).tolist() == [[-1, 1], [1, 0]]
    alone = labelled(photo, sketch_attributes=None)
    assert instance_attributes(alone, np.arange(2)).tolist() == [[1, -1], [-1, -1]]


def test_sampling_by_attributes_needs_some():
    plain = labelled(
        np.ones((4, 1), np.int8), sketch_attributes=None, photo_attributes=None, attribute_names=()
    )
    unknown = labelled(np.full((4, 2), -1, np.int8))
    for data in (plain, unknown):
        with pytest.raises(ValueError, match="labelled: has no known attributes to sample by"):
            PairBatches(data, seen(32), 2, generator(), "attributes")


def test_an_epoch_by_attributes_shows_every_pair_once():
    described = np.random.default_rng(0).integers(0, 2, (10, 3)).astype(np.int8)
    batches = PairBatches(labelled(described), seen(32), 4, generator(), "attributes")
    shown = torch.cat([batch.photo_attributes for batch in batches])
    assert sorted(map(tuple, shown.tolist())) == sorted(map(tuple, described.tolist()))


def test_folds_are_disjoint_by_instance_and_cover_everything():
    data = labelled(np.zeros((11, 1), np.int8))
    scored = []
    for number in range(3):
        rest, held = fold(data, number, 3, seed=4)
        assert not set(rest.photo_labels) & set(held.photo_labels)
        assert set(rest.sketch_labels) | set(held.sketch_labels) == set(range(11))
        assert f"fold {number + 1} of 3" in held.name
        scored += held.sketch_labels.tolist()
    assert sorted(scored) == list(range(11))
    assert fold(data, 0, 3, seed=5)[1].sketch_labels.tolist() != scored[:4]
    for number, folds, message in [(0, 1, "folds: expected 2 to 5"), (3, 3, "fold: expected 0")]:
        with pytest.raises(ValueError, match=message):
            fold(data, number, folds)
