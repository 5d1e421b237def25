"""Ensembles of heads on several frozen backbones, made of runs of `fgsbir reproduce`.

    python -m benchmarks.studies.frozen_ensembles --data sbir_cvpr2016 --out ensembles.json \\
        --runs runs/lite0 runs/lite2

Each folder has the row `joint` of the same seeds. The runs of a seed rank together, one of each
folder; so do all runs of all seeds. With `--folds` they are scored on those of the training split.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fgsbir.config import EvalConfig
from fgsbir.data import SketchPhotoSet, open_dataset
from fgsbir.data.images import Images
from fgsbir.data.splits import fold
from fgsbir.evaluation.metrics import score
from fgsbir.evaluation.ranking import FrozenMaps, rank_together
from fgsbir.models.checkpoint import load_run
from fgsbir.reproduce.report import FIGURES
from fgsbir.sketches import ReadSketches

from ..harness.machine import publish

CATEGORIES = ("shoes", "chairs")
RUNS = "runs/joint-shoes+chairs"
PLAIN = EvalConfig(attribute_weight=0.05, read_sketches=False)  # they have been read
SCORINGS = {"plain": PLAIN, "hubs corrected": replace(PLAIN, hub_weight=0.5, hub_neighbours=5)}


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


class Part(NamedTuple):
    """A gallery, and what the runs that are scored on it are called and have learnt from."""

    name: str
    gallery: SketchPhotoSet
    bank: Images


class Study:
    """The runs of several reproductions, and what they are scored on."""

    def __init__(self, data: str, folders: Sequence[Path], folds: int) -> None:
        self.folders = folders
        self.maps = FrozenMaps()
        self.parts = {category: list(_parts(data, category, folds)) for category in CATEGORIES}

    def scores(self, seeds: Sequence[int]) -> dict[tuple[str, str], dict[str, float]]:
        """Figures of all runs of some seeds together, by scoring and category; without trip-acc
        where there are no verdicts."""
        found = {}
        for category, parts in self.parts.items():
            of_parts = [self._scores(part, seeds) for part in parts]
            weights = [len(part.gallery.sketches) for part in parts]
            for scoring in SCORINGS:
                of_scoring = [scores[scoring] for scores in of_parts]
                found[scoring, category] = {
                    figure: float(np.average([of[figure] for of in of_scoring], weights=weights))
                    for figure in FIGURES
                    if of_scoring[0][figure] is not None
                }
        return found

    def _scores(self, part: Part, seeds: Sequence[int]) -> dict[str, dict[str, Any]]:
        """By scoring, what the runs of some seeds are worth together on a part of the data."""
        members = []
        for folder in self.folders:
            for seed in seeds:
                run = load_run(folder / RUNS / f"{part.name}-seed{seed}")
                members.append((run.model, run.data.columns_of(part.gallery.attribute_names)))
        found, photo = {}, None
        for scoring, config in SCORINGS.items():
            ranking = rank_together(
                members, part.gallery, config, bank=part.bank, photo=photo, maps=self.maps
            )
            photo = ranking.photo
            found[scoring] = score(ranking, part.gallery).to_dict()
        return found


def _parts(data: str, category: str, folds: int) -> Iterator[Part]:
    training = open_dataset(data, category, "train")
    if not folds:
        yield Part("all", _decoded(open_dataset(data, category, "test")), _read(training.sketches))
    for number in range(folds):
        learnt, held = fold(training, number, folds)
        yield Part(f"fold{number + 1}of{folds}", _decoded(held), _read(learnt.sketches))


def _decoded(data: SketchPhotoSet) -> SketchPhotoSet:
    """The same set with its images decoded and its sketches read, once for all seeds."""
    return replace(data, sketches=_read(data.sketches), photos=list(map(np.asarray, data.photos)))


def _read(sketches: Images) -> Images:
    return list(ReadSketches(sketches))


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
