"""Hub correction, compared with plain torch."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

import fgsbir_ext as fx
from fgsbir.cli import main
from fgsbir.config import EvalConfig
from fgsbir.data import SketchPhotoSet, synthetic
from fgsbir.evaluation import ranking as module
from fgsbir.evaluation.metrics import score
from fgsbir.evaluation.ranking import FrozenMaps, embed, rank, rank_together
from fgsbir.models import Output, RetrievalModel, build_model
from fgsbir.models.checkpoint import load_run
from fgsbir.models.preprocess import Preprocessing, sketches_to_ink, to_ink

COUNT, MU = 6, 0.3


@pytest.fixture(scope="module")
def data() -> SketchPhotoSet:
    return synthetic("shoes", COUNT, "test")


@pytest.fixture(scope="module")
def bank() -> np.ndarray:
    return np.stack(list(synthetic("shoes", 9, "train").sketches))


def model_of(data: SketchPhotoSet, seed: int = 0) -> RetrievalModel:
    torch.manual_seed(seed)
    return build_model("resnet", size=32, width=8, attributes=len(data.attribute_names))


def between(model: RetrievalModel, sketches, edges, metric: str) -> torch.Tensor:
    """(S, P) d + mu D."""
    s, p = (
        embed(model, sketches_to_ink(sketches, Preprocessing(32))),
        embed(model, to_ink(edges, Preprocessing(32))),
    )
    d = torch.cdist(s.embedding, p.embedding).square()
    predicted = s.logits[:, None], p.logits[None]
    return d + MU * fx.reference.predicted_attribute_distance(*predicted, metric=metric)


def assert_ranked(ranking: module.Ranking, expected: torch.Tensor) -> None:
    torch.testing.assert_close(ranking.distances, expected.sort(1).values, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        expected.gather(1, ranking.order), ranking.distances, atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("metric", ["sqeuclidean", "euclidean", "cross_entropy"])
@pytest.mark.parametrize("neighbours", [1, 4, 100])
def test_hubs_are_corrected_by_their_nearest_training_sketches(
    data: SketchPhotoSet, bank: np.ndarray, neighbours: int, metric: str
) -> None:
    model = model_of(data)
    config = EvalConfig(MU, attribute_metric=metric, hub_weight=0.5, hub_neighbours=neighbours)
    ranking = rank(model, data, config, bank=bank)
    r, to_bank = (
        between(model, sketches, data.edges, metric) for sketches in (data.sketches, bank)
    )
    assert_ranked(ranking, r - 0.5 * to_bank.sort(0).values[:neighbours].mean(0))


def test_an_ensemble_corrects_by_its_mean_distances(data: SketchPhotoSet, bank: np.ndarray) -> None:
    one, two = model_of(data), model_of(data, seed=1)
    config = EvalConfig(0.0, hub_weight=1.0, hub_neighbours=2)
    ranking = rank_together([(one, None), (two, None)], data, config, bank=bank)
    r, to_bank = (
        sum(
            torch.cdist(
                embed(m, sketches_to_ink(sketches, Preprocessing(32))).embedding,
                embed(m, to_ink(data.edges, Preprocessing(32))).embedding,
            ).square()
            / 2
            for m in (one, two)
        )
        for sketches in (data.sketches, bank)
    )
    assert_ranked(ranking, r - to_bank.sort(0).values[:2].mean(0))


def test_a_photo_near_to_everything_no_longer_comes_first(
    data: SketchPhotoSet, bank: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Photo 0 lies in the middle of all sketches, photo 1 by the only sketch, somewhat farther."""
    places = {"sketch": [[1.0, 0.0]], "photo": [[0.1, 0.0], [2.0, 0.0]]}
    places["bank"] = [[0.0, 0.5], [0.0, -0.5], [-0.5, 0.0], [0.5, 0.0]]
    two = dataclasses.replace(
        data.take([0], [0, 1]), sketch_attributes=None, photo_attributes=None, triplets=None
    )
    by_count = {len(rows): torch.tensor(rows) for rows in places.values()}
    monkeypatch.setattr(module, "embed", lambda _, inks, **__: Output(by_count[len(inks)], None))
    model = build_model("resnet", size=32, width=8)
    assert rank(model, two).order.tolist() == [[0, 1]]
    config = EvalConfig(hub_weight=0.5, hub_neighbours=2)
    assert rank(model, two, config, bank=bank[:4]).order.tolist() == [[1, 0]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attribute_weight": -1.0}, "attribute_weight: expected a finite number from 0, got -1"),
        ({"hub_weight": float("nan")}, "hub_weight: expected a finite number from 0, got nan"),
        ({"hub_weight": float("inf")}, "hub_weight: expected a finite number from 0, got inf"),
        ({"hub_neighbours": 0}, "hub_neighbours: expected 1 or more, got 0"),
        ({"hub_weight": 0.5}, "hub_weight > 0 needs a bank of training sketches"),
    ],
)
def test_bad_settings(data: SketchPhotoSet, changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rank(model_of(data), data, EvalConfig(**changes))


def test_the_command_takes_the_training_split_as_its_bank(tmp_path, capsys) -> None:
    pairs, folder = "synthetic?count=8&size=32", str(tmp_path / "run")
    small = ["--size=32", "--width=4", "--embedding-dim=16", "--batch-size=8", "--epochs=1"]
    both = ["--data", pairs, "--category", "shoes+chairs"]
    assert main(["train", "--backbone=resnet", *both, *small, "--out", folder]) == 0
    asked = ["--attribute-weight=0.3", "--hub-weight=0.5", "--hub-neighbours=3"]
    capsys.readouterr()
    assert main(["evaluate", folder, "--data", pairs, "--json", *asked]) == 0
    found = json.loads(capsys.readouterr().out)
    config = EvalConfig(0.3, hub_weight=0.5, hub_neighbours=3)
    run = load_run(folder)
    for category in ("shoes", "chairs"):
        test, learnt = (synthetic(category, 8, split, size=32) for split in ("test", "train"))
        columns = run.data.columns_of(test.attribute_names)
        expected = rank(run.model, test, config, columns, bank=learnt.sketches)
        assert found[test.name] == score(expected, test).to_dict()
        plain = rank(run.model, test, EvalConfig(0.3), columns)
        assert not torch.equal(expected.distances, plain.distances)

    assert main(["evaluate", folder, "--data", pairs, "--split=train", *asked]) != 0
    assert "hub_weight: expected 0 on the training split" in capsys.readouterr().err


@torch.no_grad()
def test_maps_are_kept_for_other_heads_on_the_same_backbone() -> None:
    torch.manual_seed(0)
    one = build_model("resnet", size=32, width=4, head="local", attributes=2)
    head = build_model("resnet", size=32, width=4, head="local", attributes=2)
    head.trunk.load_state_dict(one.trunk.state_dict())
    other = build_model("resnet", size=32, width=4, head="local", attributes=2)
    inks = torch.randint(0, 256, (9, 1, 32, 32), dtype=torch.uint8)
    maps, seen = FrozenMaps(), []
    for model in (one, head, other):
        model.trunk[0].register_forward_hook(lambda _, given, __: seen.append(len(given[0])))
        expected = embed(model, inks)
        seen.clear()
        found = embed(model, inks.flip(0), maps=maps)
        torch.testing.assert_close(found.embedding, expected.embedding.flip(0))
        torch.testing.assert_close(found.logits, expected.logits.flip(0))
        assert sum(seen) == (0 if model is head else len(inks))
