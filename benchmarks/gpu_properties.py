"""What must hold on a GPU besides the tests, each a function that raises or returns figures.

    python -m benchmarks.gpu_properties --out FILE     # all checks, outcomes as JSON
    python -m benchmarks.gpu_properties hub timings    # some of them

benchmarks/gpu_check.py runs it. With --rehearse every check runs on the emulation, with stand-ins
for what is CUDA's alone (benchmarks/gpu_rehearsal.py).
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import fgsbir_ext as fx

from . import gpu_runtime, gpu_tools
from .gpu_runtime import Figures
from .gpu_tools import assert_equal, results_of
from .rivals import bare_product, fgsbir_ext, forward_backward, plain_pytorch
from .steps import write_json
from .workload import Workload, make_inputs


def same_bits(device: str) -> Figures:
    """Mining, loss, gradients and search, again and again."""
    n, repeats = (1500, 100) if device == "cuda" else (100, 5)
    inputs = make_inputs(Workload(n, device=device))
    x, y = inputs.sketch.detach(), inputs.photo.detach()

    def everything() -> list[Tensor]:
        distance = fx.pairwise_distance(inputs.sketch, inputs.photo, metric="cosine")
        gradient = torch.autograd.grad(distance.sum(), inputs.sketch)
        found = fx.topk(x, y, 10)
        return [*results_of(inputs, attribute_guidance=0.5), distance, *gradient, *found]

    expected = everything()
    for _ in range(repeats):
        assert_equal(everything(), expected)
    return {"repeats": repeats, "N": n}


def hub(device: str) -> Figures:
    """Nearly all anchors choose the same photo: the longest sum of gradients there can be."""
    n = 20000 if device == "cuda" else 500
    inputs = make_inputs(Workload(n, d=64, dtype=torch.float64, device=device))
    s, p = inputs.leaves[:2]
    with torch.no_grad():
        p[1:] += 100
    positive, negative, _ = fx.mine_batch_hard(s, p)
    share = (negative == 0).double().mean().item()
    assert share > 0.99
    nearer, farther = ((s - p[chosen]).square().sum(1) for chosen in (positive, negative))
    expected = torch.autograd.grad((1e9 + nearer - farther).mean(), (s, p))
    actual = torch.autograd.grad(fx.attribute_triplet_loss(s, p, margin=1e9), (s, p))
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)
    total = fx.attribute_triplet_loss(s, p, margin=1e9)
    backward = gpu_tools.median_ms(
        lambda: torch.autograd.grad(total, (s, p), retain_graph=True), rounds=5
    )
    return {"N": n, "share": share, "backward_ms": backward}


def beyond_32_bits(device: str) -> Figures:
    """N x M past 2^31: the picks of some anchors, by a full search of their own."""
    n = 50_000 if device == "cuda" else 300
    generator = torch.Generator(device).manual_seed(0)
    x, y = (torch.randn(n, 32, device=device, generator=generator) for _ in range(2))
    picks = fx.mine_batch_hard(x, y)
    some = torch.randint(n, (64,), generator=torch.Generator().manual_seed(0)).to(device)
    d = torch.cdist(x[some].double(), y.double()).square()
    d[torch.arange(64, device=device), some] = torch.inf
    assert torch.equal(picks.negative[some], d.argmin(1))
    assert torch.equal(picks.positive, torch.arange(n, device=device))
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    fx.mine_batch_hard(x, y)
    extra = torch.cuda.max_memory_allocated() - before
    assert extra < 64e6, extra
    return {"pairs": n * n, "extra_bytes": extra}


def timings(device: str) -> Figures:
    """Median milliseconds of the loss forward and backward, its rival, and the bare product."""
    figures: Figures = {}
    for n in (128, 1024, 4096, 16384) if device == "cuda" else (64, 128):
        inputs = make_inputs(Workload(n, device=device))
        rivals: dict[str, Callable[[], Any]] = {
            "fgsbir_ext": partial(forward_backward, fgsbir_ext, inputs),
            "bare product": partial(bare_product, inputs),
        }
        if n <= 4096:
            rivals["plain PyTorch"] = partial(forward_backward, plain_pytorch, inputs)
        figures[f"N={n}"] = {name: gpu_tools.median_ms(work) for name, work in rivals.items()}
    return figures


CHECKS: tuple[Callable[[str], Figures], ...] = (
    same_bits,
    hub,
    gpu_runtime.launches,
    gpu_runtime.no_synchronisation,
    gpu_runtime.cuda_graph,
    gpu_runtime.side_stream,
    gpu_runtime.cupy_on_a_side_stream,
    gpu_runtime.runtimes_side_by_side,
    gpu_runtime.two_devices,
    beyond_32_bits,
    gpu_runtime.compiled,
    timings,
)


def outcomes(
    checks: Sequence[Callable[[str], Figures]], device: str
) -> Iterator[tuple[str, Figures]]:
    for check in checks:
        try:
            yield check.__name__, {"passed": True, "figures": check(device)}
        except Exception:  # a check that fails is a result, and the others still count
            yield check.__name__, {"passed": False, "error": traceback.format_exc()}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = {check.__name__: check for check in CHECKS}
    parser.add_argument("checks", nargs="*", metavar="check", help=f"all unless named: {[*names]}")
    parser.add_argument("--out", type=Path, help="write the outcomes here, as JSON")
    parser.add_argument("--rehearse", action="store_true", help="run on the CPU, by emulation")
    arguments = parser.parse_args()
    if unknown := set(arguments.checks) - set(names):
        parser.error(f"no check is named {', '.join(sorted(unknown))}")
    if arguments.rehearse:
        from emulation.plugin import register

        from .gpu_rehearsal import stand_ins

        register()
    checks = [names[name] for name in arguments.checks or names]
    results: Figures = {}
    with stand_ins() if arguments.rehearse else nullcontext():
        for name, outcome in outcomes(checks, "cpu" if arguments.rehearse else "cuda"):
            results[name] = outcome
            print(name, outcome.get("error") or outcome, flush=True)
            if arguments.out is not None:
                write_json(arguments.out, results)
    return 0 if all(outcome["passed"] for outcome in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
