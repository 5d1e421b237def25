"""Kernels are proved equal to PyTorch, in real arithmetic, and planted faults are refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

import pytest

from benchmarks.kernel_report.toolkit import find_tool
from tests.emulation.build import built_or_skip

pytest.importorskip("sentryward", reason="the verifier is not installed: pip install .[verify]")

from tests.verification.equality import (
    Claim,
    distances,
    gradients,
    inverse_norms,
    prove,
    reduced_terms,
    squared_norms,
)

pytestmark = pytest.mark.kernels


@pytest.fixture(scope="module", autouse=True)
def _tools() -> None:
    built_or_skip()
    try:
        find_tool("nvcc")
    except FileNotFoundError as error:
        pytest.skip(str(error))


def changed(pattern: str, by: str, count: int = 0) -> Callable[[str], str]:
    return partial(re.sub, pattern, by, count=count)


ADDS = changed(r"sub\.f32", "add.f32", 1)
FORGETS_SUMS = changed(r"fma\.rn\.f32\s+(%f\d+), (%f\d+), (%f\d+), %f\d+;", r"mul.f32 \1, \2, \3;")
MULTIPLIES = changed(r"div\.rn\.f32", "mul.rn.f32")
COUNTS_INVALID = changed(r"(xor\.b32\s+%r\d+, %r\d+), 1;", r"\1, 0;")
METRICS = ("sqeuclidean", "euclidean", "cosine")

# The claim, the fault, and whether both sides are proved to be defined for every input.
CLAIMS: dict[str, tuple[Callable[[], Claim], Callable[[str], str], bool]] = {
    "squared norms": (partial(squared_norms, 9, 5, 37), FORGETS_SUMS, True),
    "inverse norms": (partial(inverse_norms, 9, 5, 37), FORGETS_SUMS, False),
    "terms of the loss": (partial(reduced_terms, 2), COUNTS_INVALID, True),
    "euclidean slope": (partial(gradients, 3, 5, 7, "euclidean", of_y=True), MULTIPLIES, False),
}
for metric in METRICS:
    CLAIMS[f"distances, {metric}"] = (partial(distances, 3, 5, 7, metric), ADDS, True)
    for side in ("x", "y"):
        CLAIMS[f"gradient of {side}, {metric}"] = (
            partial(gradients, 3, 5, 7, metric, of_y=side == "y"),
            ADDS,
            metric != "euclidean",
        )


@pytest.mark.parametrize("name", CLAIMS)
def test_equals_pytorch_and_a_fault_is_refused(name: str) -> None:
    claim, fault, total = CLAIMS[name]
    answer = prove(claim())
    assert (answer.result, answer.total) == ("verified", total), answer.reason
    assert prove(claim(), change=fault).result == "equivalence_not_proven"


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_equals_pytorch_in_every_type(dtype: str) -> None:
    assert prove(distances(3, 5, 7, "sqeuclidean", dtype)).result == "verified"
