"""Loader of the QMUL benchmark, each of its known faults, and the type that all loaders give."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat

from fgsbir.config import ExtraData
from fgsbir.data import (
    SketchPhotoSet,
    add_shoe_sketches,
    load_sbir,
    loaders,
    majority,
    open_dataset,
    open_datasets,
    with_extra,
)
from fgsbir.data.layout import Layout
from fgsbir.data.sbir import ATTRIBUTE_NAMES
from fgsbir.data.splits import fold

COUNTS = {
    ("shoes", "train"): 304,
    ("shoes", "test"): 115,
    ("chairs", "train"): 199,
    ("chairs", "test"): 97,
}


@pytest.fixture(scope="module")
def qmul(data_root: Path) -> Path:
    return data_root / "sbir_cvpr2016"


@pytest.mark.parametrize(("category", "split"), COUNTS)
def test_splits_have_their_published_size_and_form(qmul: Path, category: str, split: str) -> None:
    data = load_sbir(qmul, category, split)
    n = COUNTS[category, split]
    assert data.name == f"{category}/{split}"
    assert (len(data.sketches), len(data.edges), len(data.photos)) == (n, n, n)
    assert data.sketches[n - 1].shape == data.edges[n - 1].shape == (256, 256)
    assert data.photos[n - 1].shape == (256, 256, 3)
    assert data.sketches[0].dtype == data.edges[0].dtype == data.photos[0].dtype == np.uint8
    assert np.array_equal(data.sketch_labels, data.photo_labels)
    assert data.attribute_names == ATTRIBUTE_NAMES[category]
    assert set(np.unique(data.photo_attributes)) == {0, 1}
    per_sketch = np.bincount(data.triplets[:, 0], minlength=n)
    if split == "test":
        assert np.all(per_sketch == 45)


def test_photo_sketch_and_edges_of_an_index_belong_together(qmul: Path) -> None:
    data = load_sbir(qmul, "shoes", "test")
    published = loadmat(qmul / "shoes" / "shoes_sketch_db_test.mat")["data"]
    for i in (0, 57, 114):
        assert np.array_equal(data.sketches[i], published[i])
        inked = data.edges[i] < 128
        # Edges lie where the photo is not blank: on the product and its rim.
        near_white = data.photos[i].min(axis=-1) > 250
        assert np.mean(near_white[inked]) < 0.5 < np.mean(near_white)


def test_triplets_are_rows_of_sketch_nearer_farther(qmul: Path) -> None:
    raw = json.loads((qmul / "chairs/annotation/chairs_annotation.json").read_text("utf-8"))
    data = load_sbir(qmul, "chairs", "test")
    i = 31
    rows = data.triplets[data.triplets[:, 0] == i]
    assert rows[:, 1:].tolist() == raw["test"]["triplets"][i]


def test_shuffled_sketch_attributes_of_test_shoes_are_unknown(qmul: Path) -> None:
    assert np.all(load_sbir(qmul, "shoes", "test").sketch_attributes == -1)
    for category, split in (("shoes", "train"), ("chairs", "train"), ("chairs", "test")):
        data = load_sbir(qmul, category, split)
        # The fault itself: where rows are in order, sketches and photos agree far above chance.
        assert np.mean(data.sketch_attributes == data.photo_attributes) > 0.85


def test_edge_maps_have_no_grey_border(qmul: Path) -> None:
    assert loadmat(qmul / "shoes/shoes_edge_db_test.mat")["data"][:, 0].max() < 255  # the fault
    for category, split in COUNTS:
        edges = load_sbir(qmul, category, split).edges
        for rim in (edges[:, :2], edges[:, -2:], edges[:, :, :2], edges[:, :, -2:]):
            assert np.all(rim == 255)


def test_the_test_photo_that_is_also_a_train_photo_is_left_out_of_training(qmul: Path) -> None:
    everything = load_sbir(qmul, "chairs", "train", keep_leaked=True)
    test = load_sbir(qmul, "chairs", "test")
    leaked = test.photos[int(np.flatnonzero(test.photo_labels == 263)[0])]
    assert np.array_equal(everything.photos[12], leaked)  # the fault
    train = load_sbir(qmul, "chairs", "train")
    assert 13 not in train.photo_labels
    assert 13 not in train.sketch_labels
    assert not any(np.array_equal(photo, leaked) for photo in train.photos)
    # Indices after the gap moved down by one, in the triplets too.
    assert train.triplets.max() == 198
    kept = everything.triplets[~np.any(everything.triplets == 12, axis=1)]
    assert np.array_equal(train.triplets, kept - (kept > 12))


def test_votes_are_raw_or_settled_by_majority(qmul: Path) -> None:
    raw = load_sbir(qmul, "shoes", "train").triplets
    assert len(raw) == 304 * 135
    swapped = {tuple(row) for row in raw[:, [0, 2, 1]].tolist()}
    assert any(tuple(row) in swapped for row in raw.tolist())  # the fault
    settled = load_sbir(qmul, "shoes", "train", votes="majority").triplets
    assert len(settled) == 304 * 45
    assert not {tuple(row) for row in settled[:, [0, 2, 1]].tolist()} & {
        tuple(row) for row in settled.tolist()
    }


def test_majority_counts_votes_and_drops_ties() -> None:
    votes = np.array([(0, 5, 2), (0, 5, 2), (0, 2, 5), (1, 3, 4), (1, 4, 3), (1, 0, 9)])
    assert majority(votes).tolist() == [[0, 5, 2], [1, 0, 9]]
    assert majority(np.empty((0, 3), dtype=np.int64)).shape == (0, 3)


def test_extra_sketches_follow_without_the_misdrawn_ones(qmul: Path, data_root: Path) -> None:
    folder = data_root / "extra_shoe_sketches"
    data = add_shoe_sketches(load_sbir(qmul, "shoes", "train"), folder)
    extra = data.sketch_labels[304:]
    assert len(extra) == 3 * 301
    assert not np.isin([111, 273, 290], extra).any()
    assert len(data.photos) == 304
    assert data.sketches[len(data.sketches) - 1].shape == (256, 256)
    last = data.sketch_attributes[-1]
    assert np.array_equal(last, data.photo_attributes[data.photo_labels == extra[-1]][0])
    assert np.array_equal(data.sketches[303], load_sbir(qmul, "shoes", "train").sketches[303])


def test_extra_sketches_are_of_the_photos_that_are_trained_on(qmul: Path, data_root: Path) -> None:
    extra = ExtraData(extra_sketches=data_root / "extra_shoe_sketches")
    sets = [load_sbir(qmul, category, "train") for category in ("shoes", "chairs")]
    rest, _ = fold(sets[0], 0, 3)
    shoes, chairs = with_extra([rest, sets[1]], extra)
    assert set(shoes.sketch_labels) == set(rest.photo_labels)
    assert len(shoes.sketches) > 3.9 * len(rest.sketches)
    assert chairs is sets[1]
    with pytest.raises(ValueError, match=r"are of the benchmark's train shoes, got chairs/train"):
        with_extra([sets[1]], extra)
    with pytest.raises(ValueError, match=r"are of the benchmark's train shoes, got shoes/test"):
        with_extra([load_sbir(qmul, "shoes", "test")], extra)


def test_open_dataset_finds_the_benchmark(data_root: Path) -> None:
    qmul = data_root / "sbir_cvpr2016"
    for path in (data_root, qmul, str(qmul)):
        assert open_dataset(path, "chairs", "test").name == "chairs/test"
    assert open_dataset(qmul / "shoes", split="test").name == "shoes/test"
    with pytest.raises(ValueError, match=r"choose a category, got None"):
        open_dataset(data_root)
    with pytest.raises(ValueError, match="category is 'chairs'"):
        open_dataset(qmul / "shoes", "chairs")


def test_bad_arguments_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="category must be one of"):
        load_sbir(tmp_path, "hats")
    with pytest.raises(ValueError, match="split must be"):
        load_sbir(tmp_path, "shoes", "validation")
    with pytest.raises(ValueError, match="votes must be"):
        load_sbir(tmp_path, "shoes", votes="median")  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError, match=r"sketch_label\.mat"):
        load_sbir(tmp_path, "shoes")


def test_open_dataset_says_what_it_looked_for(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        open_dataset(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"photos/ and sketches/.*shoes/train/images") as error:
        open_dataset(tmp_path)
    assert all(layout.described in str(error.value) for layout in loaders.LAYOUTS)
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ValueError, match=r"expected a \.csv file"):
        open_dataset(tmp_path / "notes.txt")


def test_a_layout_in_the_list_is_opened_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(path: str | Path, category: str | None, split: str) -> SketchPhotoSet:
        return replace(small_set(), name=f"{category}/{split}")

    layout = Layout("a .set file", lambda p: Path(p).suffix == ".set", load, lambda p: True)
    monkeypatch.setattr(loaders, "LAYOUTS", (*loaders.LAYOUTS, layout))
    sets = open_datasets(tmp_path / "x.set", split="test", default_category="boots+hats")
    assert [one.name for one in sets] == ["boots/test", "hats/test"]
    assert open_dataset(tmp_path / "x.set", "boots").name == "boots/train"
    with pytest.raises(ValueError, match=r"or a \.set file"):
        open_dataset(tmp_path)


def small_set() -> SketchPhotoSet:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (4, 8, 8), dtype=np.uint8)
    return SketchPhotoSet(
        "small",
        sketches=images,
        edges=images[:3],
        photos=list(rng.integers(0, 255, (3, 8, 8, 3), dtype=np.uint8)),
        sketch_labels=np.array([7, 8, 8, 9]),
        photo_labels=np.array([7, 8, 9]),
        photo_attributes=np.array([[1], [0], [-1]], dtype=np.int8),
        attribute_names=("striped",),
        triplets=np.array([(0, 1, 2), (3, 0, 2), (3, 2, 1)]),
    )


def test_take_renumbers_triplets_and_drops_those_of_what_is_left_out() -> None:
    data = small_set()
    part = data.take([3, 0], [False, True, True])
    assert part.sketch_labels.tolist() == [9, 7]
    assert part.photo_labels.tolist() == [8, 9]
    assert part.triplets.tolist() == [[1, 0, 1], [0, 1, 0]]
    assert np.array_equal(part.sketches[0], data.sketches[3])
    assert [np.array_equal(a, b) for a, b in zip(part.photos, data.photos[1:], strict=True)] == [
        True,
        True,
    ]
    assert part.photo_attributes.tolist() == [[0], [-1]]
    assert part.sketch_attributes is None
    assert repr(part) == "<small: 2 sketches, 2 photos, 1 attributes, 2 triplets>"


def test_fields_of_disagreeing_length_are_refused() -> None:
    data = small_set()
    with pytest.raises(ValueError, match=r"photo_labels has shape \(2,\), expected \(3,\)"):
        SketchPhotoSet(
            "bad",
            data.sketches,
            data.edges,
            data.photos,
            data.sketch_labels,
            data.photo_labels[:2],
        )
