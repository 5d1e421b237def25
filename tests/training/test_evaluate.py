"""Metrics against examples worked by hand."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from fgsbir.cli.evaluate import Evaluate
from fgsbir.cli.reproduce import Reproduce
from fgsbir.config import EvalConfig
from fgsbir.data.dataset import SketchPhotoSet
from fgsbir.evaluation.metrics import (
    accuracy_at,
    attribute_accuracy,
    evaluate,
    mean_reciprocal_rank,
    score,
    triplet_accuracy,
    why_meaningless,
)
from fgsbir.evaluation.ranking import Ranking, embed, rank, rank_together
from fgsbir.evaluation.tables import format_scores
from fgsbir.models import Output, build_model

# Distances of two sketches to four photos; nearest first: 2 0 3 1 and 1 3 0 2.
DISTANCES = torch.tensor([[0.2, 0.9, 0.1, 0.5], [0.6, 0.1, 0.8, 0.3]])
SORTED, ORDER = DISTANCES.sort(dim=1)


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).choice([0, 255], (count, 64, 64), p=[0.1, 0.9]).astype("u1")


def tiny_set(**changes) -> SketchPhotoSet:
    base = SketchPhotoSet(
        name="tiny",
        sketches=images(2),
        edges=images(4, 1),
        photos=np.zeros((4, 64, 64, 3), np.uint8),
        sketch_labels=np.array([0, 3]),
        photo_labels=np.array([0, 1, 2, 3]),
        sketch_attributes=np.array([[1, 0], [-1, 1]], np.int8),
        photo_attributes=np.array([[1, 0], [0, 0], [1, 1], [-1, 1]], np.int8),
        attribute_names=("heel", "lace"),
        triplets=np.array([[0, 0, 1], [0, 3, 2], [1, 1, 3], [1, 2, 0]]),
    )
    return dataclasses.replace(base, **changes)


def test_accuracy_at_k_by_hand():
    sketches, photos = np.array([0, 3]), np.array([0, 1, 2, 3])
    # Photo 0 is second for sketch 0, photo 3 is second for sketch 1.
    assert [accuracy_at(ORDER, sketches, photos, k) for k in (1, 2, 10)] == [0, 100, 100]
    # Now photos 2 and 0 both show instance 0.
    assert accuracy_at(ORDER, sketches, np.array([0, 1, 0, 3]), 1) == 50


def test_a_sketch_without_its_photo_counts_as_missed():
    assert accuracy_at(ORDER, np.array([2, 9]), np.array([0, 1, 2, 3]), 4) == 50


def test_mean_reciprocal_rank_by_hand():
    # Second, then first; then second and nowhere.
    assert mean_reciprocal_rank(ORDER, np.array([0, 1]), np.array([0, 1, 2, 3])) == 75
    assert mean_reciprocal_rank(ORDER, np.array([0, 9]), np.array([0, 1, 2, 3])) == 25


def test_triplet_accuracy_by_hand():
    # 0.2 < 0.9 right, 0.5 < 0.1 wrong, 0.1 < 0.3 right, 0.8 < 0.6 wrong
    assert triplet_accuracy(SORTED, ORDER, tiny_set().triplets) == 50
    assert triplet_accuracy(SORTED, ORDER, np.array([[0, 1, 1]])) == 50  # a tie is half right


def test_a_collapsed_model_is_named():
    def ranking(distances):
        output = Output(torch.zeros(2, 1), None)
        return Ranking(distances, ORDER, output, output)

    assert why_meaningless(ranking(SORTED)) == ""
    equal = torch.full_like(SORTED, 0.25)
    assert triplet_accuracy(equal, ORDER, tiny_set().triplets) == 50
    assert why_meaningless(ranking(equal)).startswith("all distances are equal")
    broken = SORTED.clone()
    broken[1, 2] = float("nan")
    assert why_meaningless(ranking(broken)).startswith("some distances are not finite")


def test_attribute_accuracy_leaves_out_the_unknown():
    sketch = Output(torch.zeros(2, 1), torch.tensor([[2.0, 2.0], [-3.0, 1.0]]))
    photo = Output(torch.zeros(4, 1), torch.tensor([[1.0, -1], [1, -1], [-1, -1], [1, 1]]))
    # heel: right, unknown; right, wrong, wrong, unknown. lace: wrong, right; 2 right, wrong, right.
    accuracy = attribute_accuracy(sketch, photo, tiny_set())
    assert accuracy == pytest.approx({"heel": 50.0, "lace": 100 * 4 / 6})


def test_attributes_without_annotation_or_known_values_are_left_out():
    outputs = (
        Output(torch.zeros(2, 1), torch.zeros(2, 2)),
        Output(torch.zeros(4, 1), torch.zeros(4, 2)),
    )
    assert (
        attribute_accuracy(*outputs, tiny_set(sketch_attributes=None, photo_attributes=None)) == {}
    )
    unknown = np.full((4, 2), -1, np.int8)
    assert (
        attribute_accuracy(*outputs, tiny_set(sketch_attributes=None, photo_attributes=unknown))
        == {}
    )


def test_a_model_of_other_attributes_is_refused():
    model = build_model("resnet", size=32, width=8, attributes=3)
    with pytest.raises(ValueError, match="predicts 3 attributes, the data has 2"):
        evaluate(model, tiny_set())


def test_an_empty_set_is_refused():
    model = build_model("resnet", size=32, width=8)
    with pytest.raises(ValueError, match="tiny: nothing to rank"):
        rank(model, tiny_set().take([False, False], [0, 1]))


def test_ranking_is_by_embedding_and_attributes_together():
    torch.manual_seed(0)
    model = build_model("resnet", size=32, width=8, attributes=2)
    for mu in (0.0, 0.7):
        ranking = rank(model, tiny_set(), EvalConfig(attribute_weight=mu))
        d = torch.cdist(ranking.sketch.embedding, ranking.photo.embedding).square()
        a, b = ranking.sketch.logits.sigmoid(), ranking.photo.logits.sigmoid()
        expected, order = (d + mu * torch.cdist(a, b).square()).sort(dim=1)
        torch.testing.assert_close(ranking.distances, expected, atol=1e-5, rtol=1e-4)
        assert torch.equal(ranking.order, order)


def test_the_commands_rank_with_the_same_weight_of_attributes():
    assert Evaluate((), "x").config.attribute_weight == 0.2
    assert Reproduce("x", Path("y")).attribute_weight == 0.2


def test_a_model_without_attributes_ranks_by_the_embedding():
    torch.manual_seed(0)
    model = build_model("resnet", size=32, width=8)
    weighted, plain = (rank(model, tiny_set(), EvalConfig(attribute_weight=mu)) for mu in (0.2, 0))
    assert torch.equal(weighted.distances, plain.distances)
    assert torch.equal(weighted.order, plain.order)


def test_an_ensemble_ranks_by_mean_distances_and_mean_logits():
    torch.manual_seed(0)
    first = build_model("resnet", size=32, width=8, attributes=2)
    second = build_model("resnet", size=48, width=4, attributes=3, embedding_dim=16)
    columns = [2, 0]
    config = EvalConfig(attribute_weight=0.5)
    together = rank_together([(first, None), (second, columns)], tiny_set(), config)
    one, two = rank(first, tiny_set()), rank(second, tiny_set(), columns=columns)
    d = sum(
        torch.cdist(each.sketch.embedding, each.photo.embedding).square() / 2 for each in (one, two)
    )
    a, b = (
        ((getattr(one, side).logits + getattr(two, side).logits) / 2).sigmoid()
        for side in ("sketch", "photo")
    )
    expected, order = (d + 0.5 * torch.cdist(a, b).square()).sort(dim=1)
    torch.testing.assert_close(together.distances, expected, atol=1e-5, rtol=1e-4)
    assert torch.equal(together.order, order)
    with pytest.raises(ValueError, match=r"same attributes, got \[2, 3\]"):
        rank_together([(first, None), (second, None)], tiny_set())


def test_scoring_a_perfect_and_a_hopeless_ranking():
    data = tiny_set()
    outputs = Output(torch.zeros(2, 1), None), Output(torch.zeros(4, 1), None)
    best = Ranking(
        torch.arange(4.0).expand(2, 4), torch.tensor([[0, 1, 2, 3], [3, 2, 1, 0]]), *outputs
    )
    worst = best._replace(order=best.order.flip(1))
    assert score(best, data, ks=(1,)).acc == {1: 100.0}
    assert (score(best, data).mrr, score(worst, data).mrr) == (100, 25)
    assert score(worst, data, ks=(1, 3)).acc == {1: 0.0, 3: 0.0}


def test_embedding_leaves_the_model_in_its_mode_and_is_of_unit_length():
    torch.manual_seed(0)
    model = build_model("resnet", size=32, width=8, attributes=2).train()
    inks = torch.randint(0, 256, (5, 1, 32, 32), dtype=torch.uint8)
    for views, count in (("single", 1), ("flip", 2), ("ten", 10)):
        output = embed(model, inks, views=views)
        assert output.embedding.shape == (5, count * 256)
        assert output.logits.shape == (5, 2)
        torch.testing.assert_close(output.embedding.norm(dim=1), torch.ones(5))
    assert model.training
    # in eval mode an image's embedding does not depend on its batch
    alone = embed(model, inks[:1]).embedding
    torch.testing.assert_close(alone, embed(model, inks).embedding[:1], atol=1e-5, rtol=1e-4)


def test_scores_as_json_and_as_a_table():
    torch.manual_seed(0)
    data = tiny_set()
    scores = evaluate(build_model("resnet", size=32, width=8, attributes=2), data)
    record = scores.to_dict()
    assert {"acc@1", "acc@10", "mrr", "trip_acc", "attributes", "sketches", "photos"} == set(record)
    assert record["acc@10"] == 100
    table = format_scores(data.name, scores)
    assert "acc@1 " in table
    assert "25.0%" in table  # chance, one photo of four
    assert "heel" in table
    assert (
        evaluate(build_model("resnet", size=32, width=8), tiny_set(triplets=None)).trip_acc is None
    )
