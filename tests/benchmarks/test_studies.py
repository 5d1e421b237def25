"""Tests of the studies: of small batches in processes of their own, as they replace functions."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmarks.studies import host_time, small_batch, topk_attributes
from benchmarks.studies.steps import BURST
from fgsbir.models import Output
from tests.emulation.build import built_or_skip
from tests.support.subprocesses import run_python

CODE = """
    import json
    from benchmarks.studies import {study}

    seconds = {study}.{function}({burst})
    print(json.dumps({{name: [len(found), min(found)] for name, found in seconds.items()}}))
"""


def found_by(study: Any, function: str, **environment: str) -> dict[str, list[float]]:
    """How many steps were timed, and the least time, by name."""
    name = study.__name__.rpartition(".")[2]
    code = CODE.format(study=name, function=function, burst=BURST)
    found: dict[str, list[float]] = run_python(code, **environment)
    assert all(least > 0 for _, least in found.values())
    return found


def test_stretches_of_a_small_batch() -> None:
    found = found_by(small_batch, "time_stretches")
    named = {*small_batch.STRETCHES.values(), small_batch.REST, small_batch.PRODUCT}
    assert found.keys() == named | {small_batch.MARKED, small_batch.UNMARKED}
    marked = sum(least for name, (_, least) in found.items() if name in named)
    assert marked - found[small_batch.PRODUCT][1] <= found[small_batch.MARKED][1]


@pytest.mark.kernels
def test_host_time_of_a_step_and_its_parts() -> None:
    module = str(built_or_skip())
    found = found_by(host_time, "time_steps", FGSBIR_EMULATION_MODULE=module)
    assert found.keys() == {
        host_time.STEP,
        host_time.FORWARD,
        host_time.FORWARD_KERNELS,
        host_time.BACKWARD_KERNELS,
        host_time.LEAST,
    }
    assert {count for count, _ in found.values()} == {BURST}


def test_top_k_is_timed_by_every_weight() -> None:
    queries, photos = (Output(torch.randn(n, 256), torch.randn(n, 20)) for n in (2, 50))
    found = topk_attributes.time_searches(queries, photos, turns=3)
    assert len(found) == 1 + len(topk_attributes.WEIGHTS)
    assert all(milliseconds > 0 for milliseconds in found.values())
