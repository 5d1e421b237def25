"""Measuring instruments: the profiler, CUDA graphs, queued timings, comparison of results."""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

import fgsbir_ext as fx

from ..kernel_report.blocks import short_name
from ..workload import Inputs

_ON_THE_DEVICE = ("kernel", "gpu_memcpy", "gpu_memset")
_CYCLES_PER_SECOND = 2e9  # no GPU's clock is much faster


def launched(work: Callable[[], Any]) -> list[dict[str, Any]]:
    """Kernels, copies and fills that the device carries out, as the profiler sees them.

    Each has its name and its time in microseconds.
    """
    from torch.profiler import ProfilerActivity, profile

    work()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        work()
        torch.cuda.synchronize()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder, "trace.json")
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    return [
        {"name": short_name(event["name"]), "us": event["dur"]}
        for event in sorted(events, key=lambda event: event.get("ts", 0))
        if event.get("cat") in _ON_THE_DEVICE
    ]


def capture(step: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
    """A step's results in a CUDA graph, and what computes them anew, in place."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = step()
    return results, graph.replay


@dataclass(frozen=True)
class Timing:
    """Microseconds of one call.

    Attributes:
        device_us: Between events around queued calls: the median of rounds.
        low_us, high_us: The fastest and the slowest round.
        host_us: From a call to its return, while the device was kept from starting; where it was
            not, of one call on an idle device.
        calls: In a round.
        rounds: How many.
        queued: Whether the calls had all been queued before the first began. If not, the host's
            time is in the device's.
    """

    device_us: float
    low_us: float
    high_us: float
    host_us: float
    calls: int
    rounds: int
    queued: bool

    def figures(self) -> dict[str, Any]:
        return {k: round(v, 2) if isinstance(v, float) else v for k, v in asdict(self).items()}


def time_queued(work: Callable[[], Any], budget: float = 0.25, most_calls: int = 20) -> Timing:
    """Times calls that wait in the stream's queue, so that Python is no part of the device's time.

    A kernel that does nothing holds the device until the calls are queued. Rounds of at most
    ``most_calls`` calls take some ``budget`` seconds in all, and at least one call in one round.
    """
    for _ in range(3):  # code is loaded; torch.compile's graphs are captured at the second call
        work()
    torch.cuda.synchronize()
    began = time.perf_counter()
    work()
    host = time.perf_counter() - began
    torch.cuda.synchronize()
    whole = time.perf_counter() - began
    calls = max(1, min(most_calls, int(budget / 5 / whole)))
    rounds = max(1, min(5, int(budget / (calls * whole))))
    hold = 2e-3 + 2 * calls * host

    times, hosts = [], []
    queued = True
    while len(times) < rounds:
        device_seconds, host_seconds, in_time = _round(work, calls, hold)
        if queued and not in_time:  # the host was slow, or the queue was full and made it wait
            queued, calls = calls > 1, max(1, calls // 2)
            continue
        times.append(1e6 * device_seconds)
        hosts.append(1e6 * (host_seconds if queued else host))
    return Timing(median(times), min(times), max(times), median(hosts), calls, rounds, queued)


def _round(work: Callable[[], Any], calls: int, hold: float) -> tuple[float, float, bool]:
    """Seconds of a call on the device and on the host, and whether the device was held for all."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda._sleep(math.ceil(hold * _CYCLES_PER_SECOND))
    start.record()
    began = time.perf_counter()
    for _ in range(calls):
        work()
    host = time.perf_counter() - began
    in_time = not start.query()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1e3 / calls, host / calls, in_time


def context_is_broken() -> bool:
    """Whether an error has made the CUDA context of this process useless."""
    if not torch.cuda.is_available():
        return False
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return True
    return False


def loss_of(
    inputs: Inputs, loss: Callable[..., Any] = fx.attribute_triplet_loss, **options: Any
) -> Any:
    """The loss of embeddings, logits and attributes; photo i is the positive of sketch i."""
    return loss(inputs.sketch, inputs.photo, **inputs.both("logits", "attributes"), **options)


def results_of(inputs: Inputs, **options: Any) -> list[Tensor]:
    """The parts of the loss, the picks and the gradients."""
    parts = loss_of(inputs, return_parts=True, **options)
    gradients = torch.autograd.grad(parts.total.sum(), inputs.leaves)
    return [*parts[:-1], *parts.triplets, *gradients]


def assert_equal(actual: list[Tensor], expected: list[Tensor]) -> None:
    """The same bits."""
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
