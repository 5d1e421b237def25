"""Measurement of time and memory of one baseline on one workload.

The baseline and the bare product take turns, so that whatever else the machine does falls on both:
the ratio of a pair of neighbours is what tables quote.
"""

from __future__ import annotations

import ctypes
import math
import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median, quantiles

import torch

from ..baselines import BASELINES, Operation
from ..baselines.base import Work
from ..baselines.limit import bare_product
from ..workload import Inputs, make_inputs
from .grid import Cell

LONG = 5.0  # seconds of one call, from which on the first one counts
SHORTEST = 1e-3  # seconds of a round: shorter calls are repeated within it


@dataclass(frozen=True)
class Series:
    """Times in seconds of one call, or ratios."""

    median: float
    low: float  # first quartile
    high: float  # third quartile
    smallest: float
    rounds: int

    @staticmethod
    def of(values: list[float]) -> Series:
        low, _, high = quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
        return Series(median(values), low, high, min(values), len(values))


@dataclass(frozen=True)
class Measurement:
    """What a cell's process reports.

    Attributes:
        time: Of the baseline.
        product: Of the bare product between its calls; None where that did not fit.
        ratio: Of neighbours, baseline / product.
        peak_bytes: Peak of memory during a call, beyond inputs and gradients, results included;
            None where it cannot be told.
    """

    time: Series
    product: Series | None
    ratio: Series | None
    peak_bytes: int | None


def measure(cell: Cell, budget: float, limit: float) -> Measurement:
    """Runs a cell in this process.

    Args:
        cell: What to run.
        budget: Seconds that the rounds may take; three are taken in any case,
        limit: unless this many seconds are over, after which no round begins.
    """
    baseline = BASELINES[cell.baseline]
    prepare = baseline.operations[cell.operation]
    device = cell.workload.device
    began = time.perf_counter()

    # Code is loaded, threads are started: on rows enough to make the product use them all.
    small = replace(cell.workload, n=min(cell.workload.n, 300), m=None)
    warm = make_inputs(cell.workload if baseline.compiles else small)
    prepare(warm)()
    bare_product(warm)
    del warm

    inputs = make_inputs(cell.workload)
    work = prepare(inputs)
    yardstick = partial(bare_product, inputs) if find_matrix(inputs) else None
    peak, first = peak_bytes(work, device)
    if peak is not None:
        peak = max(0, peak - gradient_bytes(cell.operation, inputs))
    if device == "cuda" and not baseline.memory_from_torch:
        peak = None
    times, products = _rounds(work, yardstick, device, first, budget, began + limit)
    return Measurement(
        Series.of(times),
        Series.of(products) if products else None,
        Series.of([t / p for t, p in zip(times, products, strict=True)]) if products else None,
        peak,
    )


def find_matrix(inputs: Inputs) -> bool:
    """Whether there is room for an (N, M) matrix.

    If so it has been held once: finding so much memory for the first time can take as long as the
    product, and would fall on whatever is timed first.
    """
    try:
        inputs.sketch.new_zeros(len(inputs.sketch), len(inputs.photo)).add_(1)
    except (MemoryError, RuntimeError):
        return False
    return True


def gradient_bytes(operation: Operation, inputs: Inputs) -> int:
    """What an operation must return as gradients."""
    if "backward" not in operation:
        return 0
    leaves = inputs.leaves[:2] if "pairwise" in operation else inputs.leaves
    return sum(leaf.nbytes for leaf in leaves)


def _rounds(
    work: Work, yardstick: Work | None, device: str, first: float, budget: float, deadline: float
) -> tuple[list[float], list[float]]:
    """Times of the baseline, and of the product right after each."""
    loops = product_loops = 1
    times: list[float] = []
    products: list[float] = []
    if first >= LONG:
        times.append(first)
        if yardstick:
            products.append(elapsed(yardstick, device))
    else:  # once more, now that its memory is known
        loops = _loops(elapsed(work, device))
        if yardstick:
            product_loops = _loops(elapsed(yardstick, device))
    ends = time.perf_counter() + budget
    while len(times) < 3 or time.perf_counter() < ends:
        if times and time.perf_counter() > deadline:
            break
        times.append(elapsed(work, device, loops))
        if yardstick:
            products.append(elapsed(yardstick, device, product_loops))
    return times, products


def _loops(seconds: float) -> int:
    return max(1, math.ceil(SHORTEST / seconds))


def elapsed(work: Work, device: str, loops: int = 1) -> float:
    """Seconds of one call, from a clock that the device's work has stopped."""
    if device == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(loops):
        work()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / loops


# --- Memory ---------------------------------------------------------------------------------------


def peak_bytes(work: Work, device: str) -> tuple[int | None, float]:
    """The peak of memory during one call over what was held before it, and the call's seconds."""
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        seconds = elapsed(work, device)
        return torch.cuda.max_memory_allocated() - before, seconds
    if sys.platform != "linux":
        return None, elapsed(work, device)
    # Pages that were freed but are still resident would hide as many new ones.
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = _resident("VmRSS")
    seconds = elapsed(work, device)
    return _resident("VmHWM") - before, seconds


def _resident(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {name} in /proc/self/status")
