"""Benchmark of every operation beside its baselines, in one process: a quick look while working.

    pytest benchmarks/                                  # the quick grid
    pytest benchmarks/ -k "mining and N4096"            # some of it
    pytest benchmarks/ --grid full --device cuda        # all of it; minutes to hours

Figures to quote come from ``python -m benchmarks.run``, which gives every cell a process of its own
and lets it take turns with the bare product.
"""

from __future__ import annotations

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from .baselines import BASELINES, Unsupported
from .baselines.ours import OURS
from .harness import grid
from .harness.grid import Cell
from .harness.machine import available_memory
from .harness.measure import LONG, gradient_bytes, peak_bytes
from .workload import make_inputs


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    option = metafunc.config.getoption
    choose = grid.full if option("--grid") == "full" else grid.quick
    metafunc.parametrize("cell", choose(option("--device")), ids=str)


def bench_operation(benchmark: BenchmarkFixture, cell: Cell) -> None:
    baseline, workload = BASELINES[cell.baseline], cell.workload
    if not baseline.installed:
        pytest.skip(f"{baseline.requires} is not installed")
    matrix = workload.pairs * workload.dtype.itemsize
    if baseline is not OURS and matrix > available_memory(workload.device) / 4:
        pytest.skip("its matrices may not fit beside those of others; python -m benchmarks.run")
    inputs = make_inputs(workload)
    try:
        work = baseline.operations[cell.operation](inputs)
    except Unsupported as reason:
        pytest.skip(str(reason))
    work()
    peak, seconds = peak_bytes(work, workload.device)

    def finished() -> None:
        work()
        if workload.device == "cuda":
            torch.cuda.synchronize()

    benchmark.group = f"{cell.operation} {workload}"
    if peak is not None:
        beyond = peak - gradient_bytes(cell.operation, inputs)
        benchmark.extra_info["peak_mb"] = round(max(0, beyond) / 1e6, 1)
    if seconds > LONG:
        benchmark.pedantic(finished, rounds=2)
    else:
        benchmark(finished)
