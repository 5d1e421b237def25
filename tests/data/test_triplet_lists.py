"""Lists of triplets: made, written, read, trained on."""

import dataclasses
import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

import fgsbir_ext as fx
from fgsbir.cli import main
from fgsbir.config import LossConfig
from fgsbir.data import synthetic
from fgsbir.data.dataset import SketchPhotoSet
from fgsbir.data.instance_attributes import expected_difference
from fgsbir.data.triplet_lists import (
    attribute_triplets,
    human_triplets,
    random_triplets,
    read_triplets,
    write_triplets,
)
from fgsbir.models import Output
from fgsbir.training.listed_triplets import ListedObjective, TripletBatch, TripletBatches
from fgsbir_ext.types import Metric
from tests.support.cases import both
from tests.support.training import seen


@pytest.fixture(scope="module")
def shoes() -> SketchPhotoSet:
    return synthetic("shoes", 24, "train", size=32)


@pytest.mark.parametrize("ratio", [0.0, 0.25, 1.0])
def test_negatives_are_hard_in_the_given_part(shoes, ratio):
    rows = attribute_triplets(shoes, negatives=4, hard_ratio=ratio, hard_share=0.3)
    assert rows.shape == (24 * 4, 3)
    assert np.array_equal(rows[:, 0], rows[:, 1])  # instance i is sketch i and photo i
    assert (rows[:, 2] != rows[:, 1]).all()
    difference = expected_difference(shoes.photo_attributes, shoes.photo_attributes)
    border = round(0.3 * 23)
    for sketch in range(24):
        chosen = rows[rows[:, 0] == sketch, 2]
        assert len(set(chosen)) == 4
        others = np.delete(np.arange(24), sketch)
        limit = np.sort(difference[sketch, others])[[border - 1, border]]
        hard = round(ratio * 4)
        # An attribute distance at the border may be on either side of it.
        assert (difference[sketch, chosen] <= limit[0]).sum() >= hard
        assert (difference[sketch, chosen] >= limit[1]).sum() >= 4 - hard


def test_lists_are_the_same_for_a_seed_and_give_out_with_the_photos(shoes):
    assert np.array_equal(attribute_triplets(shoes), attribute_triplets(shoes))
    assert not np.array_equal(attribute_triplets(shoes), attribute_triplets(shoes, seed=1))
    for rows in (attribute_triplets(shoes, negatives=99), random_triplets(shoes, negatives=99)):
        assert len(np.unique(rows, axis=0)) == len(rows) == 24 * 23


def test_instances_with_several_images_and_without_a_photo():
    small = synthetic("shoes", 6, "train", size=32)
    data = dataclasses.replace(
        small,
        sketches=[*small.sketches, small.sketches[2]],
        sketch_labels=np.append(small.sketch_labels, 2),
        sketch_attributes=None,
    ).take(np.arange(7), [0, 2, 3, 4, 5])
    for rows in (random_triplets(data), attribute_triplets(data)):
        assert set(rows[:, 0]) == {0, 2, 3, 4, 5, 6}
        assert (data.photo_labels[rows[:, 1]] == data.sketch_labels[rows[:, 0]]).all()
        assert (data.photo_labels[rows[:, 2]] != data.sketch_labels[rows[:, 0]]).all()
    with pytest.raises(ValueError, match="both a photo of its own and another"):
        random_triplets(data.take([1], [0, 1]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"negatives": 0}, "negatives: expected 1 or more, got 0"),
        ({"hard_ratio": 1.5}, "hard_ratio: expected a share up to 1, got 1.5"),
        ({"hard_share": 0.0}, "hard_share: expected a share up to 1, got 0.0"),
    ],
)
def test_wrong_options_are_refused(shoes, options, message):
    with pytest.raises(ValueError, match=message):
        attribute_triplets(shoes, **options)


def test_triplets_of_people_need_people(shoes):
    with pytest.raises(ValueError, match="has no triplets judged by people"):
        human_triplets(shoes)
    votes = np.array([[0, 1, 2], [0, 1, 2], [0, 2, 1]])
    judged = dataclasses.replace(shoes, triplets=votes)
    assert np.array_equal(human_triplets(judged), votes)
    assert human_triplets(judged, votes="majority").tolist() == [[0, 1, 2]]


def test_a_list_survives_its_file(shoes, tmp_path):
    rows = attribute_triplets(shoes, negatives=3)
    write_triplets(tmp_path / "new" / "list.csv", rows)
    text = (tmp_path / "new" / "list.csv").read_text()
    assert text.startswith("sketch,positive,negative\n0,0,")
    read = read_triplets(tmp_path / "new" / "list.csv", shoes)
    assert read.dtype == np.int64
    assert np.array_equal(read, rows)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sketch,positive\n0,1\n", r":1: no column 'negative'"),
        ("sketch,positive,negative,why\n0,1,2,x\n", r":1: unknown column 'why'"),
        ("sketch,positive,negative\n0,1,2\n0,1,24\n", r":3: column 'negative' must be .* to 23"),
        ("sketch,positive,negative\n-1,1,2\n", r":2: column 'sketch'.*got '-1'"),
        ("sketch,positive,negative\n0,1.5,2\n", r":2: column 'positive'"),
        ("sketch,positive,negative\n0,2,2\n", r":2: positive and negative are the same photo, 2"),
        ("sketch,positive,negative\n", r"has no triplets"),
        ('sketch,positive,negative\n0,1,2\n0,"1,2\n', r":3: not CSV"),
    ],
)
def test_wrong_lists_name_file_and_line(shoes, tmp_path, text, message):
    path = tmp_path / "list.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"list\.csv.*{message.lstrip(':')}"):
        read_triplets(path, shoes)


