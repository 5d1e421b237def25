"""The whole loss, forward and backward, beside its rivals and the bare matrix product.

Run: pytest benchmarks/ --benchmark-json=results.json
"""

from __future__ import annotations

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from .rivals import LOSSES, bare_product, forward_backward
from .workload import Workload, make_inputs

WORKLOADS = [Workload(n) for n in (128, 1024, 4096)]


@pytest.mark.parametrize("workload", WORKLOADS, ids=str)
@pytest.mark.parametrize("name", LOSSES)
def bench_forward_backward(benchmark: BenchmarkFixture, workload: Workload, name: str) -> None:
    benchmark.group = f"forward + backward {workload}"
    benchmark.extra_info["threads"] = torch.get_num_threads()
    benchmark(forward_backward, LOSSES[name], make_inputs(workload))


@pytest.mark.parametrize("workload", WORKLOADS, ids=str)
def bench_bare_product(benchmark: BenchmarkFixture, workload: Workload) -> None:
    benchmark.group = f"forward + backward {workload}"
    benchmark(bare_product, make_inputs(workload))
