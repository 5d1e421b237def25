"""Ensembles of heads on several frozen backbones, made of runs of `fgsbir reproduce`.

    python -m benchmarks.studies.frozen_ensembles --data sbir_cvpr2016 --out results.json \\
        --runs runs/frozen-lite0 runs/frozen-lite2

Each folder has the row `joint` of the same seeds. The runs of a seed rank together, one of each
folder; so do all runs of all seeds, as the row `ensemble`. With `--folds` they are scored on those
of the training split.
"""

from __future__ import annotations

import argparse
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
from fgsbir.reproduce.report import summarise
from fgsbir.reproduce.rows import ROWS
from fgsbir.sketches import ReadSketches

from ..harness.machine import publish

CATEGORIES = ("shoes", "chairs")
RUNS = "runs/joint-shoes+chairs"
OF_A_SEED = ("joint", "joint-corrected")
OF_ALL = ("ensemble", "ensemble-corrected")
SCORING = EvalConfig(attribute_weight=0.05, read_sketches=False)  # they have been read


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", required=True, help="folder of the benchmark")
    parser.add_argument("--runs", type=Path, nargs="+", required=True, help="of `fgsbir reproduce`")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--folds", type=int, default=0, help="0 for the test split")
    parser.add_argument("--note", default="", help="what else the machine was doing")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    report = {
        "title": "Ensembles of heads on frozen backbones",
        "runs": [folder.name for folder in options.runs],
        "folds": options.folds,
        "seeds": options.seeds,
        "summary": summarise(
            list(results(options.data, options.runs, options.seeds, options.folds))
        ),
    }
    publish(report, options.note, options.out)


def results(
    data: str, folders: Sequence[Path], seeds: Sequence[int], folds: int
) -> Iterator[dict[str, Any]]:
    """Scores of the runs of each seed together, and of all runs, as `fgsbir reproduce` notes them.

    Args:
        data: folder of the benchmark.
        folders: of the reproductions.
        seeds: of their runs.
        folds: of the training split; 0 for the test split.
    """
    maps = FrozenMaps()
    groups: list[tuple[int | None, Sequence[int], tuple[str, ...]]] = [
        *((seed, [seed], OF_A_SEED) for seed in seeds),
        (None, seeds, OF_ALL),
    ]
    for category in CATEGORIES:
        for part in _parts(data, category, folds):
            for seed, together, rows in groups:
                runs = [
                    load_run(folder / RUNS / f"{part.runs}-seed{one}")
                    for folder in folders
                    for one in together
                ]
                names = part.gallery.attribute_names
                members = [(run.model, run.data.columns_of(names)) for run in runs]
                photo = None
                for row in rows:
                    scoring = replace(SCORING, **ROWS[row].scoring)
                    ranking = rank_together(
                        members, part.gallery, scoring, bank=part.bank, photo=photo, maps=maps
                    )
                    photo = ranking.photo
                    place = {"category": category, "seed": seed, "fold": part.fold}
                    scores = score(ranking, part.gallery).to_dict()
                    yield {"row": row, **place, "data": part.gallery.name, "scores": scores}


class Part(NamedTuple):
    """A gallery, what the runs that are scored on it are called, and what they have learnt from."""

    fold: int | None
    runs: str
    gallery: SketchPhotoSet
    bank: Images


def _parts(data: str, category: str, folds: int) -> Iterator[Part]:
    training = open_dataset(data, category, "train")
    if not folds:
        test = open_dataset(data, category, "test")
        yield Part(None, "all", _decoded(test), _read(training.sketches))
    for number in range(folds):
        learnt, held = fold(training, number, folds)
        name = f"fold{number + 1}of{folds}"
        yield Part(number, name, _decoded(held), _read(learnt.sketches))


def _decoded(data: SketchPhotoSet) -> SketchPhotoSet:
    """The same set with its images decoded and its sketches read, once for all seeds."""
    return replace(data, sketches=_read(data.sketches), photos=list(map(np.asarray, data.photos)))


def _read(sketches: Images) -> Images:
    return list(ReadSketches(sketches))


if __name__ == "__main__":
    main()
