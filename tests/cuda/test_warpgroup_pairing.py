"""The pairing rules of wgmma, in the compiled kernels of warpgroups."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from benchmarks.kernel_report.toolkit import find_tool
from tests.verification.ptx import SOURCES, Kernel, compile_kernels
from tests.verification.warpgroups import Rule, check_ptx, check_sass, disassemble

pytestmark = pytest.mark.kernels

ARCHITECTURE = "90a"
OPERATIONS = ("pairwise_distance", "mine_batch_hard")
# Where a kernel starts products: by hand, and for the first k-tiles of a stream and those behind.
PLACES = 3


class Fault(NamedTuple):
    """What to put for a pattern, which rules that breaks, and at how many places."""

    pattern: str
    replacement: str
    broken: set[Rule]
    places: int = PLACES


PTX_FAULTS = {
    # From one pass of a loop of k-tiles to the next, nothing else uses the sums.
    "no fence": Fault(r"wgmma\.fence[^;]*;", "", {Rule.FENCE}, 2),
    "no commit": Fault(r"wgmma\.commit_group[^;]*;", "", {Rule.COMMIT, Rule.SUMS}),
    "no wait": Fault(r"wgmma\.wait_group[^;]*;", "", {Rule.WAIT, Rule.SUMS}),
    "a wait for all but one": Fault(
        r"(wgmma\.wait_group\S*)\s+0;", r"\1 1;", {Rule.WAIT, Rule.SUMS}
    ),
    "a use before the wait": Fault(
        r"(wgmma\.mma_async\S* \{(%f\d+),[^;]*;\s*\}[^;]*wgmma\.commit_group[^;]*;)",
        r"\1 mov.f32 %f1, \2;",
        {Rule.SUMS},
    ),
    "no wait for copies": Fault(r"cp\.async\.wait_group[^;]*;", "", {Rule.COPIES}, 2),
    "no proxy fence": Fault(r"fence\.proxy\.async[^;]*;", "", {Rule.PROXY}),
    "no barrier": Fault(r"bar\.sync[^;]*;(?=[^;]*wgmma\.fence)", "", {Rule.BARRIER}),
    "a barrier before the proxy fence": Fault(
        r"(fence\.proxy\.async[^;]*;)([^;]*)(bar\.sync[^;]*;)", r"\3\2\1", {Rule.BARRIER}
    ),
}

SASS_FAULTS = {
    "no fence": Fault(r"WARPGROUP\.ARRIVE ;", "", {Rule.FENCE}, 2),
    "no commit": Fault(r", gsb0 ;", " ;", {Rule.COMMIT, Rule.SUMS}),
    "no wait": Fault(r"WARPGROUP\.DEPBAR[^;]*;", "", {Rule.WAIT, Rule.SUMS}),
    "a wait for all but one": Fault(
        r"(WARPGROUP\.DEPBAR\S* gsb0,) 0x0", r"\1 0x1", {Rule.WAIT, Rule.SUMS}
    ),
    "a use before the wait": Fault(
        r"(HGMMA\S* (R\d+),[^;]*gsb0 ;)", r"\1 /*fff0*/ MOV R0, \2 ;", {Rule.SUMS}
    ),
    "no wait for copies": Fault(r"(?<!\.)\bDEPBAR[^;]*;", "", {Rule.COPIES}, 2),
    "no proxy fence": Fault(r"FENCE\.VIEW\.ASYNC\S* ;", "", {Rule.PROXY}),
    "no barrier": Fault(
        r"BAR\.SYNC[^;]*;(?=(?:[^;]*;){0,4}[^;]*WARPGROUP\.ARRIVE)", "", {Rule.BARRIER}
    ),
}


@functools.cache
def kernels(operation: str) -> list[Kernel]:
    """The kernels of an operation that have products of warpgroups."""
    _find_or_skip("nvcc")
    every = compile_kernels(SOURCES / f"{operation}.cu", ARCHITECTURE).values()
    return [kernel for kernel in every if "wgmma" in kernel.body]


@functools.cache
def assembled(operation: str) -> list[str]:
    """The SASS of the same kernels."""
    _find_or_skip("ptxas")
    _find_or_skip("nvdisasm")
    return [disassemble(kernel, ARCHITECTURE) for kernel in kernels(operation)]


def _find_or_skip(tool: str) -> None:
    try:
        find_tool(tool)
    except FileNotFoundError as error:
        pytest.skip(str(error))


def planted(fault: Fault, text: str) -> Iterator[str]:
    """The text with the fault at one place after the other."""
    for match in re.finditer(fault.pattern, text):
        yield text[: match.start()] + match.expand(fault.replacement) + text[match.end() :]


def assert_found(fault: Fault, text: str, rules: Callable[[str], set[Rule]]) -> None:
    found = [rules(faulty) for faulty in planted(fault, text)]
    assert found.count(fault.broken) == fault.places
    assert all(broken in (fault.broken, set()) for broken in found)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_kernels_keep_the_rules(operation: str) -> None:
    assert len(kernels(operation)) == 2
    for kernel in kernels(operation):
        assert check_ptx(kernel) == [], kernel.name


@pytest.mark.parametrize("operation", OPERATIONS)
def test_assembled_kernels_keep_the_rules(operation: str) -> None:
    for kernel, sass in zip(kernels(operation), assembled(operation), strict=True):
        assert sass.count(" HGMMA.") == kernel.body.count("wgmma.mma_async") > 0
        assert check_sass(sass) == [], kernel.name


@pytest.mark.parametrize("fault", PTX_FAULTS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_fault_is_found(operation: str, fault: str) -> None:
    kernel = kernels(operation)[0]
    assert_found(
        PTX_FAULTS[fault],
        kernel.body,
        lambda body: {violation.rule for violation in check_ptx(kernel.with_body(body))},
    )


@pytest.mark.parametrize("fault", SASS_FAULTS)
def test_a_fault_of_assembled_code_is_found(fault: str) -> None:
    assert_found(
        SASS_FAULTS[fault],
        assembled("pairwise_distance")[0],
        lambda sass: {violation.rule for violation in check_sass(sass)},
    )
