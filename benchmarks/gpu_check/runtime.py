"""Checks of launches, streams, CUDA graphs, runtimes and devices."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from torch import Tensor

import fgsbir_ext as fx

from ..workload import Inputs, Workload, make_inputs
from . import instruments
from .figures import Figures
from .instruments import assert_equal, loss_of, results_of


def launches(device: str) -> Figures:
    """At most 5 kernels forward and 2 backward, nothing else on the stream, by the profiler."""
    figures: Figures = {}
    for guidance in (0.0, 0.5, float("inf")):
        inputs = make_inputs(Workload(300, device=device))
        loss = partial(loss_of, inputs, attribute_guidance=guidance)
        forward = instruments.launched(loss)
        total = loss()
        one = torch.ones_like(total)
        backward = instruments.launched(
            partial(torch.autograd.grad, total, inputs.leaves, one, retain_graph=True)
        )
        assert 0 < len(forward) <= 5, forward
        assert len(backward) == 2, backward
        figures[f"guided {guidance}"] = f"{len(forward)} + {len(backward)}"
    return figures


def no_synchronisation(device: str) -> Figures:
    """Nothing in Python waits for the device; and calls return while it is kept busy."""
    inputs = make_inputs(Workload(2000 if device == "cuda" else 200, device=device))

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
    captured, replay = instruments.capture(lambda: results_of(inputs, attribute_guidance=0.5))
    with torch.no_grad():
        for mine, new in zip(inputs.leaves, other.leaves, strict=True):
            mine.copy_(new)
        inputs.sketch_attributes.copy_(other.sketch_attributes)
        inputs.photo_attributes.copy_(other.photo_attributes)
    replay()
    torch.cuda.synchronize()
    assert_equal(captured, results_of(other, attribute_guidance=0.5))
    return {}


def first_use_in_capture(device: str) -> Figures:
    """The first call of every operation is captured: kernels are loaded and set up meanwhile.

    Large enough for the tiles of every engine. To be run in a process of its own.
    """
    rows = (260, 11000) if device == "cuda" else (40, 70)
    figures: Figures = {}
    for dtype in (torch.bfloat16, torch.float32):
        inputs = make_inputs(Workload(rows[0], m=rows[1], dtype=dtype, device=device))
        pair = inputs.sketch, inputs.photo
        torch.cuda.synchronize()

        def step(inputs: Inputs = inputs, pair: tuple[Tensor, Tensor] = pair) -> list[Tensor]:
            labels = {"sketch_labels": inputs.sketch_labels, "photo_labels": inputs.photo_labels}
            distance = fx.pairwise_distance(*pair, metric="euclidean")
            found = fx.topk(*(x.detach() for x in pair), 10)
            gradients = torch.autograd.grad(distance.sum(), pair)
            results = results_of(inputs, attribute_guidance=0.5, **labels)
            return [*results, distance, *gradients, *found]

        captured, replay = instruments.capture(step)
        replay()
        torch.cuda.synchronize()
        assert_equal(captured, step())
        figures[str(dtype).removeprefix("torch.")] = len(captured)
    return {"results": figures}


def compiled(device: str) -> Figures:
    """torch.compile(mode="reduce-overhead") of a whole step."""
    inputs = make_inputs(Workload(256, device=device))

    def step(s: Tensor, p: Tensor, u: Tensor, v: Tensor) -> Tensor:
        known = {"sketch_logits": u, "photo_logits": v} | inputs.both("attributes")
        return fx.attribute_triplet_loss(s, p, **known, metric="cosine")

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
    _ = theirs * 2  # CuPy compiles now, and not while the stream is asleep
    torch.cuda.synchronize()
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
    inputs = make_inputs(Workload(300, device=f"{device}:1"))
    torch.cuda.set_device(0)
    actual = results_of(inputs)
    assert torch.cuda.current_device() == 0
    expected = results_of(make_inputs(Workload(300, device=f"{device}:0")))
    assert_equal([x.cpu() for x in actual], [x.cpu() for x in expected])
    return {"devices": torch.cuda.device_count(), "checked": True}
