"""Top-k search by embedding and predicted attributes together."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, library
from torch._dynamo.testing import CompileCounterWithBackend

import fgsbir_ext as fx
from tests.support import brute_force
from tests.support.cases import (
    ATTRIBUTE_METRICS,
    FLOATS,
    LAYOUTS,
    METRICS,
    SHAPES,
    SMALL_SHAPES,
    all_pairs,
    make_batch,
    plain,
    relayout,
    sides_of,
)
from tests.support.compare import (
    assert_accurate,
    assert_nothing_nearer_left,
    assert_same_bits,
    exact,
)

OP = torch.ops.fgsbir.topk.default
FACTORS = {
    "dtype": FLOATS,
    "metric": METRICS,
    "attribute_metric": ATTRIBUTE_METRICS,
    "mu": (None, 0.0, 0.7),
    "k": (0, 1, 3, 10, 300, "all"),
}


def arrange(case: dict[str, Any], device: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tensors, and k with the options, of a case; mu None is without logits."""
    batch = make_batch(case["shape"], dtype=case["dtype"], device=device)
    inputs = {"query": batch["sketch"], "gallery": batch["photo"]}
    m, k = len(batch["photo"]), case["k"]
    options = {"k": m if k == "all" else min(k, m), "metric": case["metric"]}
    if case["mu"] is not None:
        inputs |= {"query_logits": batch["sketch_logits"], "gallery_logits": batch["photo_logits"]}
        options |= {"attribute_weight": case["mu"], "attribute_metric": case["attribute_metric"]}
    return inputs, options


@pytest.mark.usefixtures("poisoned_memory")
@pytest.mark.parametrize("case", all_pairs(shape=SHAPES, **FACTORS))
def test_values_and_indices(device: str, cuda_kernels: bool, case: dict[str, Any]) -> None:
    inputs, options = arrange(case, device)
    if cuda_kernels:
        options["k"] = min(options["k"], 1024)
    values, indices = fx.topk(**inputs, **options)
    assert indices.dtype == torch.int64
    truth, baseline = all_distances(exact(inputs), options), all_distances(inputs, options)
    assert_accurate(values, truth.gather(1, indices.cpu()), baseline.gather(1, indices))
    assert (values.diff(dim=1) >= 0).all()
    if case["dtype"] == torch.float64:
        _, expected = fx.reference.topk(**exact(inputs), **options)
        assert torch.equal(indices.cpu(), expected)
    else:
        assert_nothing_nearer_left(truth, indices.cpu(), inputs, options)


def all_distances(inputs: dict[str, Tensor], options: dict[str, Any]) -> Tensor:
    """r of every query to every row of the gallery, by the reference: (Q, G)."""
    values, indices = fx.reference.topk(**inputs, **options | {"k": len(inputs["gallery"])})
    return torch.empty_like(values).scatter_(1, indices, values)


NUMBERS = st.sampled_from([-2.0, -1.0, 0.0, 1.0, 2.0])


@settings(max_examples=200)
@given(data=st.data(), dtype=st.sampled_from(FLOATS), metric=st.sampled_from(METRICS[:2]))
@pytest.mark.parametrize("topk", [fx.topk, fx.reference.topk], ids=["fused", "reference"])
def test_indices_of_a_full_sort(
    device: str, topk: Any, data: st.DataObject, dtype: torch.dtype, metric: str
) -> None:
    """Whole numbers, so that many distances are tied: those go to the lowest index. NaN first."""
    d = data.draw(st.integers(1, 2))
    row = st.one_of(*[st.lists(NUMBERS, min_size=d, max_size=d)] * 9, st.just([float("nan")] * d))
    query = data.draw(st.lists(row, max_size=3))
    gallery = data.draw(st.lists(row, max_size=20))
    k = data.draw(st.integers(0, len(gallery)))
    _, indices = topk(
        torch.tensor(query, dtype=dtype, device=device).view(-1, d),
        torch.tensor(gallery, dtype=dtype, device=device).view(-1, d),
        k,
        metric=metric,
    )
    assert indices.tolist() == [brute_force.nearest(q, gallery, k, metric) for q in query]


@pytest.mark.parametrize("k", [1, 7, 1000])
def test_ties_across_blocks_and_tiles_go_to_the_lowest_index(device: str, k: int) -> None:
    gallery = torch.ones(9000, 3, device=device)
    gallery[::2] = 2
    values, indices = fx.topk(torch.ones(2, 3, device=device), gallery, k)
    assert (values == 0).all()
    assert torch.equal(indices, torch.arange(1, 2 * k, 2, device=device).expand(2, k))


@pytest.mark.parametrize("k", [1, 7, 20])
def test_a_gallery_that_comes_ever_nearer(device: str, k: int) -> None:
    """Every row is better than all before it, so that nothing that was kept may stay."""
    query = torch.arange(70.0, device=device)[:, None] / -8
    gallery = torch.arange(511.0, 0, -1, device=device)[:, None]
    _, indices = fx.topk(query, gallery, k)
    expected = torch.arange(510, 510 - k, -1, device=device)
    assert torch.equal(indices, expected.expand(70, k))


def test_attributes_decide_between_equal_embeddings(device: str) -> None:
    query, gallery = torch.zeros(1, 2, device=device), torch.zeros(3, 2, device=device)
    yes, no = [20.0, 20.0], [-20.0, -20.0]
    logits = torch.tensor([no, [20.0, -20.0], yes], device=device)
    values, indices = fx.topk(
        query, gallery, 3, query_logits=torch.tensor([yes], device=device),
        gallery_logits=logits, attribute_weight=2.0,
    )  # fmt: skip
    assert indices.tolist() == [[2, 1, 0]]
    torch.testing.assert_close(values, torch.tensor([[0.0, 2.0, 4.0]], device=device))


