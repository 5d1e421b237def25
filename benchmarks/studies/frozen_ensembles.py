"""Ensembles of heads on several frozen backbones, made of runs of `fgsbir reproduce`.

    python -m benchmarks.studies.frozen_ensembles --data sbir_cvpr2016 --out ensembles.json \\
        --runs runs/lite0 runs/lite2

Each folder has the row `joint` of the same seeds. The runs of a seed rank together, one of each
folder; so do all runs of all seeds. With `--folds` they are scored on those of the training split.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fgsbir.config import EvalConfig
from fgsbir.data import open_dataset
from fgsbir.data.splits import fold
from fgsbir.evaluation.metrics import score
from fgsbir.evaluation.ranking import FrozenMaps, rank_together
from fgsbir.models.checkpoint import load_run
from fgsbir.reproduce.report import FIGURES
from fgsbir.reproduce.runner import in_memory

from ..harness.machine import publish

CATEGORIES = ("shoes", "chairs")
RUNS = "runs/joint-shoes+chairs"
SCORINGS = {
    "plain": EvalConfig(attribute_weight=0.05),
    "hubs corrected": EvalConfig(attribute_weight=0.05, hub_weight=0.5, hub_neighbours=5),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", required=True, help="folder of the benchmark")
    parser.add_argument("--runs", type=Path, nargs="+", required=True, help="of `fgsbir reproduce`")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--folds", type=int, default=0, help="0 for the test split")
    parser.add_argument("--note", default="", help="what else the machine was doing")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    study = Study(options.data, options.runs, options.folds)
    together = [study.scores([seed]) for seed in options.seeds]
    publish(
        {
            "title": "Ensembles of heads on frozen backbones",
            "runs": [folder.name for folder in options.runs],
            "folds": options.folds,
            "seeds": options.seeds,
            "of_each_seed": _summary(together),
            "of_all_seeds": _summary([study.scores(options.seeds)]),
        },
        options.note,
        options.out,
    )


class Study:
    """The runs of several reproductions, and what they are scored on."""

    def __init__(self, data: str, folders: Sequence[Path], folds: int) -> None:
        self.folders = folders
        self.folds = folds
        self.training = {c: in_memory(open_dataset(data, c, "train")) for c in CATEGORIES}
        if not folds:
            self.test = {c: in_memory(open_dataset(data, c, "test")) for c in CATEGORIES}
        self.maps = FrozenMaps()

    def scores(self, seeds: Sequence[int]) -> dict[tuple[str, str], dict[str, float]]:
        """Figures of all runs of some seeds together, by scoring and category; without trip-acc
        where there are no verdicts."""
        found = {}
        for name in CATEGORIES:
            for scoring, config in SCORINGS.items():
                parts = [
                    self._scores(name, seeds, part, config) for part in range(max(1, self.folds))
                ]
                weights = [part["sketches"] for part in parts]
                found[scoring, name] = {
                    figure: float(np.average([part[figure] for part in parts], weights=weights))
                    for figure in FIGURES
                    if parts[0][figure] is not None
                }
        return found

    def _scores(
        self, category: str, seeds: Sequence[int], part: int, config: EvalConfig
    ) -> dict[str, Any]:
        training = self.training[category]
        if self.folds:
            learnt, gallery = fold(training, part, self.folds)
            which = f"fold{part + 1}of{self.folds}"
        else:
            learnt, gallery, which = training, self.test[category], "all"
        members = []
        for folder in self.folders:
            for seed in seeds:
                run = load_run(folder / RUNS / f"{which}-seed{seed}")
                members.append((run.model, run.data.columns_of(gallery.attribute_names)))
        ranking = rank_together(members, gallery, config, bank=learnt.sketches, maps=self.maps)
        return score(ranking, gallery).to_dict()


def _summary(of_seeds: Sequence[dict[tuple[str, str], dict[str, float]]]) -> dict[str, Any]:
    """By scoring and category: mean and deviation over seeds of each figure."""
    summary: dict[str, Any] = {}
    for scoring, category in of_seeds[0]:
        entry = summary.setdefault(scoring, {}).setdefault(category, {})
        for figure in of_seeds[0][scoring, category]:
            values = [found[scoring, category][figure] for found in of_seeds]
            deviation = statistics.stdev(values) if len(values) > 1 else None
            entry[figure] = {"mean": statistics.mean(values), "deviation": deviation}
    return summary


if __name__ == "__main__":
    main()
