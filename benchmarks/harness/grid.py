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

from ..baselines import BASELINES, OPERATIONS, Operation
from ..workload import Workload

SIZES = (128, 1024, 4096, 16384, 65536)
SEARCH = Workload(1000, m=100_000)  # queries in a gallery

OURS = "fgsbir_ext"
LEAN = (OURS, "tuned PyTorch")
TORCH = (*LEAN, "plain PyTorch", "PyTorch in tiles")
SEARCH_BASELINES = (*LEAN, "plain PyTorch", "faiss flat", "CuPy")
COMPILED = "torch.compile"  # tens of seconds each
TILES = "product in tiles"
INTO_FLOAT32 = "product into float32"  # of 16-bit inputs
ALL = tuple(name for name in BASELINES if name not in ("bare product", INTO_FLOAT32))


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
    baselines: Iterable[str],
    workloads: Iterable[Workload],
    device: str,
) -> Iterator[Cell]:
    """All combinations that exist, in the order of the workloads."""
    operations, baselines = list(operations), list(baselines)
    for workload in workloads:
        for operation in operations:
            for name in baselines:
                baseline = BASELINES[name]
                if operation in baseline.operations and device in baseline.devices:
                    yield Cell(operation, name, replace(workload, device=device))


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
            *cells([loss], [OURS, "plain PyTorch", COMPILED], small, device),
        ]
    return [
        *cells([loss], [OURS, "tuned PyTorch"], [Workload(128), Workload(4096)], device),
        *cells([loss], [OURS], [Workload(16384)], device),
        *cells(["top-k"], [OURS, "faiss flat"], [SEARCH], device),
    ]


def full(device: str) -> list[Cell]:
    """Everything, once."""
    loss: Operation = "loss forward + backward"
    sizes = [Workload(n) for n in SIZES]
    small, large, largest = sizes[:3], sizes[3], sizes[4]

    def variants(workloads: Iterable[Workload], **change: Any) -> list[Workload]:
        return [replace(workload, **change) for workload in workloads]

    half = {"dtype": torch.bfloat16}
    # On a CPU its graph of 64 tiles takes minutes to build.
    too_long = (TILES, COMPILED) if device == "cpu" else (TILES,)
    grid = [
        *cells([loss], ALL, [*small, large], device),
        *cells([loss], [name for name in ALL if name not in too_long], [largest], device),
        *cells(["top-k"], [*SEARCH_BASELINES, "KeOps"], [small[1], SEARCH], device),
        *cells(["mining"], [name for name in ALL if name != COMPILED], small, device),
        *cells(["mining"], LEAN, [large], device),
        *cells(["loss forward"], [*TORCH, "pytorch-metric-learning"], small, device),
        *cells(["mining", "loss forward"], [COMPILED], small[2:], device),
        *cells([loss], TORCH, variants(small, **half), device),
        *cells([loss], LEAN, variants([large], **half), device),
        *cells([loss], [INTO_FLOAT32], variants([*small, large, largest], **half), device),
        *cells(["mining"], LEAN, variants(small, **half), device),
        *cells(OPERATIONS[3:5], TORCH, small, device),
        *cells(["pairwise forward"], LEAN, [large], device),
        *cells(
            [loss],
            [*TORCH, "pytorch-metric-learning"],
            variants([sizes[0], sizes[2]], shots=4),
            device,
        ),
    ]
    for d in (64, 512):
        middle = variants([sizes[2]], d=d)
        grid += cells([loss], TORCH, variants(small, d=d), device)
        grid += cells([loss], LEAN, variants([large], d=d), device)
        grid += cells(["mining"], LEAN, middle, device)
        grid += cells(OPERATIONS[3:5], TORCH, middle, device)
        grid += cells(["top-k"], SEARCH_BASELINES, variants([SEARCH], d=d), device)
        grid += cells([loss], LEAN, variants(middle, **half), device)
    grid += cells(["top-k"], SEARCH_BASELINES, sizes[2:3], device)
    grid += cells(["top-k"], LEAN, variants([SEARCH], **half), device)
    slowest = [OURS] if device == "cpu" else LEAN
    grid += cells([loss], slowest, variants([largest], **half), device)
    grid += cells([loss], [OURS], variants([largest], d=64), device)
    return list(dict.fromkeys(grid))


def quick(device: str) -> list[Cell]:
    """For developers: small enough for any machine, no baseline that compiles for long."""
    baselines = [name for name in ALL if name not in ("KeOps", "torch.compile")]
    return [
        *cells(OPERATIONS[:5], baselines, [Workload(n) for n in SIZES[:3]], device),
        *cells(["top-k"], baselines, [replace(SEARCH, m=20_000)], device),
    ]
