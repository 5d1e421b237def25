"""Where the time of the loss goes at N = M = 128, forward and backward, on the CPU.

    python -m benchmarks.small_batch

Marks the time between the calls that one step makes, and prints the lowest decile of each stretch,
which other users of the machine disturb least, and the median. The marks themselves cost some
microseconds in all.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from statistics import median, quantiles
from typing import Any
from unittest import mock

from fgsbir_ext import dispatch
from fgsbir_ext.backends import cpu

from .rivals import bare_product, fgsbir_ext, forward_backward
from .workload import Workload, make_inputs

PACK, MINE, LOSS, BACKWARD = "pack annotations", "mine", "loss kernel", "gradient kernel"
FORWARD, BACKENDS = "forward", "backward"
STRETCHES = {
    ("start", "loss"): "checks and dispatch",
    ("loss", FORWARD): "checks and dispatch",
    (f"end of {FORWARD}", "end of loss"): "autograd: the graph",
    ("end of loss", BACKENDS): "autograd: to the backward pass",
    (f"end of {BACKENDS}", "end"): "autograd: gradients to their leaves",
    **{(name, f"end of {name}"): name for name in (PACK, MINE, LOSS, BACKWARD)},
}
REST = "allocations and calls between them"


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
        seconds["in all"] = self._marks[-1][1] - self._marks[0][1]
        self._marks.clear()
        return seconds


def marked_kernels(marks: Marks) -> Callable[..., Any]:
    """In place of ``cpu._instance``."""
    find = cpu._instance
    names = {
        "mine_batch_hard": MINE,
        "attribute_triplet_loss": LOSS,
        "attribute_triplet_loss_backward": BACKWARD,
    }

    def instance(name: str, dtype: Any) -> Any:
        return marks.around(names[name], find(name, dtype)) if name in names else find(name, dtype)

    return instance


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--steps", type=int, default=3000)
    steps = parser.parse_args().steps
    inputs = make_inputs(Workload(n=128))
    marks = Marks()
    loss = marks.around("loss", fgsbir_ext)
    step = partial(forward_backward, loss, inputs)
    node = dispatch.FUNCTIONS["attribute_triplet_loss"]

    def marked(name: str, function: Callable[..., Any]) -> Any:
        return staticmethod(marks.around(name, function))

    with (
        mock.patch.object(node, "forward", marked(FORWARD, node.forward)),
        mock.patch.object(node, "backward", marked(BACKENDS, node.backward)),
        mock.patch.object(cpu, "_packed", marks.around(PACK, cpu._packed)),
        mock.patch.object(cpu, "_instance", marked_kernels(marks)),
    ):
        taken: dict[str, list[float]] = defaultdict(list)
        for number in range(steps + 100):
            marks("start")
            step()
            marks("end")
            seconds = marks.take()
            if number >= 100:
                for name, value in seconds.items():
                    taken[name].append(value)
    products = []
    for _ in range(steps):
        began = time.perf_counter()
        bare_product(inputs)
        products.append(time.perf_counter() - began)
    taken["for comparison: the bare product, alone"] = products

    print("| | lowest decile, µs | median, µs |\n| --- | --- | --- |")
    for name, values in taken.items():
        low = quantiles(values, n=10)[0]
        print(f"| {name} | {low * 1e6:.0f} | {median(values) * 1e6:.0f} |")


if __name__ == "__main__":
    main()
