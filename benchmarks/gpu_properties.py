"""What must hold on a GPU besides the tests, each a function that raises or returns figures.

    python -m benchmarks.gpu_properties --out FILE     # all checks, outcomes as JSON
    python -m benchmarks.gpu_properties --exercise     # every operation once, for compute-sanitizer

benchmarks/gpu_check.py runs both. With --rehearse checks that need no CUDA run on the emulation.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import fgsbir_ext as fx

from .rivals import bare_product, fgsbir_ext, forward_backward, plain_pytorch
from .workload import Inputs, Workload, make_inputs

Figures = dict[str, Any]

_METRICS = ("sqeuclidean", "euclidean", "cosine")
_FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def results_of(inputs: Inputs, **options: Any) -> list[Tensor]:
    """The parts of the loss, the picks and the gradients."""
    leaves = inputs.leaves
    parts = fx.attribute_triplet_loss(
        *leaves, inputs.sketch_attributes, inputs.photo_attributes, return_parts=True, **options
    )
    gradients = torch.autograd.grad(parts.total.sum(), leaves)
    return [*parts[:6], *parts.triplets, *gradients]


def assert_equal(actual: list[Tensor], expected: list[Tensor]) -> None:
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


# --- On any device --------------------------------------------------------------------------------


def same_bits(device: str, repeats: int = 100) -> Figures:
    """Mining, loss, gradients and search, again and again."""
    n = 1500 if device == "cuda" else 100
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
    return {"N": n, "share": share}


# --- On CUDA --------------------------------------------------------------------------------------


def launches(device: str) -> Figures:
    """At most 5 kernels forward and 2 backward, nothing else on the stream, by the profiler."""
    from torch.profiler import ProfilerActivity, profile

    def kernels(work: Callable[[], Any]) -> list[str]:
        work()
        torch.cuda.synchronize()
        with profile(activities=[ProfilerActivity.CUDA]) as profiler:
            work()
            torch.cuda.synchronize()
        on_device = torch.autograd.DeviceType.CUDA
        return [event.name for event in profiler.events() if event.device_type == on_device]

    figures = {}
    for guidance in (0.0, 0.5, float("inf")):
        inputs = make_inputs(Workload(300, device=device))
        arguments = (*inputs.leaves, inputs.sketch_attributes, inputs.photo_attributes)
        options = {"attribute_guidance": guidance}
        forward = kernels(lambda a=arguments, o=options: fx.attribute_triplet_loss(*a, **o))
        total = fx.attribute_triplet_loss(*arguments, **options)
        one = torch.ones_like(total)
        backward = kernels(
            lambda t=total, i=inputs, o=one: torch.autograd.grad(t, i.leaves, o, retain_graph=True)
        )
        assert len(forward) <= 5, forward
        assert len(backward) == 2, backward
        figures[f"guidance {guidance}"] = (len(forward), len(backward))
    return figures


def no_synchronisation(device: str) -> Figures:
    """Nothing in Python waits for the device; and calls return while it is kept busy."""
    inputs = make_inputs(Workload(2000, device=device))

    def work() -> None:
        results_of(inputs, attribute_guidance=0.5)
        fx.topk(inputs.sketch.detach(), inputs.photo.detach(), 5)

    work()  # memory is handed out anew without asking the device
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        torch.cuda._sleep(2_000_000_000)  # about a second
        done = torch.cuda.Event()
        done.record()
        work()
        assert not done.query(), "a call waited for work launched before it"
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.cuda.synchronize()
    return {}


def cuda_graph(device: str) -> Figures:
    """A captured step, replayed on other data, is the step on that data."""
    inputs, other = (make_inputs(Workload(256, device=device), seed) for seed in (0, 1))
    warm_up = torch.cuda.Stream()
    with torch.cuda.stream(warm_up):
        results_of(inputs, attribute_guidance=0.5)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = results_of(inputs, attribute_guidance=0.5)
    with torch.no_grad():
        for mine, new in zip(inputs.leaves, other.leaves, strict=True):
            mine.copy_(new)
        inputs.sketch_attributes.copy_(other.sketch_attributes)
        inputs.photo_attributes.copy_(other.photo_attributes)
    graph.replay()
    torch.cuda.synchronize()
    assert_equal(captured, results_of(other, attribute_guidance=0.5))
    return {}


def compiled(device: str) -> Figures:
    """torch.compile(mode="reduce-overhead") of a whole step."""
    inputs = make_inputs(Workload(256, device=device))

    def step(*leaves: Tensor) -> Tensor:
        return fx.attribute_triplet_loss(
            *leaves, inputs.sketch_attributes, inputs.photo_attributes, metric="cosine"
        )

    expected = torch.autograd.grad(step(*inputs.leaves), inputs.leaves)
    fast = torch.compile(step, mode="reduce-overhead", fullgraph=True)
    for _ in range(4):
        torch.compiler.cudagraph_mark_step_begin()
        gradients = torch.autograd.grad(fast(*inputs.leaves), inputs.leaves)
        assert_equal([g.clone() for g in gradients], list(expected))
    return {}


def side_stream(device: str) -> Figures:
    """Work is ordered on the stream that is current: inputs made late on it are seen."""
    inputs = make_inputs(Workload(500, device=device))
    expected = results_of(inputs)
    final = [leaf.detach().clone() for leaf in inputs.leaves]
    with torch.no_grad():
        for leaf in inputs.leaves:
            leaf.zero_()
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(200_000_000)
        with torch.no_grad():
            for leaf, value in zip(inputs.leaves, final, strict=True):
                leaf.copy_(value)
        actual = results_of(inputs)
    stream.synchronize()
    assert_equal(actual, expected)
    return {}


def cupy_on_a_side_stream(device: str) -> Figures:
    """CuPy arrays go in through DLPack, computed late on a stream of CuPy's own."""
    import cupy

    x = torch.randn(400, 64, device=device)
    expected = fx.topk(2 * x, x, 3)
    theirs = cupy.from_dlpack(x)
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream, torch.cuda.stream(torch.cuda.ExternalStream(stream.ptr)):
        torch.cuda._sleep(200_000_000)
        doubled = theirs * 2
        actual = fx.topk(doubled, theirs, 3)
    stream.synchronize()
    assert_equal(list(actual), list(expected))
    return {"cupy": cupy.__version__}


