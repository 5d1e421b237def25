"""Grid of measurements: baseline, operation and size of every cell.

Every combination would take hours on two cores. All baselines are compared at D = 256 in float32,
some at the other dimensions and types, few at the largest sizes; the order is that of importance,
since a run ends when its time is up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from ..baselines import BASELINES, OPERATIONS, Baseline, Operation
from ..baselines.faiss import FAISS
from ..baselines.limit import INTO_FLOAT32, TILES
from ..baselines.ours import OURS
from ..baselines.pytorch import COMPILED, PLAIN, TUNED
from ..workload import Workload

SIZES = (128, 1024, 4096, 16384, 65536)
SEARCH = Workload(1000, m=100_000)  # queries in a gallery

ALL = [baseline for baseline in BASELINES.values() if baseline.tier != "limit"]
QUICK = [baseline for baseline in ALL if not baseline.slow]
TORCH = [baseline for baseline in QUICK if baseline.tier in ("lean", "torch")]
LEAN = [baseline for baseline in TORCH if baseline.tier == "lean"]


@dataclass(frozen=True)
class Cell:
    """One measurement, in a process of its own."""

    operation: Operation
    baseline: str
    workload: Workload

    def __str__(self) -> str:
        return f"{self.operation}-{self.baseline}-{self.workload}".replace(" ", "_")


def cells(
    operations: Iterable[Operation],
    baselines: Iterable[Baseline],
    workloads: Iterable[Workload],
    device: str,
) -> Iterator[Cell]:
    """All combinations that exist, in the order of the workloads."""
    operations, baselines = list(operations), list(baselines)
    for workload in workloads:
        for operation in operations:
            for baseline in baselines:
                if operation in baseline.operations and device in baseline.devices:
                    yield Cell(operation, baseline.name, replace(workload, device=device))


def targets(device: str) -> list[Cell]:
    """What the targets judge: measured first, and in three processes spread over the run."""
    loss: Operation = "loss forward + backward"
    if device == "cuda":
        large = [Workload(n) for n in SIZES[3:]]
        half = [replace(workload, dtype=torch.bfloat16) for workload in large]
        small = [Workload(n) for n in SIZES[:2]]
        return [
            *cells([loss], [OURS, INTO_FLOAT32], half, device),
            *cells([loss], [OURS], large, device),
            *cells([loss], [OURS, PLAIN, COMPILED], small, device),
        ]
    return [
        *cells([loss], [OURS, TUNED], [Workload(128), Workload(4096)], device),
        *cells([loss], [OURS], [Workload(16384)], device),
        *cells(["top-k"], [OURS, FAISS], [SEARCH], device),
    ]


def full(device: str) -> list[Cell]:
    """Everything, once."""
    loss: Operation = "loss forward + backward"
    sizes = [Workload(n) for n in SIZES]
    small, large, largest = sizes[:3], sizes[3], sizes[4]

    def variants(workloads: Iterable[Workload], **change: Any) -> list[Workload]:
        return [replace(workload, **change) for workload in workloads]

    half = {"dtype": torch.bfloat16}
    compiled = [baseline for baseline in ALL if baseline.compiles]  # tens of seconds a cell
    others = [baseline for baseline in ALL if not baseline.compiles]
    grid = [
        *cells([loss], [*ALL, TILES], [*small, large], device),
        # On a CPU a graph of 64 tiles takes minutes to build.
        *cells([loss], others if device == "cpu" else ALL, [largest], device),
        *cells(["top-k"], ALL, [small[1], SEARCH], device),
        *cells(["mining"], [*others, TILES], small, device),
        *cells(["mining"], LEAN, [large], device),
        *cells(["loss forward"], QUICK, small, device),
        *cells(["mining", "loss forward"], compiled, small[2:], device),
        *cells([loss], TORCH, variants(small, **half), device),
        *cells([loss], LEAN, variants([large], **half), device),
        *cells([loss], [INTO_FLOAT32], variants([*small, large, largest], **half), device),
        *cells(["mining"], LEAN, variants(small, **half), device),
        *cells(OPERATIONS[3:5], QUICK, small, device),
        *cells(["pairwise forward"], LEAN, [large], device),
        *cells([loss], QUICK, variants([sizes[0], sizes[2]], shots=4), device),
    ]
    for d in (64, 512):
        middle = variants([sizes[2]], d=d)
        grid += cells([loss], TORCH, variants(small, d=d), device)
        grid += cells([loss], LEAN, variants([large], d=d), device)
        grid += cells(["mining"], LEAN, middle, device)
        grid += cells(OPERATIONS[3:5], TORCH, middle, device)
        grid += cells(["top-k"], QUICK, variants([SEARCH], d=d), device)
        grid += cells([loss], LEAN, variants(middle, **half), device)
    grid += cells(["top-k"], QUICK, sizes[2:3], device)
    grid += cells(["top-k"], LEAN, variants([SEARCH], **half), device)
    slowest = [OURS] if device == "cpu" else LEAN
    grid += cells([loss], slowest, variants([largest], **half), device)
    grid += cells([loss], [OURS], variants([largest], d=64), device)
    return list(dict.fromkeys(grid))


def quick(device: str) -> list[Cell]:
    """For developers: small enough for any machine, no slow baseline."""
    baselines = [*QUICK, TILES]
    return [
        *cells(OPERATIONS[:5], baselines, [Workload(n) for n in SIZES[:3]], device),
        *cells(["top-k"], baselines, [replace(SEARCH, m=20_000)], device),
    ]
