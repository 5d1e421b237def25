"""Synthetic set: the same bytes from the same seed, true attributes, and hard enough."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from scipy import ndimage

from fgsbir.data import SketchPhotoSet, load_synthetic, open_dataset, synthetic
from fgsbir.data.procedural import chairs, shoes
from fgsbir.data.procedural.design import FAMILY, Design, Read, misremembered, random_numbers
from fgsbir.data.procedural.geometry import along, curve, fitted, points
from fgsbir.data.procedural.solids import View, points3

CATEGORIES = ["shoes", "chairs"]


def digest(data: SketchPhotoSet) -> str:
    arrays = [data.sketches, data.edges, data.photos, data.sketch_attributes]
    arrays += [] if data.triplets is None else [data.triplets]
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()


@pytest.fixture(scope="module", params=CATEGORIES)
def test_split(request: pytest.FixtureRequest) -> SketchPhotoSet:
    return synthetic(request.param, 40, "test", seed=1, size=128)


@pytest.mark.parametrize("category", CATEGORIES)
def test_the_same_seed_gives_the_same_bytes_in_another_process(category: str) -> None:
    code = (
        "from tests.data.test_synthetic import digest, synthetic;"
        f"print(digest(synthetic({category!r}, 6, 'test', seed=3, size=96)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == digest(synthetic(category, 6, "test", seed=3, size=96))


def test_an_instance_does_not_depend_on_the_count() -> None:
    few, many = (synthetic("chairs", count, seed=5, size=64) for count in (3, 9))
    assert np.array_equal(few.photos, many.photos[:3])
    assert np.array_equal(few.sketches, many.sketches[:3])
    assert np.array_equal(few.photo_attributes, many.photo_attributes[:3])


def test_seed_split_and_category_change_every_instance() -> None:
    base = synthetic("shoes", 8, seed=0, size=64)
    for other in (
        synthetic("shoes", 8, seed=1, size=64),
        synthetic("shoes", 8, "test", seed=0, size=64),
        synthetic("chairs", 8, seed=0, size=64),
    ):
        for photo in base.photos:
            assert not any(np.array_equal(photo, p) for p in other.photos)


def test_form(test_split: SketchPhotoSet) -> None:
    n, k = 40, len(test_split.attribute_names)
    assert test_split.sketches.shape == test_split.edges.shape == (n, 128, 128)
    assert test_split.photos.shape == (n, 128, 128, 3)
    assert test_split.photos.dtype == test_split.sketches.dtype == np.uint8
    assert test_split.photo_attributes.shape == (n, k)
    assert set(np.unique(test_split.photo_attributes)) == {0, 1}
    assert np.array_equal(test_split.sketch_labels, np.arange(n))
    assert 12 <= k <= 20


def test_pictures_look_like_products_edges_and_sketches(test_split: SketchPhotoSet) -> None:
    for photo, edges, sketch in zip(
        test_split.photos, test_split.edges, test_split.sketches, strict=True
    ):
        assert np.mean(photo[:2] >= 250) == 1.0  # the ground is white
        assert 0.05 < np.mean(photo.min(axis=-1) < 240) < 0.7
        assert 0.004 < np.mean(edges < 160) < 0.12
        assert 0.008 < np.mean(sketch < 128) < 0.15
        assert sketch.max() == 255


def test_siblings_share_all_attributes(test_split: SketchPhotoSet) -> None:
    attributes = test_split.photo_attributes
    families = attributes.reshape(-1, FAMILY, attributes.shape[1])
    assert np.all(families == families[:, :1])
    # Attributes matter: most families differ in them.
    assert len(np.unique(families[:, 0], axis=0)) > len(families) // 2


def test_siblings_differ_in_their_pictures(test_split: SketchPhotoSet) -> None:
    photos = test_split.photos.astype(np.float64)
    for i in range(0, len(photos), FAMILY):
        for j in range(i + 1, i + FAMILY):
            assert np.abs(photos[i] - photos[j]).mean() > 1.0


def test_every_attribute_occurs_with_both_values() -> None:
    for module, design in ((shoes, shoes.design_shoe), (chairs, chairs.design_chair)):
        rng = np.random.default_rng(0)
        designs = [design(rng, rng) for _ in range(300)]
        for name, holds in module.ATTRIBUTES.items():
            share = np.mean([holds(d) for d in designs])
            assert 0.02 < share < 0.95, name


def test_every_number_is_drawn_with_and_every_design_can_be_drawn() -> None:
    for module, design, draw in (
        (shoes, shoes.design_shoe, shoes.draw_shoe),
        (chairs, chairs.design_chair, chairs.draw_chair),
    ):
        asked: set[str] = set()
        for i in range(150):
            rng = np.random.default_rng(i)
            made = design(rng, rng)
            extreme = {name: float(rng.choice([0.0, 1.0])) for name in made.numbers}
            for numbers in (made.numbers, extreme):
                read = Read(numbers)
                parts = fitted(draw(Design(made.choices, read)))
                asked |= read.names
                everything = np.concatenate([p.points for part in parts for p in part.paints])
                assert np.all((everything >= 0.049) & (everything <= 0.951))
                assert all(np.isfinite(s).all() for part in parts for s in part.strokes)
        assert asked == {*module.SHARED, *module.OWN}


def blurred(images: np.ndarray) -> np.ndarray:
    ink = np.stack([ndimage.gaussian_filter(255.0 - image, 4)[::4, ::4] for image in images])
    flat = np.sqrt(ink).reshape(len(ink), -1)
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)


def test_a_sketch_resembles_its_photo_but_outlines_alone_do_not_suffice(
    test_split: SketchPhotoSet,
) -> None:
    distance = -blurred(test_split.sketches) @ blurred(test_split.edges).T
    rank = (distance < np.diag(distance)[:, None]).sum(axis=1)
    assert np.mean(rank < 10) > 0.6  # chance is 0.25
    assert np.mean(rank == 0) < 0.8
    sketch, nearer, farther = test_split.triplets.T
    agreed = np.mean(distance[sketch, nearer] < distance[sketch, farther])
    assert 0.55 < agreed < 0.95


def test_triplets_compare_ten_photos_a_sketch_by_true_parameters(
    test_split: SketchPhotoSet,
) -> None:
    sketch, nearer, farther = test_split.triplets.T
    assert np.bincount(sketch).tolist() == [45] * 40
    assert np.all(nearer != farther)
    assert not np.any(farther == sketch)
    mine = nearer == sketch
    assert np.bincount(sketch[mine]).tolist() == [9] * 40  # its own photo beats all the others
    # A sibling shares all attributes, so it mostly beats a stranger.
    kin = sketch // FAMILY
    mixed = (nearer // FAMILY == kin) != (farther // FAMILY == kin)
    assert np.mean((nearer // FAMILY == kin)[mixed]) > 0.9
    assert synthetic("shoes", 4, "train", size=32).triplets is None


def test_names_of_synthetic_sets() -> None:
    data = open_dataset("synthetic:chairs?seed=2&count=3&size=48")
    assert data.name == "synthetic chairs/train"
    assert digest(data) == digest(synthetic("chairs", 3, "train", seed=2, size=48))
    named = load_synthetic("synthetic?count=2&size=40", "chairs", "test")
    assert digest(named) == digest(synthetic("chairs", 2, "test", size=40))
    for name, message in {
        "synthetic:hats": "category must be one of",
        "synthetic?colour=3": "got colour=3",
        "synthetic?seed=-1": "got seed=-1",
        "synthetic?count=0": "count must be at least 1, got 0",
        "synthetic?size=8": "size must be at least 32, got 8",
    }.items():
        with pytest.raises(ValueError, match=message):
            open_dataset(name)
    with pytest.raises(ValueError, match="asks for shoes, but category is 'chairs'"):
        open_dataset("synthetic:shoes", "chairs")
    with pytest.raises(ValueError, match="split must be one of"):
        synthetic(split="val")
    with pytest.raises(ValueError, match="seed must be at least 0"):
        synthetic(seed=-1)


def test_numbers_stay_in_range_and_siblings_are_near() -> None:
    rng = np.random.default_rng
    drawn = [random_numbers(("a", "b"), ("c",), rng(4), rng(i)) for i in range(200)]
    values = np.array([list(d.values()) for d in drawn])
    assert list(drawn[0]) == ["a", "b", "c"]
    assert values.min() >= 0
    assert values.max() <= 1
    assert values[:, 0].std() < 0.2 < values[:, 2].std()
    recalled = misremembered(Design({"x": "y"}, drawn[0]), rng(0))
    assert recalled.choices == {"x": "y"}
    assert 0 < max(abs(recalled.numbers[k] - drawn[0][k]) for k in drawn[0]) < 0.5


def test_curves_pass_through_their_points() -> None:
    through = points([(0, 0), (1, 2), (3, 1), (4, 4)])
    smooth = curve(through, steps=8)
    assert np.allclose(smooth[[0, 8, 16, 24]], through)
    assert len(curve(through, closed=True, steps=8)) == 32
    assert np.allclose(along(points([(0, 0), (0, 2), (2, 2)]), [0.25, 0.75]), [(0, 1), (1, 2)])


def test_a_box_seen_from_above_shows_three_faces_whichever_way_it_is_given() -> None:
    view = View(yaw=0.5, pitch=0.4)
    base = points3([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)])
    for given in (base, base[::-1]):
        part = view.prism(given, (0, 0, 1), np.ones(3))
        assert len(part.paints) == 3
        edges = sum(len(stroke) - 1 for stroke in part.strokes)
        assert edges == 9
        brightest = max(part.paints, key=lambda paint: paint.colour[0])
        assert brightest.points[:, 1].mean() > max(
            p.points[:, 1].mean() for p in part.paints if p is not brightest
        )  # the top catches the light
