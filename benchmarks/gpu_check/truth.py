"""Comparison of the large kernels with float64, at the sizes at which they are chosen.

    python -m benchmarks.gpu_check --steps truth truth-mma truth-cuda-cores

Mining, pairwise distances and top-k of aligned rows, so that operands come by asynchronous copies.
The names of the kernels, as the profiler sees them, must be those of the engine that the
environment asks for. float64 is computed by the reference on the same device, by PyTorch's own
kernels.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

import fgsbir_ext as fx
from tests.support.compare import (
    assert_accurate,
    assert_good_picks,
    assert_nothing_nearer_left,
    exact,
)
from tests.support.engines import CUDA_CORES, HALF, engine_for

from ..workload import Workload, make_inputs
from . import instruments
from .device import add_rehearse, device_or_rehearsal
from .figures import Figures, attempt
from .names import GUIDANCES, SWITCH
from .names import engine as engine_name

NEAREST = 10

SMALL_TILES = r"\bTensorTile<\w+, 64, 64>"


def workloads(device: str) -> list[Workload]:
    """The most telling ones first: the widest product, then depths past 256, then a ragged one."""
    if device == "cpu":  # of which the first has 256 tiles of 128 x 128
        sizes = ((130, 128 * 128, 8), (70, 130, 40))
        return [Workload(n, m=m, d=d, dtype=torch.bfloat16, shots=2) for n, m, d in sizes]
    sizes = [(4096, 4096, 256), (4096, 4096, 264), (260, 11000, 256), (260, 11000, 264)]
    return [
        Workload(n, m=m, d=d, dtype=dtype, shots=2, device=device)
        for dtype in (*HALF, torch.float32)
        for n, m, d in sizes
    ]


def expected_kernels(workload: Workload, hopper: bool) -> str:
    """The pattern of the name of the kernel that the environment's engine has for a workload."""
    engine = engine_for(workload.dtype, hopper=hopper, switch=os.environ.get(SWITCH))
    small = -(-workload.n // 128) * -(-workload.columns // 128) < 256
    return SMALL_TILES if small and engine != CUDA_CORES else engine.kernels


class Case:
    """One workload's inputs, and the float64 of what is computed from them."""

    def __init__(self, workload: Workload, hopper: bool) -> None:
        self.workload = workload
        self.kernels = expected_kernels(workload, hopper)
        inputs = make_inputs(workload)
        generator = torch.Generator().manual_seed(1)
        unknown = torch.rand(inputs.sketch_attributes.shape, generator=generator) < 0.1
        self.x, self.y = inputs.sketch.detach(), inputs.photo.detach()
        self.batch = {
            "sketch": self.x,
            "photo": self.y,
            "sketch_labels": inputs.sketch_labels,
            "photo_labels": inputs.photo_labels,
            "sketch_attributes": inputs.sketch_attributes.masked_fill(
                unknown.to(workload.device), -1
            ),
            "photo_attributes": inputs.photo_attributes,
        }
        self.exact = exact({"x": self.x, "y": self.y}, workload.device)

    def mining(self, guidance: float) -> Figures:
        """The picks, and how many are not those of float64: near-ties, and nothing else."""
        mine = partial(fx.mine_batch_hard, **self.batch, attribute_guidance=guidance)
        differing = assert_good_picks(
            mine(),
            self.batch,
            self.workload.dtype,
            device=self.workload.device,
            attribute_guidance=guidance,
        )
        return {"differing": differing, "kernel": self._kernel(mine, "mine_tiles", self.kernels)}

    def distances(self) -> Figures:
        """All distances, to the accuracy of plain PyTorch in the same type."""
        distance = partial(fx.pairwise_distance, self.x, self.y)
        actual, truth = distance(), fx.reference.pairwise_distance(*self.exact.values())
        assert_accurate(actual, truth, fx.reference.pairwise_distance(self.x, self.y), "distances")
        return {
            "largest_error": (actual.double() - truth).abs().max().item(),
            "kernel": self._kernel(distance, "distances", self.kernels),
        }

    def nearest(self) -> Figures:
        """The values found, and that no row left out is nearer."""
        search = partial(fx.topk, self.x, self.y, NEAREST)
        values, indices = search()
        truth = fx.reference.pairwise_distance(*self.exact.values())
        baseline = fx.reference.pairwise_distance(self.x, self.y)
        assert_accurate(values, truth.gather(1, indices), baseline.gather(1, indices), "values")
        pair, options = {"x": self.x, "y": self.y}, {"k": NEAREST, "metric": "sqeuclidean"}
        assert_nothing_nearer_left(truth, indices, pair, options)
        _, expected = truth.topk(NEAREST, largest=False)
        small = self.kernels if self.kernels == CUDA_CORES.kernels else SMALL_TILES
        return {
            "differing": int((indices.sort(1).values != expected.sort(1).values).sum()),
            "kernel": self._kernel(search, "search_tiles", small),
        }

    def _kernel(self, work: Callable[[], Any], prefix: str, pattern: str) -> str:
        """The name of the kernel that computes products, which must fit the pattern."""
        names = [kernel["name"] for kernel in instruments.launched(work)]
        found = [name for name in names if name.startswith(prefix)]
        assert len(found) == 1, f"one kernel {prefix} expected among {names}"
        assert re.search(pattern, found[0]), f"{found[0]} does not fit {pattern}"
        return found[0]


def about(workload: Workload) -> dict[str, Any]:
    return {
        "engine": engine_name(),
        "dtype": workload.type_name,
        "n": workload.n,
        "m": workload.columns,
        "d": workload.d,
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_rehearse(parser)
    rehearse = parser.parse_args().rehearse
    passed = True
    with device_or_rehearsal(rehearse) as device:
        # The emulation is of a Hopper chip.
        hopper = rehearse or torch.cuda.get_device_capability() == (9, 0)
        for workload in workloads(device):
            case = Case(workload, hopper)
            for guidance in GUIDANCES if device == "cuda" else GUIDANCES[:1]:
                # JSON has no infinity.
                which = about(workload) | {"guidance": str(guidance)}
                passed &= attempt("mining", partial(case.mining, guidance), **which)
            passed &= attempt("distances", case.distances, **about(workload))
            passed &= attempt("nearest", case.nearest, **about(workload))
            if not passed and instruments.context_is_broken():
                break
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
