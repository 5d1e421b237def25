"""Properties that must hold on a GPU besides the tests, as functions that raise or return figures.

    python -m benchmarks.gpu_check.properties            # all of them
    python -m benchmarks.gpu_check.properties hub        # one

With --rehearse they run on the emulation, with stand-ins for what is CUDA's alone (rehearsal.py).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

import fgsbir_ext as fx

from ..workload import Workload, make_inputs
from . import instruments, runtime
from .device import add_rehearse, device_or_rehearsal
from .figures import Figures, attempt
from .instruments import assert_equal, results_of


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
    backward = instruments.time_queued(
        lambda: torch.autograd.grad(total, (s, p), retain_graph=True)
    )
    return {"N": n, "share": share, "backward_us": round(backward.device_us, 1)}


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


CHECKS: tuple[Callable[[str], Figures], ...] = (
    same_bits,
    hub,
    runtime.launches,
    runtime.no_synchronisation,
    runtime.cuda_graph,
    runtime.first_use_in_capture,
    runtime.side_stream,
    runtime.cupy_on_a_side_stream,
    runtime.runtimes_side_by_side,
    runtime.two_devices,
    beyond_32_bits,
    runtime.compiled,
)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = {check.__name__: check for check in CHECKS}
    parser.add_argument("checks", nargs="*", metavar="check", help=f"all unless named: {[*names]}")
    add_rehearse(parser)
    arguments = parser.parse_args()
    if unknown := set(arguments.checks) - set(names):
        parser.error(f"no check is named {', '.join(sorted(unknown))}")
    with device_or_rehearsal(arguments.rehearse) as device:
        passed = [attempt(name, partial(names[name], device)) for name in arguments.checks or names]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
