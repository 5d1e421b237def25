"""Run of every operation on a few shapes, for compute-sanitizer to watch.

    compute-sanitizer --tool racecheck python -m benchmarks.gpu_check.exercise

The most telling first: aligned rows of 16 bits in enough tiles for warpgroups, whose operands come
by asynchronous copies; then large tiles of float32; then awkward shapes of every type.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from itertools import cycle
from typing import Any, get_args

import torch
from torch import Tensor

import fgsbir_ext as fx
from fgsbir_ext.types import AttributeMetric, Metric

from ..workload import Workload, make_inputs
from .device import add_rehearse, device_or_rehearsal
from .figures import Figures, attempt
from .names import GUIDANCES

_FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
# 258 tiles of 128 x 128; rows that stay in shared memory, and rows that are too long to.
_ALIGNED = ((260, 11000, 40), (260, 11000, 264))
_AWKWARD = ((33, 70, 17, 33), (70, 33, 40, 5), (1, 1, 1, 1), (0, 5, 3, 2), (5, 0, 3, 2))


def aligned(n: int, m: int, d: int, dtype: torch.dtype, device: str) -> Figures:
    """Mining, distances and search over rows that are whole chunks of 16 bytes."""
    inputs = make_inputs(Workload(n, m=m, d=d, dtype=dtype, device=device))
    x, y = inputs.sketch.detach(), inputs.photo.detach()
    annotations = inputs.both("attributes", "labels")
    for guidance in GUIDANCES:
        fx.mine_batch_hard(x, y, **annotations, attribute_guidance=guidance)
    fx.pairwise_distance(x, y)
    fx.topk(x[:64], y, 10)
    return {}


def awkward(n: int, m: int, d: int, k: int, dtype: torch.dtype, device: str) -> Figures:
    """All kernels of a type over a shape that leaves tiles partly empty."""

    def normal(rows: int, columns: int) -> Tensor:
        return torch.randn(rows, columns, device=device).to(dtype).requires_grad_()

    x, y, u, v = normal(n, d), normal(m, d), normal(n, k), normal(m, k)
    a, b = (torch.randint(-1, 2, (rows, k), device=device) for rows in (n, m))
    known = {"sketch_logits": u, "photo_logits": v, "sketch_attributes": a, "photo_attributes": b}
    known |= _labels(7, n, m, device)
    for metric, guidance, kind in zip(
        get_args(Metric), cycle(GUIDANCES), cycle(get_args(AttributeMetric))
    ):
        fx.pairwise_distance(x, y, metric=metric).sum().backward()
        weights = [1.0 + at for at in range(k)] if guidance else None
        options: dict[str, Any] = {"metric": metric, "attribute_metric": kind}
        fx.attribute_triplet_loss(
            x, y, **known, **options, attribute_guidance=guidance, attribute_weights=weights,
        ).backward()  # fmt: skip
        logits = {"query_logits": u, "gallery_logits": v, "attribute_weight": 0.5}
        fx.topk(x, y, min(3, m), **logits, **options)
    fx.attribute_distance(a, b)
    return {}


def _labels(count: int, n: int, m: int, device: str) -> dict[str, Tensor]:
    sizes = {"sketch_labels": n, "photo_labels": m}
    return {name: torch.randint(count, (size,), device=device) for name, size in sizes.items()}


def pools(n: int, m: int, device: str) -> Figures:
    """Large tiles by plain loads, several splits, pools that overflow."""
    x, y = (torch.randn(rows, 9, device=device) for rows in (n, m))
    fx.mine_batch_hard(x, y, **_labels(50, n, m, device))
    fx.topk(x[:3], y, min(m, 1024))
    fx.topk(x[:3], y, 7)
    return {}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_rehearse(parser)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    with device_or_rehearsal(arguments.rehearse) as device:
        sizes = _ALIGNED if device == "cuda" else ((40, 130, 40),)
        cases = [
            (aligned, (n, m, d, dtype, device))
            for dtype in (torch.bfloat16, torch.float32)
            for n, m, d in sizes
        ]
        cases += [(awkward, (*shape, t, device)) for shape in _AWKWARD for t in _FLOATS]
        cases += [(pools, (1100, 1900, device) if device == "cuda" else (110, 190, device))]
        for run, given in cases:
            which = {"shape": " x ".join(map(str, given[:-1]))}
            if not attempt(run.__name__, partial(_synchronised, run, *given), **which):
                return 1
    return 0


def _synchronised(run: Any, *given: Any) -> Figures:
    figures: Figures = run(*given)
    torch.cuda.synchronize()
    return figures


if __name__ == "__main__":
    sys.exit(main())