@pytest.mark.parametrize("metric", get_args(Metric))
@pytest.mark.parametrize("attribute_metric", ["sqeuclidean", "cross_entropy"])
@pytest.mark.parametrize("margin", ["soft", 0.3])
def test_the_loss_of_given_triplets_is_eq_1(metric, attribute_metric, margin):
    """On the triplets that mining finds it is the library's own loss, gradients too."""
    torch.manual_seed(0)
    n, k = 7, 5
    leaves = [torch.randn(n, 6), torch.randn(n, 6), torch.randn(n, k), torch.randn(n, k)]
    leaves = [leaf.double().requires_grad_() for leaf in leaves]
    attributes = torch.randint(-1, 2, (2, n, k), dtype=torch.int8)
    options = {"metric": metric, "attribute_metric": attribute_metric, "margin": margin}
    config = LossConfig(
        embedding_scale=1.5, lambda_a=0.4, lambda_s=0.3, lambda_pos=0.2, lambda_neg=0.7, **options
    )
    sketch, photo, s_logits, p_logits = leaves
    parts = fx.attribute_triplet_loss(
        1.5 * sketch,
        1.5 * photo,
        **both(logits=(s_logits, p_logits), attributes=attributes),
        lambda_a=0.4,
        lambda_s=0.3,
        lambda_pos=0.2,
        lambda_neg=0.7,
        attribute_margin=config.attribute_margin,
        return_parts=True,
        **options,
    )
    expected = torch.autograd.grad(parts.total, leaves)
    pos, neg = parts.triplets.positive, parts.triplets.negative
    batch = TripletBatch((sketch,) * 3, (attributes[0], attributes[1][pos], attributes[1][neg]))
    total, figures = ListedObjective(config)(
        Output(sketch, s_logits),
        Output(photo[pos], p_logits[pos]),
        Output(photo[neg], p_logits[neg]),
        batch,
    )
    torch.testing.assert_close(total, parts.total)
    torch.testing.assert_close(torch.autograd.grad(total, leaves), expected)
    assert figures["triplet"] == pytest.approx(parts.triplet.item())
    assert figures["attribute_rank"] == pytest.approx(parts.attribute_rank.item())
    assert figures["attributes"] == pytest.approx(parts.sketch_attribute.item())


@pytest.mark.parametrize("option", ["contrastive_weight", "attribute_guidance"])
def test_options_about_the_rest_of_the_batch_are_refused(option):
    with pytest.raises(ValueError, match=f"{option}: expected 0 with listed triplets"):
        ListedObjective(LossConfig(**{option: 1.0}))


def test_an_epoch_shows_each_sketch_with_one_of_its_triplets(shoes):
    rows = random_triplets(shoes, negatives=3)
    listed = dataclasses.replace(shoes, triplets=rows[rows[:, 0] != 5])
    generator = torch.Generator().manual_seed(0)
    batches = TripletBatches(listed, seen(32), 8, generator)
    epoch = list(batches.draw(generator))
    assert len(batches) == len(epoch) == 3
    assert [len(batch.images[0]) for batch in epoch] == [8, 8, 7]
    sketch, positive, negative = (
        torch.cat(x) for x in zip(*(b.attributes for b in epoch), strict=True)
    )
    assert torch.equal(sketch, positive)
    assert not torch.equal(sketch, negative)
    with pytest.raises(ValueError, match="there are no triplets to train on"):
        TripletBatches(shoes, seen(32), 8, generator)


DATA = ["--data", "synthetic:shoes?count=12&size=32"]
TINY = ["--epochs=1", "--size=32", "--width=8", "--embedding-dim=16", "--batch-size=8"]


@pytest.mark.parametrize("by", ["attributes", "random"])
def test_from_the_command_line(by, tmp_path, capsys):
    listed, out = str(tmp_path / "list.csv"), str(tmp_path / "run")
    assert main(["triplets", *DATA, "--by", by, "--out", listed, "--negatives", "2"]) == 0
    assert "24 triplets of synthetic shoes/train" in capsys.readouterr().out
    train = ["train", *DATA, "--out", out, "--triplets", listed, *TINY]
    assert main(train) == 2
    assert "contrastive_weight: expected 0" in capsys.readouterr().err
    assert not Path(out).exists()
    train += ["--contrastive-weight", "0", "--holdout", "3"]
    assert main([*train, "--sampler", "attributes"]) == 2
    assert "sampler: expected random with listed triplets" in capsys.readouterr().err
    assert main(train) == 0
    (line,) = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert {"loss", "triplet", "attribute_rank", "attributes"} <= set(json.loads(line))


def test_people_as_a_source(data_root, tmp_path):
    data = ["--data", str(data_root), "--category", "chairs", "--by", "people"]
    out = tmp_path / "list.csv"
    assert main(["triplets", *data, "--out", str(out), "--votes", "majority"]) == 0
    first = out.read_text().splitlines()[1].split(",")
    assert len(first) == 3
    assert all(value.isdigit() for value in first)
