"""Memory of the CPU operations: how much they need, and no access outside their arrays."""

from __future__ import annotations

import sys

import pytest

from tests.support.subprocesses import run_python

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads the peak in /proc/self")

# Peak resident memory during one call, over what was resident before it, in MB. A small call first
# loads the code and starts the threads, whose memory is no part of the question.
MEASURE = """
    import json, torch
    import fgsbir_ext as fx
    from tests.support.cases import both

    torch.set_num_threads(2)

    def batch(n):
        sketch, photo = (torch.randn(n, 256, requires_grad=True) for _ in range(2))
        u, v = (torch.randn(n, 21, requires_grad=True) for _ in range(2))
        a, b = (torch.randint(-1, 2, (n, 21), dtype=torch.int8) for _ in range(2))
        return sketch, photo, both(logits=(u, v)), both(attributes=(a, b))

    def status(name):
        for line in open("/proc/self/status"):
            if line.startswith(name):
                return int(line.split()[1]) * 1024 / 1e6  # from kiB

    def report(call, n):
        call(*batch(300))
        inputs = batch(n)
        open("/proc/self/clear_refs", "w").write("5")  # the peak starts anew
        before = status("VmRSS")
        call(*inputs)
        print(json.dumps(status("VmHWM") - before))
"""

# Gradients of two (16384, 256) and two (16384, 21) matrices in float32.
GRADIENTS = 2 * 16384 * (256 + 21) * 4 / 1e6
# A matrix of 8192 x 8192 distances would be 268 MB.
LIMIT = 100.0


def megabytes(call: str) -> float:
    return run_python(MEASURE + call, timeout=300)


def test_the_measure_sees_a_matrix() -> None:
    """A distance matrix of 16384 x 2048 in float32 is 134 MB."""
    call = """
    def matrix(x, y, *_):
        fx.pairwise_distance(x.detach(), y.detach()[:2048])

    report(matrix, 16384)
    """
    assert 134 < megabytes(call) < 134 + 40


@pytest.mark.slow
def test_training_step() -> None:
    call = """
    def step(sketch, photo, logits, attributes):
        loss = fx.attribute_triplet_loss(
            sketch, photo, **logits, **attributes, attribute_guidance=0.5
        )
        loss.backward()

    report(step, 16384)
    """
    assert megabytes(call) - GRADIENTS < LIMIT


def test_mining() -> None:
    call = """
    def mine(sketch, photo, logits, attributes):
        ids = torch.arange(len(sketch)) // 4
        labels = {"sketch_labels": ids, "photo_labels": ids}
        fx.mine_batch_hard(sketch, photo, **labels, **attributes, attribute_guidance=0.5)

    report(mine, 8192)
    """
    assert megabytes(call) < LIMIT


def test_topk() -> None:
    call = """
    def search(query, gallery, logits, attributes):
        with torch.no_grad():
            fx.topk(
                query,
                gallery,
                100,
                query_logits=logits["sketch_logits"],
                gallery_logits=logits["photo_logits"],
                attribute_weight=0.5,
            )

    report(search, 8192)
    """
    results = 8192 * 100 * (4 + 8) / 1e6
    assert megabytes(call) - results < LIMIT


@pytest.mark.parametrize("queries", [1, 100])
def test_a_gallery_of_16_bits_is_not_converted(queries: int) -> None:
    """In float32 it would be 268 MB."""
    call = f"""
    def search(gallery, logits):
        logits = dict(query_logits=logits[:{queries}], gallery_logits=logits)
        fx.topk(gallery[:{queries}], gallery, 10, **logits, attribute_weight=0.5)

    def batch(n):
        return [torch.randn(n, size).bfloat16() for size in (256, 21)]

    report(search, 2**18)
    """
    assert megabytes(call) < 30


def test_nothing_is_read_or_written_outside_the_inputs() -> None:
    """Inputs that end where their page does, before one that must not be touched."""
    code = """
    import ctypes, json, mmap
    import torch
    import fgsbir_ext as fx
    from tests.support.cases import SMALL_SHAPES, LOSS_INPUTS, make_batch, make_weights

    libc = ctypes.CDLL(None, use_errno=True)
    PAGE = mmap.PAGESIZE
    kept = []

    def at_the_end_of_memory(x):
        size = x.numel() * x.element_size()
        if size == 0:
            return x
        pages = -(-size // PAGE)
        memory = mmap.mmap(-1, (pages + 1) * PAGE)
        start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        guard = ctypes.c_void_p(start + pages * PAGE)
        assert libc.mprotect(guard, PAGE, 0) == 0
        kept.append(memory)
        view = torch.frombuffer(
            memory, dtype=x.dtype, count=x.numel(), offset=pages * PAGE - size
        ).view(x.shape)
        return view.copy_(x)

    for dtype in (torch.float32, torch.float64):
        for shape in SMALL_SHAPES:
            batch = {
                name: at_the_end_of_memory(x)
                for name, x in make_batch(shape, dtype=dtype).items()
            }
            for name in LOSS_INPUTS:
                batch[name].requires_grad_()
            weights = at_the_end_of_memory(make_weights(shape[3]).double())
            for metric in ("euclidean", "cosine"):
                options = {"attribute_guidance": 0.5, "attribute_weights": weights}
                fx.attribute_triplet_loss(**batch, **options, metric=metric).backward()
                x, y = batch["sketch"], batch["photo"]
                fx.pairwise_distance(x, y, metric=metric).sum().backward()
                logits = {
                    "query_logits": batch["sketch_logits"],
                    "gallery_logits": batch["photo_logits"],
                }
                fx.topk(x, y, len(y), **logits, attribute_weight=0.5, metric=metric)
                for short in (torch.bfloat16, torch.float16):
                    sides = [
                        at_the_end_of_memory(side.detach().to(short))
                        for side in (x, y, *logits.values())
                    ]
                    logits = dict(zip(logits, sides[2:]))
                    fx.topk(*sides[:2], len(y), **logits, attribute_weight=0.5, metric=metric)
    print(json.dumps(len(kept)))
    """
    assert run_python(code) > 50
