"""Time that the host takes for a step of the loss on CUDA, measured where there is no GPU.

    python -m benchmarks.studies.host_time --out benchmarks/results/speed/host-time.json

The CUDA backend runs over the host emulation of its kernels, which is told to run no grid: what is
left is Python, torch's allocations (of the CPU's memory) and the C++ up to the launches. Beside it
stands a torch.autograd.Function of the same inputs that only allocates their gradients: what any
loss whose gradients come from Python takes at least. They are timed in bursts, in turns; the lowest
decile of the steps is what other users of the machine disturb least.

Left out: asking CUDA for the current device and its stream, the launches, and the change to the
thread that torch runs the backward pass of a CUDA device on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from fgsbir_ext import _dispatch as dispatch

from ..baselines import fgsbir_ext, forward_backward
from ..workload import Inputs, Workload, make_inputs
from .steps import BURST, Seconds, burst, command

STEP, FORWARD = "forward and backward", "forward"
FORWARD_KERNELS, BACKWARD_KERNELS = (
    "of it: forward of the backend",
    "of it: backward of the backend",
)
LEAST = "a function that only allocates, forward and backward"


class AllocatesOnly(torch.autograd.Function):
    """A scalar of four tensors, whose gradients are memory without content."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> Tensor:
        ctx.save_for_backward(*tensors)
        return tensors[0].new_empty(())

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor, ...]:
        return tuple([torch.empty_like(x) for x in ctx.saved_tensors])


def only_allocate(inputs: Inputs) -> Tensor:
    """:class:`AllocatesOnly` of what the loss has gradients of."""
    return AllocatesOnly.apply(*inputs.leaves)  # type: ignore[no-untyped-call, no-any-return]


def time_steps(steps: int) -> Seconds:
    """Seconds of every step of each kind."""
    from tests.emulation import plugin

    plugin.register()
    plugin.emulated.set_runs(False)
    plugin.emulated.set_records(False)
    inputs = make_inputs(Workload(n=128))
    work = {
        STEP: partial(forward_backward, fgsbir_ext, inputs),
        FORWARD: partial(fgsbir_ext, inputs),
        **_of_the_backend(inputs),
        LEAST: partial(forward_backward, only_allocate, inputs),
    }
    taken: dict[str, list[float]] = defaultdict(list)
    for number in range(steps // BURST + 1):
        for name, step in work.items():
            taken[name] += burst(step)
        if number == 0:
            taken.clear()  # it was to warm up
    return taken


def _of_the_backend(inputs: Inputs) -> dict[str, Callable[[], Any]]:
    """The operations below checks and autograd, with the arguments that a step has for them."""
    kernels = dispatch.KERNELS["cpu"]
    calls: dict[str, tuple[Any, ...]] = {}

    def recorded(name: str, kernel: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            calls[name] = arguments
            return kernel(*arguments)

        return run

    names = ("attribute_triplet_loss", "attribute_triplet_loss_backward")
    with mock.patch.dict(kernels, {name: recorded(name, kernels[name]) for name in names}):
        forward_backward(fgsbir_ext, inputs)

    def run(name: str) -> None:
        with torch.no_grad():
            kernels[name](*calls[name])

    return {FORWARD_KERNELS: partial(run, names[0]), BACKWARD_KERNELS: partial(run, names[1])}


if __name__ == "__main__":
    command("benchmarks.studies.host_time", __doc__.splitlines()[0], time_steps)
