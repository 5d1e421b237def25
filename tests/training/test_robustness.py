"""Scores of sketches that were drawn otherwise."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from fgsbir.cli import main
from fgsbir.data import synthetic
from fgsbir.evaluation.distortions import DISTORTIONS, Distorted
from fgsbir.evaluation.metrics import evaluate
from fgsbir.evaluation.robustness import robustness_table
from fgsbir.models import build_model
from fgsbir.models.checkpoint import DataFacts, Run, save_run
from fgsbir.presets import QUICKSTART
from fgsbir.sketches import read_sketch

SIZE = 64


@pytest.fixture(scope="module")
def data():
    return synthetic("shoes", 12, "test")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_model("resnet", size=SIZE, width=8)


def test_every_distortion_is_scored_read_and_decoded(model, data) -> None:
    table = robustness_table([(model, None)], data)
    assert list(table) == ["as drawn", *DISTORTIONS]
    scores = evaluate(model, data)
    assert table["as drawn"]["read"] == {"acc@1": scores.acc[1], "acc@10": scores.acc[10]}
    # Nothing but the ground differs once it is turned over.
    assert table["white on black"]["read"] == table["as drawn"]["read"]
    assert table["white on nothing"]["read"] == table["as drawn"]["read"]
    assert table == robustness_table([(model, None)], data)
    assert table != robustness_table([(model, None)], data, seed=1)


def test_what_cannot_be_read_is_not_found(model, data, monkeypatch: pytest.MonkeyPatch) -> None:
    blank = {"blank": lambda sketch, rng: sketch.point(lambda value: 255)}
    monkeypatch.setattr("fgsbir.evaluation.robustness.DISTORTIONS", blank)
    monkeypatch.setattr("fgsbir.evaluation.distortions.DISTORTIONS", blank)
    table = robustness_table([(model, None)], data)
    assert table["blank"]["read"] == {"acc@1": 0.0, "acc@10": 0.0}
    assert table["blank"]["decoded"]["acc@10"] > 0  # by chance


@pytest.mark.slow
def test_the_command_prints_the_table(tmp_path: Path, model, data, capsys) -> None:
    facts = DataFacts("synthetic shoes/train", "shoes")
    save_run(tmp_path, Run(model, config_of_model(), facts, 1))
    command = ["evaluate", str(tmp_path), "--data", "synthetic:shoes?count=12", "--robustness"]
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    shown = lines[lines.index("synthetic shoes/test, sketches drawn otherwise:") + 3 :]
    assert [line[:28].strip() for line in shown] == ["as drawn", *DISTORTIONS]
    table = robustness_table([(model, None)], data)
    for line, ways in zip(shown, table.values(), strict=True):
        values = [float(value.rstrip("%")) for value in line[28:].split()]
        expected = [
            ways[way][score] for way in ("read", "decoded") for score in ("acc@1", "acc@10")
        ]
        assert values == pytest.approx(expected, abs=0.06)
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["robustness"]
    assert np.allclose(found["in pencil"]["read"]["acc@10"], table["in pencil"]["read"]["acc@10"])


def config_of_model():
    import dataclasses

    return dataclasses.replace(
        QUICKSTART,
        model=dataclasses.replace(QUICKSTART.model, size=SIZE, width=8, dropout=0.5),
    )


def test_sketches_of_any_kind_can_be_distorted() -> None:
    black = np.zeros((300, 500, 4), np.uint8)
    black[100:104, 50:450, 3] = black[100:200, 50:54, 3] = 255  # on nothing
    for name in DISTORTIONS:
        distorted = Distorted([black], name)[0]
        share = (read_sketch(distorted).image < 128).mean()
        assert 0 < share < 0.1, name
