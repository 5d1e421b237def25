"""The study of ensembles of heads on frozen backbones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.studies.frozen_ensembles import CATEGORIES, OF_A_SEED, OF_ALL, results
from fgsbir.cli import main
from fgsbir.reproduce.report import summarise

DATA = "synthetic?count=6&size=32"
SMALL = ["--backbone=resnet", "--size=32", "--width=4", "--embedding-dim=16", "--epochs=1"]
FIGURES = ("acc@1", "acc@10", "trip_acc")


@pytest.mark.parametrize("folds", [0, 2])
def test_runs_rank_together_as_the_rows_of_a_reproduction(tmp_path: Path, folds: int) -> None:
    command = ["reproduce", "--data", DATA, "--categories", *CATEGORIES, *SMALL]
    command += ["--rows", *OF_A_SEED, *OF_ALL, "--seeds", "0", "1", "--attribute-weight", "0.05"]
    command += ["--no-robustness", "--out", str(tmp_path)]
    assert main(command + (["--cross-validate", str(folds)] if folds else [])) == 0
    expected = json.loads((tmp_path / "results.json").read_text())["summary"]
    found = summarise(list(results(DATA, [tmp_path], [0, 1], folds)))

    def by_place(summary: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
        return {
            (entry["row"], entry["category"]): {name: entry[name]["seeds"] for name in FIGURES}
            for entry in summary
        }

    assert by_place(found).keys() == by_place(expected).keys()
    for place, figures in by_place(found).items():
        for name, values in figures.items():
            assert values == pytest.approx(by_place(expected)[place][name]), (place, name)
