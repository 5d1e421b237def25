"""Optimizer step: the optimizer, its schedule, and the average of the weights."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

from ..config import OptimConfig


class Stepper:
    """Moves the weights of a network against the gradient of a loss.

    Args:
        network: whose weights to move.
        config: how.
        steps: batches in an epoch, which the schedule counts in.

    Attributes:
        optimizer, schedule: torch's own.
        averaged: the running average of the weights; None where none is asked for.
    """

    def __init__(self, network: nn.Module, config: OptimConfig, steps: int) -> None:
        self.network = network
        self.clip_norm = config.clip_norm
        self.optimizer = create_optimizer(network, config)
        self.schedule = LambdaLR(self.optimizer, lambda step: lr_factor(step / steps, config))
        self.averaged = average_of(network, config.average_decay)

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return float(self.schedule.get_last_lr()[0])

    def step(self, loss: Tensor) -> None:
        """Differentiates a loss and moves the weights.

        Raises:
            FloatingPointError: when the loss is not finite.
        """
        value = loss.item()
        if not math.isfinite(value):
            raise FloatingPointError(
                f"the loss is {value}; a lower --lr or a longer warm-up may help "
                "(with --overwrite, to start anew)"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.clip_norm:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.clip_norm)
        self.optimizer.step()
        self.schedule.step()
        if self.averaged is not None:
            self.averaged.update_parameters(self.network)


def create_optimizer(network: nn.Module, config: OptimConfig) -> Optimizer:
    """AdamW or SGD, with weight decay on matrices and convolutions alone."""
    groups: list[dict[str, Any]] = [
        {"params": [p for p in network.parameters() if p.ndim > 1]},
        {"params": [p for p in network.parameters() if p.ndim <= 1], "weight_decay": 0.0},
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


def average_of(network: nn.Module, decay: float) -> AveragedModel | None:
    """An exponential moving average of weights and of the statistics of batch normalisation.

    After n steps it keeps (1 + n) / (10 + n) of the old if that is less than the decay, so that the
    weights that were drawn at random leave no trace. None for a decay of 0.
    """
    if not decay:
        return None

    def average(kept: Tensor, new: Tensor, count: Tensor | int) -> Tensor:
        if not kept.is_floating_point():  # the number of batches that batch normalisation saw
            return new
        # As a tensor, since on a GPU the processor would wait for its value.
        forgotten = (9 / (10 + torch.as_tensor(count, device=kept.device))).clamp(min=1 - decay)
        return kept.lerp(new, forgotten.to(kept.dtype))

    return AveragedModel(network, avg_fn=average, use_buffers=True)
