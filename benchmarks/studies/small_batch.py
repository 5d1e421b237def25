"""Breakdown of the time of the loss at N = M = 128, forward and backward, on the CPU.

    python -m benchmarks.studies.small_batch --out benchmarks/results/speed/small-batch.json

Marks the time between the calls that one step makes: the lowest decile of each stretch, which other
users of the machine disturb least, and the median. The marks themselves cost some microseconds in
all. Steps without marks and the bare product are timed between, in turns.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any
from unittest import mock

from fgsbir_ext import _dispatch as dispatch
from fgsbir_ext._backends import cpu

from ..baselines import bare_product, fgsbir_ext, forward_backward
from ..workload import Workload, make_inputs
from .steps import BURST, Seconds, burst, command

PACK, LOSS, BACKWARD = "pack annotations", "mining and loss kernels", "gradient kernel"
FORWARD, BACKWARD_PASS = "forward", "backward"
STRETCHES = {
    ("start", "loss"): "leaves without gradients",
    ("loss", FORWARD): "checks and dispatch",
    (f"end of {FORWARD}", "end of loss"): "autograd: the graph",
    ("end of loss", BACKWARD_PASS): "autograd: to the backward pass",
    (f"end of {BACKWARD_PASS}", "end"): "autograd: gradients to their leaves",
    **{(name, f"end of {name}"): name for name in (PACK, LOSS, BACKWARD)},
}
REST = "allocations and calls between them"
MARKED, UNMARKED, PRODUCT = "in all, with marks", "in all, without marks", "the bare product"


class Marks:
    """Points in time of one step."""

    def __init__(self) -> None:
        self._marks: list[tuple[str, float]] = []

    def __call__(self, name: str) -> None:
        self._marks.append((name, time.perf_counter()))

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def marked(*args: Any) -> Any:
            self(name)
            result = function(*args)
            self(f"end of {name}")
            return result

        return marked

    def take(self) -> dict[str, float]:
        """Seconds of every stretch since the last call."""
        seconds: dict[str, float] = defaultdict(float)
        for (name, began), (following, ended) in zip(self._marks, self._marks[1:], strict=False):
            seconds[STRETCHES.get((name, following), REST)] += ended - began
        seconds[MARKED] = self._marks[-1][1] - self._marks[0][1]
        self._marks.clear()
        return seconds


def marked_kernels(marks: Marks) -> Callable[..., Any]:
    """In place of ``cpu._instance``."""
    find = cpu._instance
    names = {"attribute_triplet_loss": LOSS, "attribute_triplet_loss_backward": BACKWARD}

    def instance(name: str, dtype: Any) -> Any:
        return marks.around(names[name], find(name, dtype)) if name in names else find(name, dtype)

    return instance


def time_stretches(steps: int) -> Seconds:
    """Seconds of every stretch of every step, and of what they are compared with."""
    inputs = make_inputs(Workload(n=128))
    marks = Marks()
    loss = marks.around("loss", fgsbir_ext)
    step = partial(forward_backward, loss, inputs)
    node = dispatch.FUNCTIONS["attribute_triplet_loss"].__self__

    def marked(name: str, function: Callable[..., Any]) -> Any:
        return staticmethod(marks.around(name, function))

    patches = [
        mock.patch.object(node, "forward", marked(FORWARD, node.forward)),
        mock.patch.object(node, "backward", marked(BACKWARD_PASS, node.backward)),
        mock.patch.object(cpu, "_packed", marks.around(PACK, cpu._packed)),
        mock.patch.object(cpu, "_instance", marked_kernels(marks)),
    ]
    unmarked_step = partial(forward_backward, fgsbir_ext, inputs)
    product = partial(bare_product, inputs)
    taken: dict[str, list[float]] = defaultdict(list)
    for number in range(steps // BURST + 1):
        with ExitStack() as stack:
            for patch in patches:
                stack.enter_context(patch)
            for _ in range(BURST):
                marks("start")
                step()
                marks("end")
                seconds = marks.take()
                for name, value in seconds.items():
                    taken[name].append(value)
        for name, work in ((UNMARKED, unmarked_step), (PRODUCT, product)):
            taken[name] += burst(work)
        if number == 0:
            taken.clear()  # it was to warm up
    return taken


if __name__ == "__main__":
    command("benchmarks.studies.small_batch", __doc__.splitlines()[0], time_stretches)
