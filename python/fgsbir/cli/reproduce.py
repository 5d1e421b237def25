"""``fgsbir reproduce``: train and score the rows of the paper's table."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tyro.conf import OmitArgPrefixes

from ..config import EvalConfig, ExtraData, TrainConfig, Views


@dataclass(frozen=True)
class Reproduce:
    """Train and score every row of the paper's table, and report means beside published figures.

    Killed and started again it resumes where it stopped. The defaults shown are those of the
    --backbone given, here sketchanet where none is.

    Example: fgsbir reproduce --data sbir_cvpr2016 --categories shoes chairs --out runs/table
    """

    data: str
    """Benchmark folder, or anything else that fgsbir train takes."""
    out: Path
    """Folder for the report (REPORT.md, results.json, plots) and all runs."""
    categories: tuple[str, ...] = ()
    """shoes and chairs, or one of them, where the data has categories."""
    rows: tuple[str, ...] = ()
    """Some of: triplet, prediction, ranking, full, sampler, guided-0.25, guided-0.5, guided-1,
    guided-2, listed-random, listed-people, listed-attributes, joint, joint-corrected, joint-extra,
    joint-extra-corrected, ensemble, ensemble-corrected, ensemble-extra, ensemble-extra-corrected.
    Left out, all that the data has the annotation for. Rows "-corrected" have their hubs
    corrected."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One run of every row for each."""
    cross_validate: int = 0
    """Score on so many folds of the training split instead of on the test split."""
    robustness: bool = True
    """Also score the sketches drawn otherwise, as fgsbir evaluate --robustness does, of every run
    by itself."""
    pretrain_data: str | None = None
    """Sketches in classes to pretrain the backbone on first, as for fgsbir pretrain."""
    pretrain_epochs: int | None = None
    """Of that; left out, the preset's."""
    attribute_weight: float = EvalConfig.attribute_weight
    """mu of the rows that rank by embedding and attributes."""
    features: Path | None = None
    """Folder of what frozen layers give, as for fgsbir train; left out, features in --out."""
    views: Views = "single"
    """What is embedded of an image, as for fgsbir evaluate."""
    extra: OmitArgPrefixes[ExtraData] = field(default_factory=ExtraData)
    config: OmitArgPrefixes[TrainConfig] = field(default_factory=TrainConfig)

    def run(self) -> None:
        from ..presets import PRETRAINING
        from ..reproduce import Task, reproduce
        from ..reproduce.rows import ROWS, override

        if self.config.seed:
            raise ValueError("seed: is one run's; give --seeds")
        preset = PRETRAINING[self.config.model.backbone]
        pretraining = dataclasses.replace(
            preset,
            model=dataclasses.replace(self.config.model, dropout=preset.model.dropout),
            precision=self.config.precision,
            device=self.config.device,
        )
        if self.pretrain_epochs is not None:
            pretraining = override(pretraining, {"optim.epochs": self.pretrain_epochs})
        task = Task(
            data=self.data,
            rows=self.rows or tuple(ROWS),
            categories=self.categories,
            seeds=self.seeds,
            config=self.config,
            scoring=EvalConfig(attribute_weight=self.attribute_weight, views=self.views),
            folds=self.cross_validate,
            robustness=self.robustness,
            extra=self.extra,
            pretrain_data=self.pretrain_data,
            pretraining=pretraining,
            command=shlex.join(["fgsbir", *sys.argv[1:]]),
        )
        report = reproduce(task, self.out, features=self.features)
        print(f"\n{report.read_text(encoding='utf-8')}\nReport: {report}")
