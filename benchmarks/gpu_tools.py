"""What the checks of a GPU share: results to compare, and what they ask of CUDA itself."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import fgsbir_ext as fx

from .workload import Inputs

_ON_THE_DEVICE = ("kernel", "gpu_memcpy", "gpu_memset")
_SHAPE = ("grid", "block", "registers per thread", "shared memory", "est. achieved occupancy %")


def launched(work: Callable[[], Any]) -> list[dict[str, Any]]:
    """Kernels, copies and fills that the device carries out, as the profiler sees them.

    Each has its name and, if it is a kernel, its grid, its block and what it takes.
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
        {"name": event["name"]}
        | {key: event["args"][key] for key in _SHAPE if key in event.get("args", {})}
        for event in events
        if event.get("cat") in _ON_THE_DEVICE
    ]


def capture(step: Callable[[], list[Tensor]]) -> tuple[list[Tensor], Callable[[], None]]:
    """A step's results in a CUDA graph, and what computes them anew, in place."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = step()
    return results, graph.replay


def median_ms(work: Callable[[], Any], rounds: int = 15) -> float:
    """Milliseconds between two events around the work, three times unmeasured first."""
    times = []
    for _ in range(rounds + 3):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return round(statistics.median(times[3:]), 4)


def arguments_of(inputs: Inputs) -> tuple[Any, ...]:
    """Leaves and attributes, as the loss takes them."""
    return *inputs.leaves, inputs.sketch_attributes, inputs.photo_attributes


def results_of(inputs: Inputs, **options: Any) -> list[Tensor]:
    """The parts of the loss, the picks and the gradients."""
    parts = fx.attribute_triplet_loss(*arguments_of(inputs), return_parts=True, **options)
    gradients = torch.autograd.grad(parts.total.sum(), inputs.leaves)
    return [*parts[:6], *parts.triplets, *gradients]


def assert_equal(actual: list[Tensor], expected: list[Tensor]) -> None:
    """The same bits."""
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
