"""Specification of a reproduction, and of the training runs that it takes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from ..config import EvalConfig, ExtraData, PretrainConfig, TrainConfig
from .rows import ROWS


@dataclass(frozen=True)
class Task:
    """What to reproduce.

    Attributes:
        data: anything that ``fgsbir train`` takes.
        rows: names of :data:`fgsbir.reproduce.rows.ROWS`.
        categories: of the data; empty where it has none.
        seeds: one run each.
        config: of every run, but for what a row changes, and the seed.
        scoring: how a row that ranks by embedding and attributes is ranked.
        folds: of a cross-validation in the training split; 0 to score on the test split.
        robustness: whether to score sketches drawn otherwise too, of every run by itself.
        extra: further training data, for the rows that are about it.
        pretrain_data: sketches in classes to pretrain the backbone on first; None for no
            pretraining, or for ``config.init``.
        pretraining: how.
        command: that asked for it, for the report.
    """

    data: str
    rows: tuple[str, ...]
    categories: tuple[str, ...]
    seeds: tuple[int, ...]
    config: TrainConfig
    scoring: EvalConfig
    folds: int = 0
    robustness: bool = False
    extra: ExtraData = dataclasses.field(default_factory=ExtraData)
    pretrain_data: str | None = None
    pretraining: PretrainConfig = dataclasses.field(default_factory=PretrainConfig)
    command: str = ""

    def check(self) -> None:
        """Raises a ValueError for a value out of range."""
        start = self.config.init if self.pretrain_data is None else self.pretrain_data
        dataclasses.replace(self.config, init=start).check()
        self.scoring.check()
        if unknown := [row for row in self.rows if row not in ROWS]:
            raise ValueError(f"rows: expected some of {', '.join(ROWS)}, got {unknown[0]!r}")
        for name, values in (("rows", self.rows), ("seeds", self.seeds)):
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{name}: expected at least one, each once, got {values}")
        if self.config.holdout:
            raise ValueError("holdout: expected 0, use --cross-validate to score without the test")
        if self.pretrain_data is not None and self.config.init is not None:
            raise ValueError(
                "pretrain_data: expected none beside init, which is a backbone already"
            )
        if self.folds == 1 or self.folds < 0:
            raise ValueError(f"cross_validate: expected 2 or more folds, got {self.folds}")


@dataclass(frozen=True)
class Job:
    """One training run, and what it is scored on.

    Attributes:
        variant: name of what is trained.
        categories: that it learns; (None,) where there are none.
        seed: of the run.
        fold: of the cross-validation; None for the whole training split.
        folder: the run's.
    """

    variant: str
    categories: tuple[str | None, ...]
    seed: int
    fold: int | None
    folder: Path
