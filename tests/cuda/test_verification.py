"""Static verification (tests/verification) finds planted faults, and the docs show its results."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.kernel_report.toolkit import find_tool
from tests.support.paths import ROOT

pytest.importorskip("sentryward", reason="the verifier is not installed: pip install .[verify]")

from tests.verification import results
from tests.verification.barriers import barriers, without_each
from tests.verification.cases import CASES, Launch
from tests.verification.paths import Proof, first_proof, other_proofs
from tests.verification.ptx import Field, Kernel, compile_kernels
from tests.verification.results import BarrierRow, Row

try:
    find_tool("nvcc")
except FileNotFoundError as error:
    pytest.skip(str(error), allow_module_level=True)

TIMEOUT = 60
POINTERS = [struct.pack("<Q", 1 << 40 | i << 20) for i in range(4)]

Prove = Callable[..., Proof]


@pytest.fixture
def prove(tmp_path: Path) -> Prove:
    """A function that proves a kernel, given the body of ``f(float* a, float* b, int n)``."""

    def proof(
        body: str,
        n: int = 64,
        threads: int = 64,
        a: int = 0,
        b: int = 1,
        kernel: str = "f",
        **counting: Any,
    ) -> Proof:
        source = tmp_path / "kernel.cu"
        source.write_text(
            'extern "C" __global__ void f(float* a, float* b, int n) {\n'
            "__shared__ float s[64]; __shared__ int count;\n"
            f"const int i = threadIdx.x;\n{body}\n}}"
        )
        parameters = (POINTERS[a], POINTERS[b], struct.pack("<i", n))
        launch = Launch(
            operation="",
            shape="",
            dtype="float32",
            engine="cuda_cores",
            kernel=kernel,
            grid=(1, 1),
            threads=threads,
            shared=0,
            parameters=parameters,
            epilogue=None,
            quick=False,
            branches=False,
            **counting,
        )
        return first_proof(compile_kernels(source, "90a")["f"], launch, TIMEOUT)

    return proof


def is_refused(proof: Proof) -> bool:
    return proof.outcome.result == "potential_race"


EXCHANGE = "s[i] = a[i]; {} b[i] = s[63 - i];"


@pytest.mark.kernels
def test_a_missing_barrier_is_a_race(prove: Prove) -> None:
    assert prove(EXCHANGE.format("__syncthreads();")).outcome.race_free
    assert is_refused(prove(EXCHANGE.format("")))


@pytest.mark.kernels
def test_arrays_are_distinct_objects_unless_a_launch_has_equal_pointers(prove: Prove) -> None:
    body = "b[i] = a[63 - i];"
    assert prove(body).outcome.race_free
    assert is_refused(prove(body, a=1))


@pytest.mark.kernels
def test_a_branch_is_followed_the_other_way_by_a_proof_of_its_own(prove: Prove) -> None:
    first = prove(
        "s[i] = 0; __syncthreads(); if (a[i] > 0) { b[i] = s[i]; } else { b[0] = i; }"
        "if (a[i] > 1) b[i + 64] = 1;"
    )
    proofs = [first, *other_proofs(first, TIMEOUT)]
    assert len(proofs) == 3
    assert {proof.outcome.race_free for proof in proofs} == {True, False}


@pytest.mark.kernels
def test_a_loop_that_data_end_is_left(prove: Prove) -> None:
    body = "float x = a[i]; while (x > 1) {{ x = x / 2; {} }} b[i] = x;"
    proof = prove(body.format(""))
    assert proof.outcome.race_free
    assert proof.loops
    for other in other_proofs(proof, TIMEOUT):  # not those that stay in the loop for ever
        assert other.outcome.race_free
        assert other.loops >= proof.loops
    assert is_refused(prove(body.format("b[0] = x;")))


@pytest.mark.kernels
def test_votes_can_turn_out_either_way(prove: Prove) -> None:
    body = "s[i] = a[i]; if (__syncthreads_or(s[i] > 0)) {{ {} }} else b[i] = 1;"
    first = prove(body.format("b[i] = s[63 - i];"))
    assert all(p.outcome.race_free for p in [first, *other_proofs(first, TIMEOUT)])
    first = prove(body.format("b[0] = s[63 - i];"))
    assert any(is_refused(p) for p in [first, *other_proofs(first, TIMEOUT)])
    ballot = "if (__ballot_sync(~0u, a[i] > 0)) {}"
    assert prove(ballot.format("b[i] = 1;")).outcome.race_free
    assert is_refused(prove(ballot.format("b[0] = i;")))


@pytest.mark.kernels
def test_atomics_are_followed_where_nothing_else_touches_their_array(prove: Prove) -> None:
    assert prove("atomicMin((int*)b, i); a[i] = i;").outcome.race_free
    for body in (
        "if (i == 0) b[0] = 0; atomicMin((int*)b, i);",
        "atomicMin((int*)b, i); __syncthreads(); if (b[0] > 0) a[0] = i;",
        "if (i == 0) count = 0; __syncthreads(); atomicMax(&count, i); b[i] = 1;",
        "if (i == 0) count = 0; __syncthreads(); atomicAdd(&count, i); b[i] = 1;",
    ):
        assert prove(body).outcome.result == "unsupported"


@pytest.mark.kernels
def test_counters_of_each_thread_race_with_what_no_barrier_orders(prove: Prove) -> None:
    body = "s[i] = 0; {} atomicAdd((int*)s + 63 - i, 1); {} a[i] = s[i];"
    barrier = "__syncthreads();"
    assert prove(body.format(barrier, barrier)).outcome.race_free
    assert is_refused(prove(body.format("", barrier)))
    assert is_refused(prove(body.format(barrier, "")))


@pytest.mark.kernels
def test_one_thread_adds_for_those_that_share_a_counter(prove: Prove) -> None:
    body = "if (i < 4) s[i] = 0; {} a[i / 16 * 64 + atomicAdd((int*)s + i / 16, 1)] = i; {}"
    last = "__syncthreads(); if (i < 4) b[i] = s[i];"
    tile = {"kernel": "Tile", "threads": 64}
    assert prove(body.format("__syncthreads();", last), **tile).outcome.race_free
    assert is_refused(prove(body.format("__syncthreads();", last)))
    assert is_refused(prove(body.format("", last), **tile))
    assert is_refused(prove(body.format("__syncthreads();", "b[i] = s[0];"), **tile))


@pytest.mark.kernels
@pytest.mark.parametrize(("kernel", "holder"), [("Tile", "i / 16"), ("TensorTile", "i % 128 / 4")])
def test_threads_that_hold_a_row_share_its_counter(prove: Prove, kernel: str, holder: str) -> None:
    body = f"atomicAdd((int*)s + {holder}, 1); b[i] = 0;"
    assert prove(body, threads=256, kernel=kernel).outcome.race_free
    for other in ("i / 32", "i % 64 / 4", "i % 128 / 8"):
        assert is_refused(prove(body.replace(holder, other), threads=256, kernel=kernel))


WORDS = "int* bins = (int*)s; const int* data = (const int*)a;"


@pytest.mark.kernels
def test_two_lanes_share_the_counters_that_data_choose(prove: Prove) -> None:
    body = (
        WORDS + "bins[i] = 0; __syncwarp(); const int own = data[i]; atomicAdd(bins + own, 1);"
        "__syncwarp(); const unsigned peers = __match_any_sync(~0u, (long long)own);"
        "b[bins[own]] = i; {} if ((peers >> i) == 1) bins[own] += 1; {} a[i] = bins[i];"
    )
    sort = {"kernel": "gradients_of_anchors", "threads": 32}
    barrier = "__syncwarp();"
    assert prove(body.format(barrier, barrier), **sort).outcome.race_free
    assert is_refused(prove(body.format(barrier, barrier), threads=32))
    assert is_refused(prove(body.format("", barrier), **sort))
    assert is_refused(prove(body.format(barrier, ""), **sort))


@pytest.mark.kernels
def test_counters_are_passed_on_between_steps(prove: Prove) -> None:
    body = (
        WORDS + "bins[i] = 0; __syncwarp();"
        "atomicAdd(bins + data[i], 1); atomicAdd(bins + data[i + 32], 1); __syncwarp();"
        "for (int k = 0; k < 2; ++k) {{ const int own = data[i + 32 * k];"
        "const unsigned peers = __match_any_sync(~0u, (long long)own);"
        "if ((peers >> i) == 1) bins[own] += 1; {} }}"
    )
    sort = {"kernel": "gradients_of_anchors", "threads": 32}
    for passed, without in ({}, "race_free"), ({"counters": "passed on"}, "potential_race"):
        assert prove(body.format("__syncwarp();"), **sort, **passed).outcome.race_free
        assert prove(body.format(""), **sort, **passed).outcome.result == without


@pytest.mark.kernels
def test_counts_of_pools_are_known(prove: Prove) -> None:
    body = (
        "__shared__ int counts[4]; if (i < 4) counts[i] = 0; __syncthreads();"
        "atomicAdd(&counts[i / 16], 1); s[i] = i; {}\n"
        "const int known = counts[0];\n"
        "for (int k = i; k < known; k += 64) b[k] = {};"
    )
    launch = {"kernel": "Tile", "threads": 64, "count": 64}
    for value in ("s[63 - k]", "0"):
        proof = prove(body.format("__syncthreads();", value), **launch)
        assert proof.outcome.race_free
        assert not proof.ways
        assert is_refused(prove(body.format("", value), **launch))
    with pytest.raises(ValueError, match="reads no counts"):
        prove("atomicAdd((int*)s + i, 1); b[i] = 0;", **launch)


@pytest.mark.kernels
def test_reads_that_data_place_race_with_writes_of_the_same_array(prove: Prove) -> None:
    body = "b[i] = a[int(a[i])];"
    assert prove(body).outcome.race_free
    assert not prove(body, a=1).outcome.race_free
    written = "b[i] = a[int(b[i])]; if (i > 5) *({}float*)(a + i + 64) = 1;"
    assert not prove(written.format("")).outcome.race_free
    assert not prove(written.format("volatile ")).outcome.race_free


@pytest.mark.kernels
def test_a_bit_that_data_choose_is_the_first(prove: Prove) -> None:
    body = "s[i] = a[i]; {} b[i] = s[__ffs(int(a[i])) - 1];"
    assert prove(body.format("__syncthreads();")).outcome.race_free
    assert is_refused(prove(body.format("")))


@pytest.mark.kernels
def test_barriers_are_deleted_and_waits_loosened(prove: Prove) -> None:
    proof = prove(
        "if (n < 0) __syncthreads();\n__syncthreads();\n" + EXCHANGE.format("\n__syncthreads();\n")
    )
    assert len(barriers(proof.kernel)) == 3
    found = [(barrier.place, outcome.result) for barrier, outcome in without_each(proof, TIMEOUT)]
    assert found == [("kernel.cu:5", "race_free"), ("kernel.cu:7", "potential_race")]

    proof = prove(
        "#pragma unroll\n"
        "for (int k = 0; k < 2; ++k) {\n"
        'asm volatile("{.reg .u64 t; cvta.to.shared.u64 t, %0; cp.async.ca.shared.global [t], [%1],'
        ' 4; cp.async.commit_group;}" :: "l"(s + 32 * k + i), "l"(a + 32 * k + i) : "memory");\n}\n'
        'asm volatile("cp.async.wait_group 1;" ::: "memory");\n'
        "__syncthreads(); b[i] = s[31 - i];",
        threads=32,
    )
    assert proof.outcome.race_free, proof.outcome.reason
    wait, barrier = without_each(proof, TIMEOUT)
    assert wait[0].instruction == "cp.async.wait_group"
    assert not wait[1].race_free
    assert not barrier[1].race_free


# --- What is stored -------------------------------------------------------------------------------


def row(**changes: object) -> Row:
    known = Row("90a", "cuda_cores", "f", "float32", "2 x 3", "1 x 1", "race_free", "", 1.0, 0, 0)
    return replace(known, **changes)  # type: ignore[arg-type]


def test_a_kernel_that_is_no_longer_race_free_is_a_regression() -> None:
    assert results.regressions([row(seconds=2.0)], [row()]) == []
    (lost,) = results.regressions([row(result="potential_race", reason="why")], [row()])
    assert "was race-free, now potential_race: why" in lost
    (unknown,) = results.regressions([row(shape="9 x 9")], [row()])
    assert "not among the stored results" in unknown
    assert results.regressions([row()], [row(result="unsupported")]) == []


def test_new_results_take_the_place_of_old_ones() -> None:
    other = row(shape="9 x 9")
    old = row(seconds=2.0, other_ways=3, other_race_free=3)
    assert results.merged([old, other], [row()]) == [replace(old, seconds=1.0), other]


def test_new_results_without_barriers_take_the_place_of_all_of_a_launch() -> None:
    gone = BarrierRow("90a", "cuda_cores", "f", "2 x 3", "bar.sync", "a.cu:1", "race_free")
    moved, other = replace(gone, place="a.cu:2"), replace(gone, kernel="g")
    assert results.merged_barriers([gone, other], [moved]) == [other, moved]


def test_barriers_are_where_their_results_say() -> None:
    words = {"bar.sync": "__syncthreads", "bar.warp.sync": "__syncwarp"}
    for row in results.load_barriers():
        file, line = row.place.split(" at ")[0].split(":")
        source = (ROOT / "csrc" / "cuda" / file).read_text().split("\n")[int(line) - 1]
        assert words.get(row.instruction, row.instruction) in source, row.place


def test_of_every_case_in_the_quick_set_a_result_is_stored_and_none_of_any_other() -> None:
    cases = {
        (engine, dtype, case.label()): dtype in case.quick
        for case in CASES
        for engine in case.engines
        for dtype in case.dtypes
    }
    quick = {case for case, is_quick in cases.items() if is_quick}
    rows = results.load_rows()
    assert "invalid_input" not in {row.result for row in rows}
    stored = {
        architecture: {
            (row.engine, row.dtype, row.shape) for row in rows if row.architecture == architecture
        }
        for architecture in {row.architecture for row in rows}
    }
    full = stored.pop(results.ARCHITECTURE)
    assert quick <= full <= cases.keys()
    assert stored == {"80": quick, "100": quick}


def test_fields_of_a_launch_do_not_overlap() -> None:
    places = "u32 a_param_0+4", "s32 %rd1", "u64 a_param_0", "u32 %rd3+4"
    loads = (f"ld.param.{kind} %r1, [{at}];" for kind, at in map(str.split, places))
    addresses = (
        "mov.b64 %rd1, a_param_0;",
        "selp.b64 %rd2, 24, 72, %p1;",
        "add.s64 %rd3, %rd1, %rd2;",
    )
    kernel = Kernel("a", "a", "", "\n" + "\n".join([*addresses, *loads]))
    assert kernel.fields() == [Field(0, 0, "u64"), Field(0, 28, "u32"), Field(0, 76, "u32")]


def test_the_documentation_shows_what_is_stored() -> None:
    text = (ROOT / "docs" / "verification.md").read_text()
    assert results.architecture_table(results.load_rows()) in text
    assert results.proof_table(results.load_rows()) in text
    assert results.barrier_table(results.load_barriers()) in text
