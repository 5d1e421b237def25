"""Engines of inner products of all pairs: two on tensor cores, with CUDA cores as their oracle.

Operations at the sizes where an engine changes its way run on every device; instructions, engines
by themselves and one engine beside the other on the host emulation.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import fgsbir_ext as fx
from fgsbir_ext.types import MiningOptions, SearchOptions, Side
from tests.emulation.attach import attach
from tests.support.cases import METRICS, all_pairs, both, make_batch, make_weights
from tests.support.compare import assert_accurate, assert_good_picks, assert_same_bits, exact
from tests.support.engines import CUDA_CORES, ENGINES, TENSOR_CORES

TENSOR_TYPES = TENSOR_CORES.types
# Chunks of 8 numbers of 16 bits or 4 of float32, k-tiles of 32 or 16, three of them under way; one
# less and one more; rows that are no whole chunks.
DEPTHS = (0, 1, 4, 7, 8, 12, 16, 24, 31, 32, 40, 64, 72, 96, 100, 136)


def numbers(rows: int, depth: int, dtype: torch.dtype, *, offset: int = 0) -> Tensor:
    """Rows whose memory begins ``offset`` elements after a multiple of 16 bytes."""
    generator = torch.Generator().manual_seed(31 * rows + depth)
    values = torch.randn(rows, depth, generator=generator).to(dtype)
    held = torch.full((offset + rows * depth,), torch.nan, dtype=dtype)
    placed = held[offset:].view(rows, depth)
    return placed.copy_(values)


# --- Operations, on every device ----------------------------------------------------------------


@pytest.mark.parametrize("dtype", TENSOR_TYPES)
@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("depth", DEPTHS[1:])
def test_distances_of_every_depth(device: str, depth: int, offset: int, dtype: torch.dtype) -> None:
    x = numbers(9, depth, dtype, offset=offset).to(device)
    y = numbers(70, depth, dtype).to(device)
    for metric in METRICS:
        actual, truth, baseline = (
            distance(*inputs, metric=metric)
            for distance, inputs in (
                (fx.pairwise_distance, (x, y)),
                (fx.reference.pairwise_distance, exact({"x": x, "y": y}).values()),
                (fx.reference.pairwise_distance, (x, y)),
            )
        )
        assert_accurate(actual, truth, baseline, metric, terms=1.0)


@pytest.mark.parametrize(
    ("n", "m", "d", "dtype"),
    [
        (260, 5500, 20, torch.float32),
        (260, 11000, 24, torch.bfloat16),
        (260, 11000, 3, torch.float16),
    ],
)
def test_picks_of_large_tiles(device: str, n: int, m: int, d: int, dtype: torch.dtype) -> None:
    batch = make_batch((n, m, d, 3), dtype=dtype, device=device, logits=False)
    picks = fx.mine_batch_hard(**batch, attribute_guidance=0.5)
    assert_good_picks(picks, batch, dtype, attribute_guidance=0.5)


@pytest.mark.parametrize(
    "case",
    all_pairs(
        metric=METRICS,
        guidance=(0.0, 0.5, float("inf")),
        k=(3, 40, 70),  # in one word of bits, in two, and in more than are scanned
        weights=(False, True),
        d=(40, 264, 33),  # an odd number of k-tiles, more than stay in memory, no whole chunks
        dtype=TENSOR_TYPES,
        untamed=(False, True),
    ),
)
def test_picks_of_every_score_in_large_tiles(device: str, case: dict[str, Any]) -> None:
    """Also where some tiles hold a photo that overflows, so that they are not scanned."""
    m = 5500 if case["dtype"] == torch.float32 else 11000
    batch = make_batch(
        (260, m, case["d"], case["k"]), dtype=case["dtype"], device=device, logits=False
    )
    batch = {name: x.clone() for name, x in batch.items()}  # on boundaries of 16 bytes
    if case["untamed"]:
        batch["photo"][m // 2 :: 1000] *= 2.0**15 if case["dtype"] == torch.float16 else 2.0**60
    options = {"metric": case["metric"], "attribute_guidance": case["guidance"]}
    if case["weights"] and case["guidance"]:
        options["attribute_weights"] = make_weights(case["k"], device)
    picks = fx.mine_batch_hard(**batch, **options)
    assert_good_picks(picks, batch, case["dtype"], **options)


@pytest.mark.parametrize(
    ("dtype", "k"),  # more than 32 attributes: the bits of equal counts may lie in other words
    [(torch.float32, 4), (torch.float16, 37), (torch.bfloat16, 21), (torch.bfloat16, 70)],
)
def test_ties_in_large_tiles_go_to_the_lowest_index(
    device: str, dtype: torch.dtype, k: int
) -> None:
    """Across lanes, tiles and splits, of both the nearest negative and the farthest positive."""
    generator = torch.Generator().manual_seed(0)
    n, m = 300, 11000
    sketch = torch.randint(-2, 3, (n, 8), generator=generator).to(dtype)
    photo = torch.randint(-2, 3, (m, 8), generator=generator).to(dtype)
    attributes = [torch.randint(-1, 2, (rows, k), generator=generator) for rows in (n, m)]
    labels = [torch.randint(0, 40, (rows,), generator=generator) for rows in (n, m)]
    batch = {"sketch": sketch, "photo": photo} | both(labels=labels, attributes=attributes)
    batch = {name: x.to(device) for name, x in batch.items()}
    for guidance in (0.0, 0.25, float("inf")):
        picks = fx.mine_batch_hard(**batch, attribute_guidance=guidance)
        expected = fx.reference.mine_batch_hard(**batch, attribute_guidance=guidance)
        assert_same_bits(tuple(picks), tuple(expected))


@pytest.mark.parametrize(
    ("d", "dtype"), [(168, torch.float16), (104, torch.bfloat16), (20, torch.float32)]
)
def test_distances_of_large_tiles(device: str, d: int, dtype: torch.dtype) -> None:
    x, y = (numbers(n, d, dtype).to(device) for n in (260, 11000))
    actual = fx.pairwise_distance(x, y)
    truth = fx.reference.pairwise_distance(*exact({"x": x, "y": y}).values())
    assert_accurate(actual, truth, fx.reference.pairwise_distance(x, y))


@pytest.mark.parametrize(
    ("metric", "n", "m", "dtype"),
    [
        ("sqeuclidean", 2100, 4200, torch.float32),
        ("euclidean", 2100, 4200, torch.float32),
        ("sqeuclidean", 2100, 2100, torch.float64),
        ("euclidean", 2100, 2100, torch.float64),
        ("euclidean", 2100, 8320, torch.bfloat16),
    ],
)
def test_picks_where_a_split_has_several_tiles(
    device: str, metric: str, n: int, m: int, dtype: torch.dtype
) -> None:
    """Whole numbers, so that ties are exact; and for some sketches a NaN that comes late."""
    generator = torch.Generator().manual_seed(0)
    sketch, photo = (torch.randint(-3, 4, (k, 8), generator=generator).to(dtype) for k in (n, m))
    sketch[:100, 0] = photo[m - 10, 0] = torch.inf
    labels = torch.randperm(n, generator=generator), torch.arange(m) % n
    batch = {"sketch": sketch, "photo": photo} | both(labels=labels)
    batch = {name: x.to(device) for name, x in batch.items()}
    picks = fx.mine_batch_hard(**batch, metric=metric)
    expected = fx.reference.mine_batch_hard(**batch, metric=metric)
    assert (expected.negative[:100] == m - 10).sum() > 90
    assert_same_bits(tuple(picks), tuple(expected))


def test_float32_products_are_those_of_float32(device: str) -> None:
    """Where nothing cancels, to a few units in the last place, at a depth of hundreds of steps."""
    x, y = (numbers(n, 4096, torch.float32).abs().to(device) for n in (40, 70))
    y = -y
    truth = fx.reference.pairwise_distance(*exact({"x": x, "y": y}).values())
    actual = fx.pairwise_distance(x, y).cpu().double()
    assert ((actual - truth).abs() / truth).max() < 2e-6


# --- The emulation: instructions ----------------------------------------------------------------


def registers(matrix: Tensor) -> Tensor:
    """The 32-bit registers [32, n] of a warp that holds A, 16 x K, or the columns of B, 8 x K.

    Rows are (half, group of lanes), for B one half; columns (half, lane of the group, element).
    Registers go by the half of the columns, then by that of the rows.
    """
    halves = len(matrix) // 8
    cut = matrix.reshape(halves, 8, 2, 4, 4 // matrix.element_size())
    return cut.permute(1, 3, 2, 0, 4).contiguous().view(torch.int32).reshape(32, 2 * halves)


def distinct(rows: int, columns: int, dtype: torch.dtype, start: int) -> Tensor:
    """A different whole number in every place."""
    return (torch.arange(rows * columns) + start).view(rows, columns).to(dtype)


def multiply(kernels: Any, a: Tensor, b: Tensor, c: Tensor, lanes: int = 32) -> Tensor:
    """a b^T + c by one instruction, for c 16 x 8."""
    sums = c.reshape(2, 8, 4, 2).permute(1, 2, 0, 3).reshape(32, 4).contiguous()
    of_a, of_b = registers(a), registers(b)
    addresses = (of_a.data_ptr(), of_b.data_ptr(), sums.data_ptr())
    kernels.multiply(scalar_type(kernels, a.dtype), *addresses, lanes)
    return sums.view(8, 4, 2, 2).permute(2, 0, 1, 3).reshape(16, 8)


def scalar_type(kernels: Any, dtype: torch.dtype) -> Any:
    return kernels.ScalarType.__members__[str(dtype).removeprefix("torch.")]


@pytest.mark.kernels
@pytest.mark.parametrize("dtype", TENSOR_TYPES)
def test_a_warp_multiplies_matrices(emulation: tuple[Any, Any], dtype: torch.dtype) -> None:
    depth = 8 if dtype == torch.float32 else 16
    a, b = distinct(16, depth, dtype, -100), distinct(8, depth, dtype, 3)
    c = distinct(16, 8, torch.float32, 1000)
    assert torch.equal(multiply(emulation[1], a, b, c), a.float() @ b.float().T + c)


@pytest.mark.kernels
def test_a_multiplication_cuts_off_what_tf32_has_no_place_for(emulation: tuple[Any, Any]) -> None:
    a, b = torch.ones(16, 8), torch.zeros(8, 8)
    b[:, 0] = 1 + 2**-10 + 2**-11 + 2**-20
    assert (multiply(emulation[1], a, b, torch.zeros(16, 8)) == 1 + 2**-10).all()


@pytest.mark.kernels
@pytest.mark.parametrize("dtype", TENSOR_TYPES)
def test_a_multiplication_without_all_lanes_fails(
    emulation: tuple[Any, Any], dtype: torch.dtype
) -> None:
    depth = 8 if dtype == torch.float32 else 16
    a, b = torch.ones(16, depth, dtype=dtype), torch.ones(8, depth, dtype=dtype)
    with pytest.raises(RuntimeError, match="warp operation"):
        multiply(emulation[1], a, b, torch.zeros(16, 8), lanes=31)


@pytest.mark.kernels
def test_a_warp_loads_matrices(emulation: tuple[Any, Any]) -> None:
    matrices = distinct(32, 8, torch.int16, 0)
    out = torch.empty(32, 4, dtype=torch.int32)
    emulation[1].load(matrices.data_ptr(), out.data_ptr())
    assert torch.equal(
        out, matrices.view(4, 32, 2).permute(1, 0, 2).contiguous().view(torch.int32)[..., 0]
    )


@pytest.mark.kernels
def test_copies_are_there_after_the_wait_alone(emulation: tuple[Any, Any]) -> None:
    chunks, out = distinct(32, 4, torch.float32, 1), torch.empty(32, 4)
    emulation[1].copy(chunks.data_ptr(), out.data_ptr(), 20, True)
    chunks[20:] = 0
    assert torch.equal(out.view(16, 2, 4).flip(1).view(32, 4), chunks)
    emulation[1].copy(chunks.data_ptr(), out.data_ptr(), 20, False)
    assert out.isnan().all()


# --- The emulation: engines ---------------------------------------------------------------------


@pytest.mark.kernels
def test_the_tests_know_the_engines(emulation: tuple[Any, Any]) -> None:
    assert list(emulation[1].Engine.__members__) == list(ENGINES)


@pytest.mark.kernels
@pytest.mark.parametrize(
    ("engine", "tile", "dtype"),
    [
        *(("tensor_cores", (64, 64), dtype) for dtype in TENSOR_TYPES),
        *(
            (engine.name, (128, 64 if dtype == torch.float32 else 128), dtype)
            for engine in ENGINES.values()
            if engine != CUDA_CORES
            for dtype in engine.types
        ),
    ],
)
def test_products_of_an_engine(
    emulation: tuple[Any, Any], engine: str, tile: tuple[int, int], dtype: torch.dtype
) -> None:
    """Every element, for whole and cut tiles, to the precision of float32.

    The depths past 136 are where rows begin to be too long to stay in shared memory.
    """
    _, kernels = emulation
    rows, columns = tile
    options = scalar_type(kernels, dtype), kernels.Engine.__members__[engine], rows == 128
    for depth in (*DEPTHS, *ENGINES[engine].longest):
        for n, m, offset in ((rows, columns, 0), (rows + 3, 2 * columns + 5, 0), (2, 9, 1)):
            x, y = numbers(n, depth, dtype, offset=offset), numbers(m, depth, dtype)
            out = torch.full((n, m), torch.nan)
            kernels.multiply_rows(*options, x.data_ptr(), y.data_ptr(), out.data_ptr(), n, m, depth)
            x, y = x.double(), y.double()
            error = (out.double() - x @ y.T).abs()
            assert (error <= 2**-20 * (x.abs() @ y.abs().T)).all(), (depth, n, m)


@pytest.fixture(scope="module")
def held_to(
    module_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[Any, Any]]:
    """The CUDA backend over a copy of the emulated kernels that read the switch as given."""

    @functools.cache
    def attached(switch: str) -> tuple[Any, Any]:
        copy = tmp_path_factory.mktemp(f"switch_{switch}") / module_path.name
        shutil.copy(module_path, copy)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FGSBIR_TENSOR_CORES", switch)
            backend, kernels = attach(copy)
            x = torch.zeros(1, 1)
            backend.pairwise_distance(x, x, "sqeuclidean")  # the switch is read once
        return backend, kernels

    return attached


def whole_numbers(n: int, m: int, k: int, dtype: torch.dtype) -> tuple[Side, Side]:
    """Embeddings, labels and attributes of which no rounding is to be feared, with many ties."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randint(-2, 3, (rows, 40), generator=generator).to(dtype) for rows in (n, m))
    labels = [torch.randint(0, 9, (rows,), generator=generator) for rows in (n, m)]
    attributes = [torch.randint(-1, 2, (rows, k), generator=generator) for rows in (n, m)]
    of_x, of_y = zip(attributes, labels, strict=True)
    return Side(x, None, *of_x), Side(y, None, *of_y)