@pytest.mark.parametrize("queries", [3, 70])
@pytest.mark.parametrize("metric", METRICS)
def test_near_duplicates_keep_their_digits(device: str, metric: str, queries: int) -> None:
    """The found distances are computed from the rows: products alone would lose them."""
    batch = make_batch((70, 70, 256, 0), dtype=torch.float32, device=device)
    x = torch.nn.functional.normalize(batch["photo"])
    near = x + 1e-3 * torch.nn.functional.normalize(batch["sketch"])
    inputs = {"query": near[:queries], "gallery": x}
    values, indices = fx.topk(**inputs, k=1, metric=metric)
    assert indices.squeeze(1).tolist() == list(range(queries))
    truth, _ = fx.reference.topk(**exact(inputs), k=1, metric=metric)
    assert_accurate(values, truth, fx.reference.topk(**inputs, k=1, metric=metric)[0])


@pytest.mark.parametrize(
    "case",
    all_pairs(
        where=("query", "gallery", "query_logits", "gallery_logits"),
        value=(float("nan"), float("inf"), -float("inf"), 1e200),
        metric=METRICS,
        attribute_metric=ATTRIBUTE_METRICS,
        k=(1, 8, 300),
        queries=(6, 33),
    ),
)
def test_extreme_values_are_as_in_the_reference(device: str, case: dict[str, Any]) -> None:
    shape = (case["queries"], 300, 6, 4)
    inputs, options = arrange(case | {"shape": shape, "dtype": torch.float64, "mu": 0.7}, device)
    inputs[case["where"]][::7, 2] = case["value"]
    inputs[case["where"]][5, 3] = -case["value"]
    values, indices = fx.topk(**inputs, **options)
    expected = fx.reference.topk(**inputs, **options)
    torch.testing.assert_close(values, expected[0], equal_nan=True)
    assert torch.equal(indices, expected[1])


def test_norms_that_overflow_where_distances_do_not(device: str) -> None:
    query = torch.tensor([[0.8e19]], device=device)
    gallery = torch.tensor([[-1.9e19], [1.9e19]], device=device)
    values, indices = fx.topk(query, gallery, 1)
    assert indices.tolist() == [[1]]
    torch.testing.assert_close(values, torch.full_like(values, 1.21e38))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_memory_layout(device: str, layout: str) -> None:
    case = {"shape": (65, 255, 15, 9), "dtype": torch.float64, "k": 10, "mu": 0.7}
    inputs, options = arrange(case | {"metric": "cosine", "attribute_metric": "euclidean"}, device)
    inputs = {name: relayout(x, layout) for name, x in inputs.items()}
    expected = fx.topk(**{name: plain(x) for name, x in inputs.items()}, **options)
    assert_same_bits(fx.topk(**inputs, **options), expected)


def test_carries_no_gradient(device: str) -> None:
    batch = make_batch(device=device)
    values, _ = fx.topk(batch["sketch"].requires_grad_(), batch["photo"].requires_grad_(), 2)
    assert not values.requires_grad


def test_same_bits_twice(device: str) -> None:
    case = {"shape": (300, 600, 33, 21), "dtype": torch.float32, "k": 10, "mu": 0.7}
    inputs, options = arrange(case | {"metric": "cosine", "attribute_metric": "euclidean"}, device)
    assert_same_bits(fx.topk(**inputs, **options), fx.topk(**inputs, **options))


@pytest.mark.parametrize("case", all_pairs(shape=SMALL_SHAPES[1:4], **FACTORS))
def test_opcheck(device: str, case: dict[str, Any]) -> None:
    inputs, options = arrange(case, device)
    arguments = [x for side in sides_of(inputs, ("query", "gallery")) for x in side]
    settings = (options["k"], case["mu"] or 0.0, case["metric"], case["attribute_metric"])
    library.opcheck(OP, (*arguments, *settings))


def test_compiled_by_the_first_shape_for_all(device: str) -> None:
    torch._dynamo.reset()
    counter, counts = CompileCounterWithBackend("aot_eager"), set()
    compiled = torch.compile(fx.topk, fullgraph=True, dynamic=True, backend=counter)
    for shape, k in (((6, 9, 5, 3), 4), ((7, 11, 4, 6), 5), ((30, 20, 8, 2), 20)):
        batch = make_batch(shape, device=device)
        arguments = (batch["sketch"], batch["photo"], k)
        assert_same_bits(compiled(*arguments), fx.topk(*arguments))
        counts.add(counter.frame_count)
    assert len(counts) == 1


def test_shapes_without_data() -> None:
    batch = make_batch(device="meta", dtype=torch.float16)
    values, indices = fx.topk(batch["sketch"], batch["photo"], 4)
    assert (values.shape, values.dtype) == ((6, 4), torch.float32)
    assert (indices.shape, indices.dtype) == ((6, 4), torch.int64)


def test_exported(device: str) -> None:
    class Search(torch.nn.Module):
        def forward(self, query: Tensor, gallery: Tensor) -> tuple[Tensor, Tensor]:
            return fx.topk(query, gallery, 2)

    batch = make_batch(device=device)
    inputs = (batch["sketch"], batch["photo"])
    sizes = {"query": {0: torch.export.Dim("q", min=2)}, "gallery": None}
    program = torch.export.export(Search(), inputs, dynamic_shapes=sizes).module()
    inputs = (batch["sketch"][:3], batch["photo"])
    assert_same_bits(program(*inputs), fx.topk(*inputs, 2))