def runtimes_side_by_side(device: str) -> Figures:
    """Our CUDA runtime is linked in statically, beside the shared one that torch loads."""
    from fgsbir_ext import _C

    own = Path(_C.__file__).read_bytes()
    assert b"libcudart.so" not in own
    loaded = Path("/proc/self/maps").read_text()
    assert fx.build_info().cuda
    return {"torch_loads_libcudart": "libcudart.so" in loaded, "built": fx.build_info()._asdict()}


def two_devices(device: str) -> Figures:
    """The tensors' device is made current and the former one restored."""
    if torch.cuda.device_count() < 2:
        return {"devices": torch.cuda.device_count(), "checked": False}
    inputs = make_inputs(Workload(300, device="cuda:1"))
    torch.cuda.set_device(0)
    actual = results_of(inputs)
    assert torch.cuda.current_device() == 0
    expected = results_of(make_inputs(Workload(300, device="cuda:0")))
    assert_equal([x.cpu() for x in actual], [x.cpu() for x in expected])
    return {"devices": torch.cuda.device_count(), "checked": True}


def beyond_32_bits(device: str) -> Figures:
    """N x M past 2^31: the picks of some anchors, by a full search of their own."""
    n = 50_000
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
    return {"pairs": n * n, "extra_bytes": torch.cuda.max_memory_allocated() - before}


def timings(device: str) -> Figures:
    """Median milliseconds of the loss forward and backward, its rival, and the bare product."""
    figures: Figures = {}
    for n in (128, 1024, 4096, 16384):
        inputs = make_inputs(Workload(n, device=device))
        rivals: dict[str, Callable[[], Any]] = {
            "fgsbir_ext": lambda i=inputs: forward_backward(fgsbir_ext, i),
            "bare product": lambda i=inputs: bare_product(i),
        }
        if n <= 4096:
            rivals["plain PyTorch"] = lambda i=inputs: forward_backward(plain_pytorch, i)
        figures[f"N={n}"] = {name: median_ms(work) for name, work in rivals.items()}
    return figures


def median_ms(work: Callable[[], Any], rounds: int = 15) -> float:
    times = []
    for _ in range(rounds + 3):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return round(statistics.median(times[3:]), 4)


# --- Every operation, for compute-sanitizer -------------------------------------------------------


def exercise(device: str) -> None:
    """All kernels of all types over shapes that leave tiles partly empty."""
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
                options = {"metric": metric, "attribute_metric": kind}
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


def outcomes(
    checks: Sequence[Callable[[str], Figures]], device: str
) -> Iterator[tuple[str, Figures]]:
    for check in checks:
        try:
            yield check.__name__, {"passed": True, "figures": check(device)}
        except Exception as error:  # a check that fails is a result, and the others still count
            traceback.print_exc()
            yield check.__name__, {"passed": False, "figures": f"{type(error).__name__}: {error}"}


ANYWHERE = [same_bits, hub]
ON_CUDA = [
    launches,
    no_synchronisation,
    cuda_graph,
    side_stream,
    cupy_on_a_side_stream,
    runtimes_side_by_side,
    two_devices,
    beyond_32_bits,
    compiled,
    timings,
]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="write the outcomes here, as JSON")
    parser.add_argument(
        "--exercise", action="store_true", help="run every operation, check nothing"
    )
    parser.add_argument("--rehearse", action="store_true", help="run on the CPU, by emulation")
    arguments = parser.parse_args()
    if arguments.rehearse:
        from emulation.plugin import register

        register()
    device = "cpu" if arguments.rehearse else "cuda"
    if arguments.exercise:
        exercise(device)
        return 0
    results: Figures = {}
    for name, outcome in outcomes(ANYWHERE + ([] if arguments.rehearse else ON_CUDA), device):
        results[name] = outcome
        print(name, outcome, flush=True)
        if arguments.out is not None:
            arguments.out.write_text(json.dumps(results))
    return 0 if all(outcome["passed"] for outcome in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