@pytest.mark.kernels
@pytest.mark.parametrize("dtype", TENSOR_TYPES)
@pytest.mark.parametrize(("metric", "k"), [("sqeuclidean", 37), ("euclidean", 21)])
def test_engines_agree_bit_by_bit_on_whole_numbers(
    emulation: tuple[Any, Any],
    held_to: Callable[[str], tuple[Any, Any]],
    metric: str,
    k: int,
    dtype: torch.dtype,
) -> None:
    batch = whole_numbers(150, 700, k, dtype)
    x, y = (side.embedding for side in batch)
    generator = torch.Generator().manual_seed(1)
    logits = [torch.randn(n, 5, generator=generator).to(dtype) for n in (150, 700)]
    results = []
    for backend, _ in (emulation, held_to("0")):
        found = [backend.pairwise_distance(x, y, metric)]
        for guidance in (0.0, 0.5, float("inf")):
            found += backend.mine_batch_hard(*batch, None, MiningOptions(metric, guidance))
        search = SearchOptions(20, 0.0, metric, "sqeuclidean")
        found += backend.topk(Side(x), Side(y), search)
        search = SearchOptions(20, 0.5, metric, "cross_entropy")
        found += backend.topk(Side(x, logits[0]), Side(y, logits[1]), search)
        results.append(found)
    assert_same_bits(*results)


