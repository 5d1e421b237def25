"""Small trainings in a process that kills itself at a given moment."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._dynamo  # the first optimizer imports it, for seconds: here it is once

import fgsbir.atomic_files
from fgsbir.config import LossConfig, ModelConfig, OptimConfig, PretrainConfig, TrainConfig
from fgsbir.data import SketchPhotoSet
from fgsbir.data.classified_images import ClassifiedSketches
from fgsbir.models.checkpoint import DataFacts, Run, create_model, save_run
from fgsbir.training.optim import Stepper
from fgsbir.training.pretrain import pretrain
from fgsbir.training.train import train

MODEL = ModelConfig("resnet", size=32, width=4, embedding_dim=16, dropout=0.2)
OPTIM = OptimConfig(epochs=3, batch_size=4, warmup_epochs=1, average_decay=0.9)
COUNT = 12


def images(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).choice([0, 255], (COUNT, 40, 40), p=[0.1, 0.9]).astype("u1")


def pairs(seed: int = 0, count: int = COUNT) -> SketchPhotoSet:
    attributes = np.random.default_rng(seed).integers(-1, 2, (COUNT, 3)).astype(np.int8)
    everything = SketchPhotoSet(
        name=f"pairs {seed}",
        sketches=images(2 * seed),
        edges=images(2 * seed + 1),
        photos=np.zeros((COUNT, 40, 40, 3), np.uint8),
        sketch_labels=np.arange(COUNT),
        photo_labels=np.arange(COUNT),
        sketch_attributes=attributes,
        photo_attributes=attributes,
        attribute_names=tuple(f"attribute {seed} {k}" for k in range(3)),
    )
    return everything.take(np.arange(count), np.arange(count))


def run(
    kind: str, folder: Path, settings: Mapping[str, Any] | None = None, **options: Any
) -> dict[str, torch.Tensor]:
    """The final weights; `settings` replace some of the configuration of a training."""
    if kind == "pretrain":
        sketches = ClassifiedSketches("drawn", images(0), np.arange(COUNT) % 3, ("a", "b", "c"))
        config = PretrainConfig(model=MODEL, optim=OPTIM, holdout=2)
        return pretrain(sketches, config, folder, progress=False, **options).backbone.state_dict()
    frozen = kind == "frozen"
    training = TrainConfig(
        model=replace(MODEL, head="local") if frozen else MODEL,
        optim=OPTIM,
        loss=LossConfig(contrastive_weight=1.0),
        holdout=2,
        eval_every=1,
        sampler="attributes" if kind == "joint" else "random",
        init=backbone(folder.with_name(f"{folder.name}-backbone")) if frozen else None,
        frozen_views=3 if frozen else 0,
        trained_layers=1 if frozen else 0,
    )
    data = [pairs(0), pairs(1)] if kind == "joint" else pairs()
    training = replace(training, **(settings or {}))
    return train(data, training, folder, progress=False, **options).model.state_dict()


def backbone(folder: Path) -> str:
    """Leaves a backbone of random weights in a folder, the same ones each time."""
    config = TrainConfig(model=MODEL)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        run = Run(create_model(config, DataFacts("drawings")), config, DataFacts("drawings"), 1)
    folder.mkdir(exist_ok=True)
    save_run(folder, run)
    return str(folder)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_in(moment: str) -> None:
    """Arranges for SIGKILL.

    ``"step:5"`` is before the fifth step; ``"before state.pt:2"`` when half of that file is written
    for the second time, ``"after state.pt:2"`` when the whole is, ``"before *.pt:2"`` of any file
    of that ending; ``"removing state.pt:0"`` before it is removed.
    """
    what, number = moment.split(":")
    left = int(number)
    if what == "step":
        step = Stepper.step

        def counted(self: Stepper, loss: torch.Tensor) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                die()
            step(self, loss)

        Stepper.step = counted
        return
    when, name = what.split(" ")
    rename, remove = os.replace, Path.unlink

    def replaced(source: Path, target: Path) -> None:
        nonlocal left
        counted = fnmatch(target.name, name)
        left -= counted
        hit = left == 0 and counted
        if hit and when == "before":
            with open(source, "r+b") as file:  # half of it is on disk
                file.truncate(os.path.getsize(source) // 2)
            die()
        rename(source, target)
        if hit:
            die()

    def removed(path: Path, missing_ok: bool = False) -> None:
        if when == "removing" and path.name == name:
            die()
        remove(path, missing_ok=missing_ok)

    fgsbir.atomic_files.os.replace = replaced
    Path.unlink = removed


def run_and_die(kind: str, folder: Path, moment: str) -> None:
    """Runs a training in this process up to a moment, see :func:`die_in`."""
    torch.set_num_threads(1)
    die_in(moment)
    run(kind, folder)
