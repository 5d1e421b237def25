"""What settings of heads on a frozen backbone are worth, one by one.

Cross-validation in the training split of the benchmark; the test split is not read. Killed and
started again it resumes where it stopped.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from fgsbir.config import BackboneName, EvalConfig
from fgsbir.presets import PRESETS
from fgsbir.reproduce import Task, reproduce
from fgsbir.reproduce.rows import override

from ..harness.machine import publish

CHOSEN: BackboneName = "efficientnet-lite0"
CATEGORIES = ("shoes", "chairs")
ROWS = ("joint", "joint-corrected")
SOFTMAX = {"loss.margin": "soft", "loss.embedding_scale": 4.0}
STRONGER = ("rotate", "scale", "shear", "shift", "elastic")
AUGMENT = PRESETS[CHOSEN].augment
CELLS = 7 * 7
ONE_MAP = {"model.maps": 1, "model.embedding_dim": 64 * CELLS}
LITE2: dict[str, Any] = {"model.backbone": "efficientnet-lite2"}


def two_maps(numbers: int) -> dict[str, Any]:
    """Two maps side by side, so many numbers of each of their cells."""
    return {"model.maps": 2, "model.embedding_dim": numbers * CELLS}


SETTINGS: dict[str, dict[str, Any]] = {
    "one map, 64 numbers a cell": {},
    "two maps, 64 numbers a cell": two_maps(64),
    "two maps, 96 numbers a cell": two_maps(96),
    "two maps, 128 numbers a cell": two_maps(128),
    "efficientnet-lite2 at 256 pixels": LITE2,
    "the same with two maps, 128 numbers a cell": {**LITE2, **two_maps(128)},
    "288 pixels": {"model.size": 288},
    "32 numbers a cell": {"model.embedding_dim": 32 * CELLS},
    "128 numbers a cell": {"model.embedding_dim": 128 * CELLS},
    "attributes from features": {"model.attributes_from": "features"},
    "soft margin at a scale of 4": SOFTMAX,
    "the same beside a softmax of weight 10": {**SOFTMAX, "loss.contrastive_weight": 10.0},
    "margin 0.1": {"loss.margin": 0.1},
    "batches of 64": {"optim.batch_size": 64},
    "40 epochs": {"optim.epochs": 40},
    "averaged weights": {"optim.average_decay": 0.99},
    "images as they are alone": {"frozen_views": 1},
    "20 views": {"frozen_views": 20},
    "augmentation twice as strong": {
        f"augment.{name}": 2 * getattr(AUGMENT, name) for name in STRONGER
    },
    "half of the pairs mirrored": {"augment.flip": 0.5},
    "the last block learns too": {"trained_layers": 1, "optim.lr": 3e-4},
}
"""What differs from the preset with one map and 64 numbers a cell, by dotted name."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", required=True, help="folder of the benchmark")
    parser.add_argument("--work", type=Path, required=True, help="folder of all runs")
    parser.add_argument("--only", nargs="+", choices=SETTINGS, default=SETTINGS, metavar="NAME")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--note", default="", help="what else the machine was doing")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    scores = {
        name: score(options.data, SETTINGS[name], tuple(options.seeds), name, options.work)
        for name in options.only
    }
    publish(
        {"title": "Heads on a frozen backbone", "seeds": options.seeds, "scores": scores},
        options.note,
        options.out,
    )


def score(
    data: str, changed: dict[str, Any], seeds: tuple[int, ...], name: str, work: Path
) -> dict[str, Any]:
    """By row and category, mean and deviation over seeds of each figure; and seconds of training.

    Args:
        data: folder of the benchmark.
        changed: settings that differ.
        seeds: of the runs.
        name: of the setting.
        work: folder of all runs; those of all settings share their features.
    """
    task = Task(
        data=data,
        rows=ROWS,
        categories=CATEGORIES,
        seeds=seeds,
        config=override(PRESETS[CHOSEN], ONE_MAP | changed),
        scoring=EvalConfig(attribute_weight=0.05),
        folds=3,
    )
    out = work / re.sub(r"\W+", "-", name)
    reproduce(task, out, features=work / "features", progress=False)
    found = json.loads((out / "results.json").read_text())
    figures = {"acc@1", "acc@10", "trip_acc"}
    of_rows: dict[str, Any] = {row: {} for row in ROWS}
    for entry in found["summary"]:
        of_rows[entry["row"]][entry["category"]] = {figure: entry[figure] for figure in figures}
    return {"changed": changed, **of_rows, "seconds": found["seconds_of_all_trainings"]}


if __name__ == "__main__":
    main()