@pytest.mark.kernels
def test_engines_agree_bit_by_bit_in_large_tiles(
    emulation: tuple[Any, Any], held_to: Callable[[str], tuple[Any, Any]]
) -> None:
    """All three of them; and each is the one that the switch asks for."""
    batch = whole_numbers(130, 128 * 128, 21, torch.bfloat16)
    embeddings = [side.embedding for side in batch]
    results, products = [], []
    for backend, kernels in (emulation, held_to("mma"), held_to("0")):
        before = kernels.products_of_warpgroups()
        found = [backend.pairwise_distance(*embeddings, "euclidean")]
        found += backend.mine_batch_hard(*batch, None, MiningOptions("sqeuclidean", 0.5))
        results.append(found)
        products.append(kernels.products_of_warpgroups() - before)
    assert_same_bits(results[0], results[1])
    assert_same_bits(results[0], results[2])
    # In each operation 2 x 128 tiles of two warpgroups, and k-tiles of 32 of two products.
    assert products == [2 * 256 * 2 * 2 * 2, 0, 0]


@pytest.mark.kernels
def test_the_switch_is_seen(
    emulation: tuple[Any, Any], held_to: Callable[[str], tuple[Any, Any]]
) -> None:
    """The engines add up in different orders, so that some last digit differs."""
    x, y = numbers(60, 300, torch.float32), numbers(70, 300, torch.float32)
    on, off = (b.pairwise_distance(x, y, "sqeuclidean") for b, _ in (emulation, held_to("0")))
    assert not torch.equal(on, off)
    torch.testing.assert_close(on, off, rtol=1e-5, atol=0)
