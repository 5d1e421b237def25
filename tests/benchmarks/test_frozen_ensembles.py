"""The study of ensembles of heads on frozen backbones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.studies.frozen_ensembles import CATEGORIES, Study
from fgsbir.cli import main

DATA = "synthetic?count=6&size=32"
ROWS = {"plain": ("joint", "ensemble"), "hubs corrected": ("joint-corrected", "ensemble-corrected")}
SMALL = ["--backbone=resnet", "--size=32", "--width=4", "--embedding-dim=16", "--epochs=1"]


@pytest.mark.parametrize("folds", [0, 2])
def test_runs_rank_together_as_the_rows_of_a_reproduction(tmp_path: Path, folds: int) -> None:
    command = ["reproduce", "--data", DATA, "--categories", *CATEGORIES, *SMALL]
    command += ["--rows", *(row for rows in ROWS.values() for row in rows), "--seeds", "0", "1"]
    command += ["--attribute-weight", "0.05", "--no-robustness", "--out", str(tmp_path)]
    assert main(command + (["--cross-validate", str(folds)] if folds else [])) == 0
    expected = {
        (entry["row"], entry["category"]): entry
        for entry in json.loads((tmp_path / "results.json").read_text())["summary"]
    }
    study = Study(DATA, [tmp_path], folds)
    for number, seeds in enumerate(([1], [0, 1])):
        for (scoring, category), found in study.scores(seeds).items():
            row = expected[ROWS[scoring][number], category]
            assert {"acc@1", "acc@10"} <= found.keys()
            for figure in found:
                assert found[figure] == pytest.approx(row[figure]["seeds"][-1]), (scoring, figure)
