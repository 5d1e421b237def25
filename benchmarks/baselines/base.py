"""The interface of a baseline, and the operations that it may offer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ..workload import Inputs

GUIDANCE = 0.5
MARGIN = 0.3
TOP = 10

Operation = Literal[
    "loss forward",
    "loss forward + backward",
    "mining",
    "pairwise forward",
    "pairwise forward + backward",
    "top-k",
]
OPERATIONS: tuple[Operation, ...] = get_args(Operation)

Tier = Literal["lean", "torch", "peer", "limit"]
"""What a baseline is, and what of the grid it is measured on beyond the main tables:

lean    this library and tuned PyTorch: other types and dimensions, to N = 16384
torch   other PyTorch: the same, to N = 4096
peer    other libraries: searches in other dimensions
limit   products of the batch alone, no baselines: nothing but what the grid names
"""

GREY = "#7d8590"

Work = Callable[[], Any]
Prepare = Callable[[Inputs], Work]  # what it does itself is not measured
Loss = Callable[[Inputs], Tensor]


class Unsupported(Exception):
    """The baseline cannot do this workload at all; the message says why."""


@dataclass(frozen=True)
class Baseline:
    """One way to compute some of the operations.

    Attributes:
        name: As tables show it.
        operations: How to set up each operation that it has.
        tier: What it is.
        slow: Whether a cell takes so long that only the main tables have it.
        requires: The module that must be installed.
        package: The package of that module, whose version the results record.
        devices: Where it runs.
        compiles: Whether the first call of every size builds code, which is no part of its time.
        memory_from_torch: Whether torch's allocator sees what it takes on a GPU.
        colour: In plots, which are transparent: one with contrast on white and on black.
        line: The style of its line there.
    """

    name: str
    operations: Mapping[Operation, Prepare]
    tier: Tier
    slow: bool = False
    requires: str = "torch"
    package: str = "torch"
    devices: tuple[str, ...] = ("cpu", "cuda")
    compiles: bool = False
    memory_from_torch: bool = True
    colour: str = GREY
    line: str = "-"

    @property
    def installed(self) -> bool:
        return find_spec(self.requires) is not None


def forward_backward(loss: Loss, inputs: Inputs) -> None:
    inputs.clear_gradients()
    loss(inputs).backward()


def loss_operations(loss: Loss) -> dict[Operation, Prepare]:
    """Both passes of a function from inputs to a scalar."""
    return {
        "loss forward": lambda inputs: partial(loss, inputs),
        "loss forward + backward": lambda inputs: partial(forward_backward, loss, inputs),
    }


def pairwise_operations(distance: Callable[[Tensor, Tensor], Tensor]) -> dict[Operation, Prepare]:
    """Both passes of an (N, M) distance; backward takes a gradient of every element."""

    def forward(inputs: Inputs) -> Work:
        return partial(distance, inputs.sketch.detach(), inputs.photo.detach())

    def both(inputs: Inputs) -> Work:
        pair = inputs.leaves[:2]
        incoming = torch.ones(len(pair[0]), len(pair[1]), dtype=torch.float32)
        incoming = incoming.to(inputs.sketch.device)

        def work() -> tuple[Tensor, ...]:
            result = distance(*pair)
            return torch.autograd.grad(result, pair, incoming.to(result.dtype))

        return work

    return {"pairwise forward": forward, "pairwise forward + backward": both}


def without_gradients(function: Callable[[Inputs], Any]) -> Prepare:
    """An operation of which no gradient is asked."""

    def prepare(inputs: Inputs) -> Work:
        return torch.no_grad()(partial(function, inputs))

    return prepare
