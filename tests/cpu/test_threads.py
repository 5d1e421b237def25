"""Threads of the CPU operations: torch's own, and without influence on results."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import fgsbir_ext as fx
from tests.support.cases import METRICS, make_batch
from tests.support.compare import assert_same_bits, loss_and_gradients
from tests.support.subprocesses import run_python

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")

ALL_OPERATIONS = """
    import json, os, torch
    import fgsbir_ext as fx

    def threads():
        return len(os.listdir("/proc/self/task"))

    def run_all():
        x = torch.randn(600, 64, requires_grad=True)
        logits = torch.randn(600, 21, requires_grad=True)
        attributes = torch.randint(-1, 2, (600, 21))
        known = {"sketch_logits": logits, "photo_logits": logits}
        known |= {"sketch_attributes": attributes, "photo_attributes": attributes}
        fx.attribute_triplet_loss(x, x, **known, attribute_guidance=0.5).backward()
        fx.pairwise_distance(x, x).sum().backward()
        fx.attribute_distance(attributes, attributes)
        fx.topk(x, x, 10, query_logits=logits, gallery_logits=logits, attribute_weight=0.5)
"""


@pytest.mark.parametrize("count", [1, 2, 3])
def test_no_threads_but_torchs_own(count: int) -> None:
    """torch's product and backward start its pool; the operations add nothing to it."""
    before, of_torch, after = run_python(
        ALL_OPERATIONS
        + f"""
    torch.set_num_threads({count})
    before = threads()
    y = torch.randn(600, 600, requires_grad=True)
    torch.mm(y, y).sum().backward()
    of_torch = threads()
    run_all()
    print(json.dumps([before, of_torch, threads()]))
    """
    )
    assert of_torch >= before + count - 1
    assert after == of_torch


def test_one_runtime_is_loaded() -> None:
    """Two OpenMP runtimes in one process would start two pools, and can hang."""
    runtimes = run_python(
        ALL_OPERATIONS
        + """
    run_all()
    lines = open("/proc/self/maps").read().splitlines()
    names = {line.split()[-1] for line in lines if "omp" in os.path.basename(line.split()[-1])}
    print(json.dumps(sorted(names)))
    """
    )
    assert len(runtimes) == 1, runtimes


@pytest.fixture
def set_threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("metric", METRICS)
def test_results_do_not_depend_on_the_number_of_threads(
    set_threads: Callable[[int], None], metric: str
) -> None:
    """Every sum has one fixed order, and what decides and is returned is computed row by row."""
    batch = make_batch((257, 513, 70, 33), dtype=torch.float32)
    a, b = batch["sketch_attributes"], batch["photo_attributes"]
    results = []
    for threads in (1, 2, 3):
        set_threads(threads)
        loss, triplets = loss_and_gradients(
            fx.attribute_triplet_loss, batch, "parts", metric=metric, attribute_guidance=0.5
        )
        nearest = fx.topk(batch["sketch"], batch["photo"], 10, metric=metric)
        distance = fx.attribute_distance(a, b, weights=[0.1] * 33)
        results.append((tuple(loss.values()), triplets, nearest, distance))
    assert_same_bits(results[0], results[1])
    assert_same_bits(results[0], results[2])


def test_calls_from_several_python_threads() -> None:
    batches = [make_batch((65, 255, 33, 21), seed=seed) for seed in range(8)]

    def compute(batch: dict[str, torch.Tensor]) -> tuple:
        values, triplets = loss_and_gradients(fx.attribute_triplet_loss, batch)
        return *values.values(), *triplets, *fx.topk(batch["sketch"], batch["photo"], 5)

    expected = [compute(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        for actual, result in zip(pool.map(compute, batches * 4), expected * 4, strict=True):
            assert_same_bits(actual, result)


def test_a_forked_child_has_one_thread_and_the_same_results() -> None:
    """OpenMP's pool does not come along; the child would wait for its threads for ever."""
    ended, threads = run_python(
        ALL_OPERATIONS
        + """
    import time
    torch.set_num_threads(2)
    torch.manual_seed(0)
    x = torch.randn(900, 64)
    y = x.flip(0)  # which takes threads of torch's, for which the child would wait as well
    expected = fx.mine_batch_hard(x, y)
    values = fx.topk(x, x, 5)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        found = fx.mine_batch_hard(x, y)
        same = all(torch.equal(a, b) for a, b in zip(found, expected))
        same &= all(torch.equal(a, b) for a, b in zip(fx.topk(x, x, 5), values))
        fx.pairwise_distance(x, x)
        os.write(write, bytes([same, threads()]))
        os._exit(0)
    for _ in range(600):
        if os.waitpid(child, os.WNOHANG)[0]:
            break
        time.sleep(0.1)
    else:
        os.kill(child, 9)
        os.write(write, bytes([9, 9]))
    print(json.dumps(list(os.read(read, 2))))
    """
    )
    assert ended == 1
    assert threads == 1
