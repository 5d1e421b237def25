"""Several categories in one training: data, attributes, batches and scores."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from fgsbir.cli import main
from fgsbir.config import EvalConfig
from fgsbir.data import SketchPhotoSet, align_attributes, open_datasets, synthetic
from fgsbir.evaluation.ranking import rank
from fgsbir.models.checkpoint import DataFacts, load_run
from fgsbir.training.batches import JointBatches, PairBatches
from tests.support.training import seen

TINY = ["--epochs=1", "--size=32", "--width=8", "--embedding-dim=16", "--batch-size=8"]


@pytest.fixture(scope="module")
def both() -> list[SketchPhotoSet]:
    return [synthetic(category, 12, "train", size=32) for category in ("shoes", "chairs")]


def test_attributes_of_all_sets_are_unknown_where_a_set_has_none(both):
    shoes, chairs = align_attributes(both)
    own, theirs = len(both[0].attribute_names), len(both[1].attribute_names)
    assert shoes.attribute_names == chairs.attribute_names
    assert shoes.attribute_names == both[0].attribute_names + both[1].attribute_names
    assert np.array_equal(shoes.photo_attributes[:, :own], both[0].photo_attributes)
    assert (shoes.photo_attributes[:, own:] == -1).all()
    assert np.array_equal(chairs.sketch_attributes[:, own:], both[1].sketch_attributes)
    assert (chairs.sketch_attributes[:, :own] == -1).all()
    assert shoes.photo_attributes.shape == (12, own + theirs)


def test_an_attribute_of_the_same_name_is_one(both):
    renamed = ("shared", *both[1].attribute_names[1:])
    chairs = dataclasses.replace(both[1], attribute_names=renamed)
    shoes = dataclasses.replace(
        both[0], attribute_names=("shared", *both[0].attribute_names[1:]), sketch_attributes=None
    )
    first, second = align_attributes([shoes, chairs])
    assert first.attribute_names.count("shared") == 1
    assert np.array_equal(second.photo_attributes[:, 0], both[1].photo_attributes[:, 0])
    assert (first.sketch_attributes == -1).all()


def test_sets_without_attributes_stay_without(both):
    plain = [
        dataclasses.replace(s, sketch_attributes=None, photo_attributes=None, attribute_names=())
        for s in both
    ]
    assert all(s.photo_attributes is None for s in align_attributes(plain))
    mixed = align_attributes([plain[0], both[1]])
    assert (mixed[0].photo_attributes == -1).all()
    assert mixed[0].attribute_names == both[1].attribute_names


def test_every_batch_is_of_one_category_and_every_instance_is_shown(both):
    shoes, chairs = align_attributes(both)
    generator = torch.Generator().manual_seed(0)
    parts = [PairBatches(s, seen(32), 5, generator) for s in (shoes, chairs)]
    joint = JointBatches(parts, generator)
    known = len(both[0].attribute_names)
    orders = []
    for _ in range(6):
        batches = list(joint.draw(generator))
        assert len(batches) == len(joint) == 6
        of_shoes = [bool((batch.photo_attributes[:, :known] >= 0).all()) for batch in batches]
        of_chairs = [bool((batch.photo_attributes[:, known:] >= 0).all()) for batch in batches]
        assert all(a != b for a, b in zip(of_shoes, of_chairs, strict=True))
        assert sum(len(batch.sketch) for batch in batches) == 24
        orders.append(of_shoes)
    assert any(order != orders[0] for order in orders)


def test_a_joint_model_is_scored_on_each_category_by_its_own_logits(tmp_path, capsys):
    data = ["--data", "synthetic?count=12&size=32", "--category", "shoes+chairs"]
    out = str(tmp_path / "run")
    assert main(["train", *data, "--out", out, "--holdout", "3", *TINY]) == 0
    lines = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert len(json.loads(lines[-1])["held_out"]) == 2
    run = load_run(out)
    assert run.data.category == "shoes+chairs"
    capsys.readouterr()

    # Without a category both are scored.
    assert main(["evaluate", out, *data[:2], "--json", "--attribute-weight", "0.3"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert list(scores) == ["synthetic shoes/test", "synthetic chairs/test"]
    assert main(["evaluate", out, *data[:2], "--category", "chairs", "--json"]) == 0
    alone = json.loads(capsys.readouterr().out)
    chairs = synthetic("chairs", 12, "test", size=32)
    assert list(alone["attributes"]) == list(chairs.attribute_names)

    columns = run.data.columns_of(chairs.attribute_names)
    ranking = rank(run.model, chairs, EvalConfig(attribute_weight=0.3), columns)
    a, b = ranking.sketch.logits.sigmoid(), ranking.photo.logits.sigmoid()
    assert a.shape[1] == len(chairs.attribute_names)
    d = torch.cdist(ranking.sketch.embedding, ranking.photo.embedding).square()
    expected = (d + 0.3 * torch.cdist(a, b).square()).sort(dim=1).values
    torch.testing.assert_close(ranking.distances, expected, atol=1e-5, rtol=1e-4)
    command = ["evaluate", out, *data[:2], "--picture", str(tmp_path / "x.png")]
    assert main(command) == 2
    assert "picture: is of one category" in capsys.readouterr().err


def test_attributes_that_a_model_does_not_know_are_named():
    facts = DataFacts("x", None, ("heel", "lace"))
    assert facts.columns_of(("lace",)) == [1]
    assert facts.columns_of(()) is None
    assert DataFacts("x").columns_of(("lace",)) is None
    with pytest.raises(ValueError, match=r"not trained on: zip; it knows heel, lace"):
        facts.columns_of(("heel", "zip"))


def test_several_categories_open_in_their_order(data_root):
    sets = open_datasets(data_root, "chairs+shoes", "test")
    assert [s.name for s in sets] == ["chairs/test", "shoes/test"]
    with pytest.raises(ValueError, match="names one of them twice"):
        open_datasets(data_root, "shoes+shoes")
    with pytest.raises(ValueError, match="choose a category, got 'boots'"):
        open_datasets(data_root, "shoes+boots")


def test_a_model_of_several_categories_scores_own_pairs(tmp_path):
    from PIL import Image

    for kind in ("photos", "sketches"):
        (tmp_path / kind).mkdir()
        for name in "abcdefghij":
            Image.new("RGB", (40, 40), "white").save(tmp_path / kind / f"{name}.png")
    assert len(open_datasets(tmp_path, split="test", default_category="shoes+chairs")) == 1
    with pytest.raises(ValueError, match="own pairs have no categories"):
        open_datasets(tmp_path, "shoes+chairs")
