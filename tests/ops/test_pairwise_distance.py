"""Embedding distances and their gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

import fgsbir_ext as fx
from tests.support.cases import (
    FLOATS,
    LAYOUTS,
    METRICS,
    OF_ZERO,
    SMALL_SHAPES,
    all_pairs,
    make_batch,
    plain,
    relayout,
)
from tests.support.compare import assert_accurate, assert_same_bits, exact, opcheck

OP = torch.ops.fgsbir.pairwise_distance.default
SHAPES = (*SMALL_SHAPES, (257, 40, 33, 0), (3, 1025, 2, 0))


def rows(shape: tuple[int, ...] = (6, 9, 5, 0), **options: Any) -> tuple[Tensor, Tensor]:
    """x (N, D) and y (M, D), both with gradient."""
    batch = make_batch(shape, attributes=False, **options)
    return batch["sketch"].requires_grad_(), batch["photo"].requires_grad_()


def with_gradients(distance: Any, x: Tensor, y: Tensor, metric: str) -> list[Tensor]:
    x, y = x.detach().requires_grad_(), y.detach().requires_grad_()
    d = distance(x, y, metric=metric)
    slopes = torch.arange(d.numel(), device=d.device, dtype=d.dtype).cos().view(d.shape)
    return [d, *torch.autograd.grad(d, (x, y), slopes)]


@pytest.mark.usefixtures("poisoned_memory")
@pytest.mark.parametrize("case", all_pairs(shape=SHAPES, dtype=FLOATS, metric=METRICS))
def test_values_and_gradients(device: str, case: dict[str, Any]) -> None:
    x, y = rows(case["shape"], dtype=case["dtype"], device=device)
    metric = case["metric"]
    actual = with_gradients(fx.pairwise_distance, x, y, metric)
    truth = with_gradients(
        fx.reference.pairwise_distance, *exact({"x": x, "y": y}).values(), metric
    )
    baseline = with_gradients(fx.reference.pairwise_distance, x, y, metric)
    for name, *results in zip(("d", "x", "y"), actual, truth, baseline, strict=True):
        assert_accurate(*results, name, terms=1.0)
    assert actual[1].dtype == x.dtype
    assert torch.isfinite(actual[0]).all()


@pytest.mark.parametrize("metric", METRICS)
def test_gradcheck(device: str, metric: str) -> None:
    x, y = rows((3, 4, 5, 0), device=device)
    assert torch.autograd.gradcheck(lambda x, y: fx.pairwise_distance(x, y, metric=metric), (x, y))


@pytest.mark.parametrize("norm", [1.0, 100.0])
@pytest.mark.parametrize("metric", METRICS)
def test_near_duplicates_keep_their_digits(device: str, metric: str, norm: float) -> None:
    """Rows 1e-3 apart: |x|^2 + |y|^2 - 2 x.y has no correct digit of d^2 = 1e-6 at norm 100."""
    x, offset = (torch.nn.functional.normalize(z.detach()) for z in rows((70, 70, 256, 0)))
    x = (norm * x).float().to(device)
    y = x + 1e-3 * offset.float().to(device)
    actual, truth, baseline = (
        distance(*inputs, metric=metric).diagonal()
        for distance, inputs in (
            (fx.pairwise_distance, (x, y)),
            (fx.reference.pairwise_distance, exact({"x": x, "y": y}).values()),
            (fx.reference.pairwise_distance, (x, y)),
        )
    )
    assert_accurate(actual, truth, baseline)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("metric", METRICS)
def test_distance_of_equal_rows_is_0_with_gradient_0(
    device: str, metric: str, dtype: torch.dtype
) -> None:
    x, _ = rows((20, 1, 33, 0), dtype=dtype, device=device)
    y = x.detach().clone().requires_grad_()
    d = fx.pairwise_distance(x, y, metric=metric).diagonal()
    assert (d == 0).all()
    for gradient in torch.autograd.grad(d.sum(), (x, y)):
        assert (gradient == 0).all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("metric", OF_ZERO)
def test_zero_vector_is_at_a_constant_distance_with_gradient_0(
    device: str, metric: str, dtype: torch.dtype
) -> None:
    x, y = rows((4, 5, 7, 0), dtype=dtype, device=device)
    with torch.no_grad():
        x[1], y[2] = 0, 0
    d = fx.pairwise_distance(x, y, metric=metric)
    of_zero = torch.tensor(OF_ZERO[metric], dtype=d.dtype, device=device)
    assert (d[1] == of_zero).all()
    assert (d[:, 2] == of_zero).all()
    of_x, of_y = torch.autograd.grad(d.sum(), (x, y))
    assert (of_x[1] == 0).all()
    assert (of_y[2] == 0).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
@pytest.mark.parametrize("metric", METRICS)
def test_extreme_values_are_as_in_the_reference(device: str, metric: str, value: float) -> None:
    x, y = rows((5, 300, 6, 0), device=device)
    with torch.no_grad():
        x[1, 2], y[3, 4], y[299, 0] = value, -value, value
    actual = fx.pairwise_distance(x, y, metric=metric)
    expected = fx.reference.pairwise_distance(x, y, metric=metric)
    torch.testing.assert_close(actual, expected, equal_nan=True)


@pytest.mark.parametrize("metric", ["sqeuclidean", "euclidean"])
def test_squares_that_overflow_are_infinite(device: str, metric: str) -> None:
    x = torch.tensor([[1e30, 0.0], [1.0, 0.0]], device=device)
    infinity = float("inf")
    d = fx.pairwise_distance(x, x, metric=metric)
    assert d.tolist() == [[0.0, infinity], [infinity, 0.0]]


@pytest.mark.parametrize("n", [1, 12])
def test_long_sums_keep_their_digits(device: str, n: int) -> None:
    """All terms of one sign, which is where the rounding of one long sum would be seen."""
    x, y = (torch.full((n, 10_000), value, device=device) for value in (0.1, 0.145))
    truth = fx.reference.pairwise_distance(x.double(), y.double())
    torch.testing.assert_close(
        fx.pairwise_distance(x, y).double(), truth, rtol=3e-4, atol=0, check_device=False
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("metric", METRICS)
def test_any_memory_layout(device: str, metric: str, layout: str) -> None:
    x, y = (relayout(z.detach(), layout) for z in rows((17, 33, 15, 0), device=device))
    actual = with_gradients(fx.pairwise_distance, x, y, metric)
    assert_same_bits(actual, with_gradients(fx.pairwise_distance, plain(x), plain(y), metric))


def test_gradient_that_is_not_dense(device: str) -> None:
    """sum() hands back an expanded gradient, a transpose a transposed one."""
    x, y = rows(device=device)
    d = fx.pairwise_distance(x, y)
    ones = torch.autograd.grad(d, (x, y), torch.ones_like(d), retain_graph=True)
    assert_same_bits(torch.autograd.grad(d.sum(), (x, y), retain_graph=True), ones)
    assert_same_bits(torch.autograd.grad(d.mT.contiguous().sum(), (x, y)), ones)


@pytest.mark.parametrize("frozen", [0, 1])
def test_frozen_input(device: str, frozen: int) -> None:
    inputs = rows(device=device)
    free = torch.autograd.grad(fx.pairwise_distance(*inputs).sum(), inputs)[1 - frozen]
    inputs[frozen].requires_grad_(False)
    fx.pairwise_distance(*inputs).sum().backward()
    assert inputs[frozen].grad is None
    assert_same_bits(inputs[1 - frozen].grad, free)


def test_distances_within_one_set(device: str) -> None:
    """x on both sides gets both gradients."""
    x, _ = rows(device=device)
    actual, expected = (
        torch.autograd.grad(distance(x, x, metric="euclidean").square().sum(), x)[0]
        for distance in (fx.pairwise_distance, fx.reference.pairwise_distance)
    )
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)


def test_backward_twice_and_second_derivative(device: str) -> None:
    x, y = rows(device=device)
    total = fx.pairwise_distance(x, y).sum()
    first = torch.autograd.grad(total, (x, y), retain_graph=True)
    assert_same_bits(torch.autograd.grad(total, (x, y), retain_graph=True), first)
    (gradient,) = torch.autograd.grad(total, x, create_graph=True)
    with pytest.raises(NotImplementedError, match="pairwise_distance has no second derivative"):
        gradient.sum().backward()


def test_same_bits_twice(device: str) -> None:
    x, y = rows((257, 256, 64, 0), dtype=torch.float32, device=device)
    for metric in METRICS:
        first, again = (with_gradients(fx.pairwise_distance, x, y, metric) for _ in range(2))
        assert_same_bits(first, again)


@pytest.mark.parametrize("case", all_pairs(shape=SMALL_SHAPES[1:4], dtype=FLOATS, metric=METRICS))
def test_opcheck(device: str, case: dict[str, Any]) -> None:
    x, y = rows(case["shape"], dtype=case["dtype"], device=device)
    opcheck(OP, (x, y, case["metric"]))
    d = fx.pairwise_distance(x, y, metric=case["metric"]).detach()
    backward = torch.ops.fgsbir.pairwise_distance_backward.default
    inputs = (torch.ones_like(d), d, x.detach(), y.detach(), case["metric"])
    opcheck(backward, inputs)


def test_compiled_by_the_first_shape_for_all(device: str) -> None:
    torch._dynamo.reset()
    counter, counts = CompileCounterWithBackend("aot_eager"), set()
    compiled = torch.compile(fx.pairwise_distance, fullgraph=True, dynamic=True, backend=counter)
    for shape in ((6, 9, 5, 0), (7, 11, 4, 0), (30, 20, 8, 0)):
        x, y = rows(shape, device=device)
        expected = with_gradients(fx.pairwise_distance, x, y, "cosine")
        assert_same_bits(with_gradients(compiled, x, y, "cosine"), expected)
        counts.add(counter.frame_count)
    assert len(counts) == 1


def test_shapes_without_data() -> None:
    x, y = rows(device="meta", dtype=torch.bfloat16)
    d = fx.pairwise_distance(x, y)
    assert (d.shape, d.dtype, d.device.type) == ((6, 9), torch.float32, "meta")
    d.sum().backward()
    assert x.grad.shape == x.shape
    assert y.grad.dtype == torch.bfloat16


def test_exported(device: str) -> None:
    class Distance(torch.nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return fx.pairwise_distance(x, y, metric="euclidean")

    x, y = rows(device=device)
    sizes = {"x": {0: torch.export.Dim("n", min=2)}, "y": {0: torch.export.Dim("m", min=2)}}
    program = torch.export.export(Distance(), (x, y), dynamic_shapes=sizes).module()
    x, y = rows((8, 7, 5, 0), device=device)
    assert_same_bits(program(x, y), fx.pairwise_distance(x, y, metric="euclidean"))
