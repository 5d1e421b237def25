"""The training loop: data, augmentation, model, loss, optimizer, log, checkpoint.

From the command line: ``fgsbir train --data DIR --category shoes --out runs/shoes``.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, TextIO

import torch
from torch import Generator, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from tqdm import tqdm

from .batches import Batch, PairBatches, hold_out
from .checkpoint import DataFacts, Run, create_model, init_trunk, save_run
from .config import EvalConfig, OptimConfig, TrainConfig
from .data.dataset import SketchPhotoSet
from .evaluate import evaluate
from .models import Output, RetrievalModel
from .objective import Objective

LOG_NAME = "log.jsonl"


def train(
    data: SketchPhotoSet,
    config: TrainConfig,
    out: str | Path,
    *,
    category: str | None = None,
    progress: bool = True,
) -> Run:
    """Trains a model on a split and leaves its checkpoint and its log in a folder.

    Args:
        data: the training split.
        config: everything else.
        out: the run's folder, made if need be; the log and checkpoint of an earlier run in it
            are replaced.
        category: noted in the checkpoint, for ``fgsbir evaluate`` to open the same one.
        progress: whether to show a progress bar and one line of figures per epoch, on stderr.

    Raises:
        ValueError: for a configuration that does not fit the data.
        FloatingPointError: when the loss stops being finite.
    """
    config.check()
    torch.manual_seed(config.seed)  # weights and dropout
    generator = Generator().manual_seed(config.seed)  # batches and augmentation
    annotated = data.sketch_attributes is not None or data.photo_attributes is not None
    facts = DataFacts(data.name, category, data.attribute_names if annotated else ())
    device = choose_device(config.device)
    model = create_model(config, facts)
    if config.init is not None:
        init_trunk(model, config.model, config.init)
    model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    reduced = config.precision == "bfloat16" or (
        config.precision == "auto" and has_fast_bfloat16(device)
    )
    held = None
    if config.holdout:
        data, held = hold_out(data, config.holdout, config.seed)
    batches = PairBatches(data, model.size, config.optim.batch_size, config.augment, generator)
    objective = Objective(config.loss)
    optimizer = create_optimizer(model, config.optim)
    schedule = LambdaLR(optimizer, lambda step: lr_factor(step / len(batches), config.optim))

    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    with open(out / LOG_NAME, "w", encoding="utf-8") as log:
        for epoch in range(1, config.optim.epochs + 1):
            start = time.perf_counter()
            lr = schedule.get_last_lr()[0]
            bar = tqdm(batches, f"epoch {epoch}", leave=False, disable=not progress)
            figures = _epoch(bar, model, objective, optimizer, schedule, config, reduced)
            record: dict[str, Any] = {
                "epoch": epoch,
                **figures,
                "lr": lr,
                "seconds": time.perf_counter() - start,
            }
            last = epoch == config.optim.epochs
            if last or epoch % config.eval_every == 0:
                if held is not None:
                    scores = evaluate(model, held, EvalConfig(metric=config.loss.metric))
                    record["held_out"] = scores.to_dict()
                save_run(out, Run(model, config, facts, epoch))
            _report(record, log, progress)
    return Run(model.eval(), config, facts, config.optim.epochs)


def _epoch(
    batches: tqdm[Batch],
    model: RetrievalModel,
    objective: Objective,
    optimizer: Optimizer,
    schedule: LambdaLR,
    config: TrainConfig,
    reduced: bool,
) -> dict[str, float]:
    """One pass over the batches; returns the mean of every figure."""
    model.train()
    sums: dict[str, float] = defaultdict(float)
    for batch in batches:
        batch = batch.to(config.device)
        sketch, photo = embed_pairs(model, batch, reduced)
        loss, figures = objective(sketch, photo, batch)
        if not math.isfinite(figures["loss"]):
            raise FloatingPointError(
                f"the loss is {figures['loss']}; a lower --lr or a longer warm-up may help"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if config.optim.clip_norm:
            nn.utils.clip_grad_norm_(model.parameters(), config.optim.clip_norm)
        optimizer.step()
        schedule.step()
        for name, value in figures.items():
            sums[name] += value / len(batches)
    return dict(sums)


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether the processor multiplies bfloat16 natively; False where torch cannot tell."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if not hasattr(torch.cpu, "get_capabilities"):  # older versions of torch
        return False
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))


def embed_pairs(model: RetrievalModel, batch: Batch, reduced: bool) -> tuple[Output, Output]:
    """Both branches in one call, so that batch normalisation sees sketches and photos alike."""
    images = torch.cat([batch.sketch, batch.photo]).contiguous(memory_format=torch.channels_last)
    with torch.autocast(images.device.type, torch.bfloat16, enabled=reduced):
        embedding, logits = model(images)
    n = len(batch.sketch)
    if logits is None:
        return Output(embedding[:n], None), Output(embedding[n:], None)
    return Output(embedding[:n], logits[:n]), Output(embedding[n:], logits[n:])


def create_optimizer(model: nn.Module, config: OptimConfig) -> Optimizer:
    """AdamW or SGD, with weight decay on matrices and convolutions alone."""
    groups: list[dict[str, Any]] = [
        {"params": [p for p in model.parameters() if p.ndim > 1]},
        {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, weight_decay=config.weight_decay)
    return torch.optim.SGD(
        groups, lr=config.lr, momentum=0.9, nesterov=True, weight_decay=config.weight_decay
    )


def lr_factor(epoch: float, config: OptimConfig) -> float:
    """Share of the highest learning rate after so many (fractional) epochs."""
    if epoch < config.warmup_epochs:
        return (epoch + 0.1) / (config.warmup_epochs + 0.1)
    rest = max(config.epochs - config.warmup_epochs, 1e-9)
    return 0.5 * (1 + math.cos(math.pi * min((epoch - config.warmup_epochs) / rest, 1)))


def choose_device(name: str) -> torch.device:
    """The device of a name; a ValueError where torch does not know it or sees no GPU."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device: {str(error).splitlines()[0]}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device: {name} asked for, but torch sees no GPU")
    return device


def _report(record: dict[str, Any], log: TextIO, progress: bool) -> None:
    """One line of JSON for programs, one of figures for people."""
    log.write(json.dumps(record) + "\n")
    log.flush()
    if progress:
        held = record.get("held_out", {})
        figures = {**record, **{k: held[k] for k in ("acc@1", "acc@10") if k in held}}
        line = "  ".join(
            f"{name} {value:.4g}" for name, value in figures.items() if isinstance(value, float)
        )
        tqdm.write(f"epoch {record['epoch']:3d}  {line}", file=sys.stderr)
