"""Pretraining of a backbone as a classifier of sketches.

From the command line: ``fgsbir pretrain --data tu_berlin.npz --backbone sketchanet --out DIR``.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from tqdm import tqdm

from ..config import AugmentConfig, PretrainConfig
from ..data.classified_images import ClassifiedSketches
from ..models.checkpoint import (
    BACKBONE_NAME,
    DataFacts,
    Pretrained,
    create_model,
    load_pretrained,
    save_pretrained,
)
from ..models.preprocess import (
    Preprocessing,
    as_float,
    augment,
    sketches_to_ink,
    source_size,
)
from ..models.retrieval import RetrievalModel
from .device import choose_device, image_format, takes_bfloat16
from .fingerprint import content_digest
from .optim import Stepper
from .resumable import run_to_the_end
from .training_state import TrainingState


class Classifier(nn.Module):
    """The backbone of a retrieval model under a linear layer of C classes."""

    def __init__(self, model: RetrievalModel, classes: int) -> None:
        super().__init__()
        self.model = model
        self.head = nn.Linear(model.feature_dim, classes)

    def forward(self, ink: Tensor) -> Tensor:
        """(B, C) logits of images as the model takes them."""
        logits: Tensor = self.head(self.model.features(ink))
        return logits


def pretrain(
    sketches: ClassifiedSketches,
    config: PretrainConfig,
    out: str | Path,
    *,
    overwrite: bool = False,
    tensorboard: bool = False,
    progress: bool = True,
) -> Pretrained:
    """Trains a backbone as a classifier and leaves it and the log in a folder.

    A run that was killed resumes after its last whole epoch when it is started again with the same
    data and settings; one that is finished is given back as it is.

    Args:
        sketches: what to learn from; ``config.holdout`` of them are only scored.
        config: everything else.
        out: the run's folder, made if need be.
        overwrite: start anew, and replace what a run with whatever settings left in the folder.
        tensorboard: also write the figures of the log for TensorBoard.
        progress: whether to show a progress bar and one line of figures per epoch, on stderr.

    Raises:
        ValueError: for a configuration that does not fit the data, an image that cannot be read, a
            run with other data or settings in the folder, or another process that writes there.
        FloatingPointError: when the loss stops being finite.
    """
    config.check()
    device = choose_device(config.device)
    torch.manual_seed(config.seed)
    generator = Generator().manual_seed(config.seed)
    network = create_model(config, DataFacts(sketches.name))
    _check_memory(sketches, network.preprocessing)
    order = np.random.default_rng(config.seed).permutation(len(sketches.images))
    held, rest = order[: config.holdout], order[config.holdout :]
    batch_size = config.optim.batch_size
    if len(rest) < batch_size:
        raise ValueError(f"{sketches.name}: {len(rest)} images are less than one batch")

    classifier = Classifier(network, len(sketches.classes)).to(device)
    classifier.to(memory_format=image_format(device))  # type: ignore[call-overload]
    reduced = takes_bfloat16(config.precision, device)
    given = network.preprocessing
    inks = sketches_to_ink(sketches.images, replace(given, size=source_size(given.size)))
    labels = torch.tensor(sketches.labels)
    digest = content_digest(inks.numpy(), sketches.labels, *sketches.classes)
    steps = len(rest) // batch_size
    stepper = Stepper(classifier, config.optim, steps)
    averaged = stepper.averaged
    result = classifier if averaged is None else cast(Classifier, averaged.module)
    task = {"config": config.to_dict(), "data": sketches.name, "digest": digest}
    state = TrainingState(classifier, stepper, generator, task)

    def one_epoch() -> dict[str, Any]:
        start, epoch = time.perf_counter(), state.epoch + 1
        classifier.train()
        total = 0.0
        chosen = torch.tensor(rest)[torch.randperm(len(rest), generator=generator)]
        batches = list(chosen[: steps * batch_size].split(batch_size))
        for batch in tqdm(batches, f"epoch {epoch}", leave=False, disable=not progress):
            images = _augmented(inks[batch], given.size, config.augment, generator).to(device)
            loss = _loss(classifier, images, labels[batch].to(device), config, reduced)
            stepper.step(loss)
            total += loss.item()
        record = {"loss": total / steps, "lr": stepper.lr}
        if len(held):
            record["held_out_accuracy"] = _accuracy(
                result, inks[held], labels[held], device, reduced
            )
        return {**record, "seconds": time.perf_counter() - start}

    def pretrained(epoch: int) -> Pretrained:
        return Pretrained(result.model.trunk, config, sketches.name, epoch, digest)

    out = Path(out)
    trained = run_to_the_end(
        state,
        config.optim.epochs,
        one_epoch,
        lambda epoch: save_pretrained(out, pretrained(epoch)),
        out / BACKBONE_NAME,
        save_every=1,
        overwrite=overwrite,
        tensorboard=tensorboard,
        progress=progress,
    )
    if not trained:
        return load_pretrained(out)
    result.eval()
    return pretrained(config.optim.epochs)


def _check_memory(sketches: ClassifiedSketches, given: Preprocessing) -> None:
    needed = len(sketches.images) * given.channels * source_size(given.size) ** 2
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > there:
        raise ValueError(
            f"{sketches.name}: {len(sketches.images)} images take {needed / 1e9:.1f} GB, more than "
            f"the {there / 1e9:.1f} GB of memory here; per_class takes fewer of each class"
        )


def _augmented(inks: Tensor, size: int, config: AugmentConfig, generator: Generator) -> Tensor:
    mirrored = torch.rand(len(inks), generator=generator) < config.flip
    return augment(as_float(inks), size, config, generator, mirrored)


def _loss(
    classifier: Classifier, images: Tensor, target: Tensor, config: PretrainConfig, reduced: bool
) -> Tensor:
    images = images.contiguous(memory_format=image_format(images.device))
    with torch.autocast(images.device.type, torch.bfloat16, enabled=reduced):
        logits = classifier(images)
    return F.cross_entropy(logits.float(), target, label_smoothing=config.label_smoothing)


@torch.no_grad()
def _accuracy(
    classifier: Classifier, inks: Tensor, labels: Tensor, device: torch.device, reduced: bool
) -> float:
    """Share of images named right, in percent."""
    classifier.eval()
    size = classifier.model.preprocessing.size
    right = 0
    for images, target in zip(inks.split(64), labels.split(64), strict=True):
        ink = F.interpolate(as_float(images.to(device)), (size, size))
        with torch.autocast(device.type, torch.bfloat16, enabled=reduced):
            right += int((classifier(ink).argmax(1).cpu() == target).sum())
    return 100 * right / len(labels)
