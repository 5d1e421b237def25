"""Every operation once, on awkward shapes: what compute-sanitizer watches.

    compute-sanitizer --tool racecheck python -m benchmarks.gpu_exercise

With --rehearse on a CPU, by emulation.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch

import fgsbir_ext as fx
from fgsbir_ext.types import Metric

_METRICS: tuple[Metric, ...] = ("sqeuclidean", "euclidean", "cosine")
_FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def exercise(device: str) -> None:
    """All kernels of all types over shapes that leave tiles partly empty."""
    torch.manual_seed(0)
    for n, m, d, k in ((1, 1, 1, 1), (0, 5, 3, 2), (5, 0, 3, 2), (33, 70, 17, 33), (70, 33, 40, 5)):
        for dtype in _FLOATS:
            x, y = (
                torch.randn(rows, d, device=device).to(dtype).requires_grad_() for rows in (n, m)
            )
            u, v = (
                torch.randn(rows, k, device=device).to(dtype).requires_grad_() for rows in (n, m)
            )
            a, b = (torch.randint(-1, 2, (rows, k), device=device) for rows in (n, m))
            labels = [torch.randint(7, (rows,), device=device) for rows in (n, m)]
            for metric, guidance, kind in zip(
                _METRICS, (0.0, 0.5, float("inf")), ("sqeuclidean", "cross_entropy", "euclidean"),
                strict=True,
            ):  # fmt: skip
                fx.pairwise_distance(x, y, metric=metric).sum().backward()
                weights = [1.0 + at for at in range(k)] if guidance else None
                options: dict[str, Any] = {"metric": metric, "attribute_metric": kind}
                fx.attribute_triplet_loss(
                    x, y, u, v, a, b, *labels, **options,
                    attribute_guidance=guidance, attribute_weights=weights,
                ).backward()  # fmt: skip
                fx.topk(
                    x, y, min(3, m), query_logits=u, gallery_logits=v, attribute_weight=0.5,
                    **options,
                )  # fmt: skip
            fx.attribute_distance(a, b)
    # The largest tiles, several splits, pools that overflow.
    x, y = (torch.randn(rows, 9, device=device) for rows in (1100, 1900))
    fx.mine_batch_hard(x, y, *(torch.randint(50, (len(z),), device=device) for z in (x, y)))
    fx.topk(x[:3], y, 1024)
    fx.topk(x[:3], y, 7)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rehearse", action="store_true", help="run on the CPU, by emulation")
    if parser.parse_args().rehearse:
        from emulation.plugin import register

        register()
        exercise("cpu")
        return
    exercise("cuda")
    torch.cuda.synchronize()


if __name__ == "__main__":
    main()
