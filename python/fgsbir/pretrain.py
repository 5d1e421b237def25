"""Pretraining of a trunk: naming what sketches show, before learning which photo they show.

From the command line: ``fgsbir pretrain --data tu_berlin.npz --backbone sketchanet --out DIR``.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from tqdm import tqdm

from .checkpoint import Pretrained, save_pretrained
from .config import AugmentConfig, PretrainConfig
from .data.classes import ClassifiedSketches
from .models import RetrievalModel, build_model
from .state import TrainingState
from .train import LOG_NAME, choose_device, create_optimizer, has_fast_bfloat16, lr_factor
from .transforms import as_float, augment, source_size, to_ink


class Classifier(nn.Module):
    """The trunk of a retrieval model under a linear layer of C classes."""

    def __init__(self, model: RetrievalModel, classes: int) -> None:
        super().__init__()
        self.model = model
        self.head = nn.Linear(model.embedding.in_features, classes)

    def forward(self, ink: Tensor) -> Tensor:
        """(B, C) logits of (B, 1, size, size) images in [0, 1], ink 1 on background 0."""
        logits: Tensor = self.head(self.model.features(ink))
        return logits


def pretrain(
    sketches: ClassifiedSketches, config: PretrainConfig, out: str | Path, *, progress: bool = True
) -> Pretrained:
    """Trains a trunk as a classifier and leaves it and the log in a folder.

    A run that was killed goes on from its last whole epoch when it is started again.

    Args:
        sketches: what to learn from; ``config.holdout`` of them are only scored.
        config: everything else.
        out: the run's folder, made if need be.
        progress: whether to show a progress bar and one line of figures per epoch, on stderr.

    Raises:
        ValueError: for a configuration that does not fit the data, or an unfinished run with
            other settings in the folder.
        FloatingPointError: when the loss stops being finite.
    """
    config.check()
    device = choose_device(config.device)
    torch.manual_seed(config.seed)
    generator = Generator().manual_seed(config.seed)
    order = np.random.default_rng(config.seed).permutation(len(sketches.images))
    held, rest = order[: config.holdout], order[config.holdout :]
    if len(rest) < config.optim.batch_size:
        raise ValueError(f"{sketches.name}: {len(rest)} images are less than one batch")

    network = build_model(
        config.model.backbone,
        size=config.model.size,
        width=config.model.width,
        batch_norm=config.model.batch_norm,
        dropout=config.model.dropout,
    )
    classifier = Classifier(network, len(sketches.classes)).to(device)
    classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    reduced = config.precision == "bfloat16" or (
        config.precision == "auto" and has_fast_bfloat16(device)
    )
    steps = len(rest) // config.optim.batch_size
    optimizer = create_optimizer(classifier, config.optim)
    schedule = LambdaLR(optimizer, lambda step: lr_factor(step / steps, config.optim))
    facts = {"config": config.to_dict(), "data": sketches.name, "images": len(sketches.images)}
    state = TrainingState(
        {"classifier": classifier}, optimizer, schedule, generator, json.dumps(facts)
    )

    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    resumed = state.load(out)
    inks = to_ink(sketches.images, source_size(network.size))
    labels = torch.tensor(sketches.labels)
    with open(out / LOG_NAME, "a" if resumed else "w", encoding="utf-8") as log:
        while state.epoch < config.optim.epochs:
            start = time.perf_counter()
            classifier.train()
            total, seen = 0.0, 0
            chosen = torch.tensor(rest)[torch.randperm(len(rest), generator=generator)]
            batches = list(chosen[: steps * config.optim.batch_size].split(config.optim.batch_size))
            bar = tqdm(batches, f"epoch {state.epoch + 1}", leave=False, disable=not progress)
            for images, target in _augmented(bar, inks, labels, network.size, config, generator):
                loss = _step(classifier, images.to(device), target.to(device), config, reduced)
                optimizer.step()
                schedule.step()
                total, seen = total + loss, seen + 1
            state.epoch += 1
            record: dict[str, Any] = {
                "epoch": state.epoch,
                "loss": total / seen,
                "lr": schedule.get_last_lr()[0],
            }
            if len(held):
                record["held_out_accuracy"] = _accuracy(
                    classifier, inks[held], labels[held], device, reduced
                )
            record["seconds"] = time.perf_counter() - start
            pretrained = Pretrained(network.trunk, config, sketches.name, state.epoch)
            save_pretrained(out, pretrained)
            log.write(json.dumps(record) + "\n")
            log.flush()
            state.save(out)
            if progress:
                tqdm.write("  ".join(f"{k} {v:.4g}" for k, v in record.items()), file=sys.stderr)
    return Pretrained(network.trunk.eval(), config, sketches.name, state.epoch)


def _augmented(
    batches: tqdm[Tensor],
    inks: Tensor,
    labels: Tensor,
    size: int,
    config: PretrainConfig,
    generator: Generator,
) -> Iterator[tuple[Tensor, Tensor]]:
    augmentation: AugmentConfig = config.augment
    for chosen in batches:
        mirrored = torch.rand(len(chosen), generator=generator) < augmentation.flip
        images = augment(as_float(inks[chosen]), size, augmentation, generator, mirrored)
        yield images, labels[chosen]


def _step(
    classifier: Classifier, images: Tensor, target: Tensor, config: PretrainConfig, reduced: bool
) -> float:
    """One gradient, ready for the optimizer; returns the loss."""
    images = images.contiguous(memory_format=torch.channels_last)
    with torch.autocast(images.device.type, torch.bfloat16, enabled=reduced):
        logits = classifier(images)
    loss = F.cross_entropy(logits.float(), target, label_smoothing=config.label_smoothing)
    classifier.zero_grad(set_to_none=True)
    loss.backward()
    if config.optim.clip_norm:
        nn.utils.clip_grad_norm_(classifier.parameters(), config.optim.clip_norm)
    value = loss.item()
    if not math.isfinite(value):
        raise FloatingPointError(f"the loss is {value}; a lower --lr or a longer warm-up may help")
    return value


@torch.no_grad()
def _accuracy(
    classifier: Classifier, inks: Tensor, labels: Tensor, device: torch.device, reduced: bool
) -> float:
    """Share of images named right, in percent."""
    classifier.eval()
    size = classifier.model.size
    right = 0
    for images, target in zip(inks.split(64), labels.split(64), strict=True):
        ink = F.interpolate(as_float(images.to(device)), (size, size))
        with torch.autocast(device.type, torch.bfloat16, enabled=reduced):
            right += int((classifier(ink).argmax(1).cpu() == target).sum())
    return 100 * right / len(labels)
