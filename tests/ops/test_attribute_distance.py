"""Attribute distance h: the share of attributes known to both rows in which they differ."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, library
from torch._dynamo.testing import CompileCounterWithBackend

import fgsbir_ext as fx
from tests.support import brute_force
from tests.support.cases import (
    LAYOUTS,
    SHAPES,
    SMALL_SHAPES,
    all_pairs,
    make_batch,
    make_weights,
    plain,
    relayout,
)
from tests.support.compare import assert_same_bits

OP = torch.ops.fgsbir.attribute_distance.default
TYPES = (torch.int8, torch.bool, torch.float32, torch.float64, torch.float16, torch.int64)


def rows(
    shape: tuple[int, ...], dtype: torch.dtype = torch.int8, device: str = "cpu", seed: int = 0
) -> tuple[Tensor, Tensor]:
    """a (N, K) and b (M, K)."""
    batch = make_batch(shape, attribute_type=dtype, device=device, seed=seed)
    return batch["sketch_attributes"], batch["photo_attributes"]


@pytest.mark.usefixtures("poisoned_memory")
@pytest.mark.parametrize(
    "case", all_pairs(shape=(*SHAPES, (3, 5, 1, 1024)), dtype=TYPES, weights=(False, True))
)
def test_values(device: str, case: dict[str, Any]) -> None:
    a, b = rows(case["shape"], case["dtype"], device)
    weights = make_weights(a.shape[1], device) if case["weights"] else None
    h = fx.attribute_distance(a, b, weights=weights)
    assert h.dtype == torch.float32
    expected = fx.reference.attribute_distance(a, b, weights=weights)
    torch.testing.assert_close(h, expected, rtol=3e-7, atol=0)


@pytest.mark.parametrize(
    "h", [fx.attribute_distance, fx.reference.attribute_distance], ids=["fused", "reference"]
)
@given(data=st.data())
def test_values_of_a_loop(device: str, h: Any, data: st.DataObject) -> None:
    n, m, k = (data.draw(st.integers(0, high)) for high in (3, 3, 70))
    value = st.sampled_from([1, 0, -1])
    a, b = (
        data.draw(st.lists(st.lists(value, min_size=k, max_size=k), min_size=c, max_size=c))
        for c in (n, m)
    )
    some = st.lists(st.floats(0.125, 8, width=16), min_size=k, max_size=k)
    weights = data.draw(st.none() | some)
    actual = h(
        torch.tensor(a, dtype=torch.int8, device=device).view(n, k),
        torch.tensor(b, dtype=torch.int8, device=device).view(m, k),
        weights=None if weights is None else torch.tensor(weights, device=device),
    )
    expected = [[float(brute_force.attribute_distance(p, q, weights)) for q in b] for p in a]
    torch.testing.assert_close(
        actual.cpu(), torch.tensor(expected).view(n, m), rtol=3e-7, atol=0, check_dtype=False
    )


def test_example(device: str) -> None:
    a = torch.tensor([[1, 0, -1, 1]], dtype=torch.int8, device=device)
    b = torch.tensor(
        [[1, 0, 1, 1], [0, 0, 0, 1], [0, 1, 1, 0], [-1, -1, -1, -1]],
        dtype=torch.int8,
        device=device,
    )
    assert fx.attribute_distance(a, b).tolist() == [[0, 0.25, 0.75, 0]]
    assert fx.attribute_distance(a, b, weights=[5, 0, 2, 1]).tolist() == [[0, 0.625, 0.75, 0]]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.int32])
def test_weights_of_any_type(device: str, dtype: torch.dtype) -> None:
    a, b = rows((5, 7, 1, 3), device=device)
    weights = torch.tensor([1, 0, 3], dtype=dtype, device=device)
    expected = fx.attribute_distance(a, b, weights=[1.0, 0.0, 3.0])
    assert_same_bits(fx.attribute_distance(a, b, weights=weights), expected)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_memory_layout(device: str, layout: str) -> None:
    a, b = (relayout(x, layout) for x in rows((17, 33, 1, 65), torch.float32, device))
    weights = make_weights(130, device)[::2]
    expected = fx.attribute_distance(plain(a), plain(b), weights=plain(weights))
    assert_same_bits(fx.attribute_distance(a, b, weights=weights), expected)


def test_carries_no_gradient(device: str) -> None:
    a, b = rows((5, 7, 1, 3), torch.float32, device)
    assert not fx.attribute_distance(a.requires_grad_(), b).requires_grad


def test_cuda_counts_other_values_by_their_sign(device: str) -> None:
    if device == "cpu":
        pytest.skip("the CPU kernels refuse values other than 1, 0 and -1")
    a, b = (torch.tensor([row], device=device) for row in ([7.0, -3.0, 0.5], [0.0, 0.0, 1.0]))
    assert fx.attribute_distance(a, b).item() == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    "case", all_pairs(shape=SMALL_SHAPES[1:4], dtype=TYPES, weights=(False, True))
)
def test_opcheck(device: str, case: dict[str, Any]) -> None:
    a, b = rows(case["shape"], case["dtype"], device)
    library.opcheck(OP, (a, b, make_weights(a.shape[1], device) if case["weights"] else None))


def test_compiled_by_the_first_shape_for_all(device: str) -> None:
    torch._dynamo.reset()
    counter, counts = CompileCounterWithBackend("aot_eager"), set()
    compiled = torch.compile(fx.attribute_distance, fullgraph=True, dynamic=True, backend=counter)
    for shape in ((6, 9, 1, 3), (7, 11, 1, 40)):
        a, b = rows(shape, device=device)
        weights = make_weights(shape[3], device)
        expected = fx.attribute_distance(a, b, weights=weights)
        assert_same_bits(compiled(a, b, weights=weights), expected)
        counts.add(counter.frame_count)
    assert len(counts) == 1


def test_shapes_without_data() -> None:
    h = fx.attribute_distance(*rows((5, 7, 1, 3), device="meta"))
    assert (h.shape, h.dtype, h.device.type) == ((5, 7), torch.float32, "meta")
