"""Loss of Eq. 1: values, gradients, and the operation under torch's transforms."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

import fgsbir_ext as fx
from fgsbir_ext.types import LossOptions
from tests.support.cases import (
    ATTRIBUTE_METRICS,
    FLOATS,
    GUIDANCES,
    LAMBDAS,
    LAYOUTS,
    LOSS_INPUTS,
    METRICS,
    REDUCTIONS,
    SHAPES,
    SMALL_SHAPES,
    all_pairs,
    make_batch,
    make_weights,
    plain,
    relayout,
    sides_of,
)
from tests.support.compare import (
    assert_accurate,
    assert_good_picks,
    assert_same_bits,
    exact,
    loss_and_gradients,
    opcheck,
    reference_over,
)

OP = torch.ops.fgsbir.attribute_triplet_loss.default
BACKWARD = torch.ops.fgsbir.attribute_triplet_loss_backward.default

FACTORS = {
    "dtype": FLOATS,
    "metric": METRICS,
    "attribute_metric": ATTRIBUTE_METRICS,
    "margin": (0.0, 0.3, 5.0, "soft"),
    "attribute_margin": (0.0, 0.4, "soft"),
    "lambdas": ((1.0, 1.0, 1.0, 1.0), (0.5, 0.0, 2.0, 3.0), (0.0, 0.7, 0.0, 0.1)),
    "reduction": REDUCTIONS,
    "guidance": GUIDANCES,
    "weights": (False, True),
    "labels": (True, False),
    "attributes": ("logits", "guidance only", "none"),
}


def arrange(case: dict[str, Any], device: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and options of a case."""
    attributes, guidance = case["attributes"], case["guidance"]
    if attributes == "guidance only" and guidance == 0:
        guidance = 1.0
    batch = make_batch(
        case["shape"],
        dtype=case["dtype"],
        device=device,
        labels=case["labels"],
        attributes=attributes != "none",
        logits=attributes == "logits",
    )
    options = {name: case[name] for name in ("metric", "attribute_metric", "reduction")}
    options |= {name: case[name] for name in ("margin", "attribute_margin")}
    options |= dict(zip(LAMBDAS, case["lambdas"], strict=True))
    if attributes != "none":
        options["attribute_guidance"] = guidance
        if case["weights"]:
            options["attribute_weights"] = make_weights(case["shape"][3], device)
    return batch, options


def mining_options(options: dict[str, Any]) -> dict[str, Any]:
    names = ("metric", "attribute_guidance", "attribute_weights")
    return {name: options[name] for name in names if name in options}


@pytest.mark.usefixtures("poisoned_memory")
@pytest.mark.parametrize("case", all_pairs(shape=SHAPES, of=("total", "parts"), **FACTORS))
def test_values_and_gradients(device: str, case: dict[str, Any]) -> None:
    """The picks are judged by themselves, then the loss over them is that of the reference."""
    batch, options = arrange(case, device)
    actual, picks = loss_and_gradients(fx.attribute_triplet_loss, batch, case["of"], **options)
    without_logits = {name: x for name, x in batch.items() if "logits" not in name}
    assert_good_picks(picks, without_logits, case["dtype"], **mining_options(options))

    reference = reference_over(picks)
    truth, _ = loss_and_gradients(reference, exact(batch), case["of"], **exact(options))
    baseline, _ = loss_and_gradients(reference, batch, case["of"], **options)
    for name, result in actual.items():
        terms = 1 / max(len(batch["sketch"]), 1)
        assert_accurate(result, truth[name], baseline[name], name, terms=terms)


@pytest.mark.parametrize(
    "case",
    all_pairs(
        **{name: FACTORS[name] for name in ("metric", "attribute_metric", "margin", "reduction")},
        attributes=("logits", "none"),
        labels=(True, False),
        guidance=GUIDANCES,
    ),
)
def test_gradcheck_of_every_part(device: str, case: dict[str, Any]) -> None:
    filled = {"shape": (4, 6, 3, 2), "dtype": torch.float64, "weights": False}
    filled |= {"attribute_margin": case["margin"], "lambdas": (0.5, 2.0, 3.0, 0.7)}
    batch, options = arrange(filled | case, device)
    leaves = {name: batch[name].requires_grad_() for name in LOSS_INPUTS if name in batch}

    def parts(*inputs: Tensor) -> tuple[Tensor, ...]:
        arguments = {**batch, **dict(zip(leaves, inputs, strict=True))}
        return fx.attribute_triplet_loss(**arguments, **options, return_parts=True)[:-1]

    assert torch.autograd.gradcheck(parts, tuple(leaves.values()))


@pytest.mark.parametrize("of", range(len(fx.LossParts._fields) - 1))
def test_gradient_of_each_part_alone(device: str, of: int) -> None:
    batch = make_batch((17, 33, 15, 21), device=device)
    leaves = [batch[name].requires_grad_() for name in LOSS_INPUTS]
    for reduction in REDUCTIONS:
        gradients = [
            torch.autograd.grad(
                loss(**batch, reduction=reduction, return_parts=True)[of].sum(),
                leaves,
                materialize_grads=True,
            )
            for loss in (fx.attribute_triplet_loss, fx.reference.attribute_triplet_loss)
        ]
        torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-12)
        assert any(x.any() for x in gradients[0])


@pytest.mark.parametrize("metric", METRICS)
def test_a_photo_that_nobody_chose_has_no_gradient(device: str, metric: str) -> None:
    """Not even one whose norm overflows."""
    batch = make_batch((6, 9, 5, 3), dtype=torch.float32, device=device)
    batch["photo"][4] = 3e30
    batch["photo_logits"][4] = torch.nan
    batch["sketch_labels"][:] = -1
    gradients, picks = loss_and_gradients(fx.attribute_triplet_loss, batch, metric=metric)
    assert not picks.valid.any()
    for name in ("photo", "photo_logits"):
        assert not gradients[f"gradient of {name}"].any()


# --- What torch does with it --------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_memory_layout(device: str, layout: str) -> None:
    batch = make_batch((17, 33, 15, 21), device=device)
    batch = {name: relayout(x, layout) if x.ndim == 2 else x for name, x in batch.items()}
    dense = {name: plain(x) for name, x in batch.items()}
    for reduction in REDUCTIONS:
        actual, expected = (
            loss_and_gradients(fx.attribute_triplet_loss, x, "parts", reduction=reduction)
            for x in (batch, dense)
        )
        assert_same_bits(tuple(actual[0].values()), tuple(expected[0].values()))
        assert_same_bits(actual[1], expected[1])


@pytest.mark.parametrize("wanted", [x for x in range(16) if x not in (0, 15)])
def test_gradient_of_a_subset_of_the_inputs(device: str, wanted: int) -> None:
    """The bits of ``wanted`` say which of the four inputs are trained; the others are frozen."""
    batch = make_batch(device=device)
    expected, _ = loss_and_gradients(fx.attribute_triplet_loss, batch)
    trained = [name for bit, name in enumerate(LOSS_INPUTS) if wanted >> bit & 1]
    for name in trained:
        batch[name].requires_grad_()
    fx.attribute_triplet_loss(**batch).backward()
    for name in LOSS_INPUTS:
        if name in trained:
            assert_same_bits(batch[name].grad, expected[f"gradient of {name}"])
        else:
            assert batch[name].grad is None


def test_one_embedding_as_both_domains(device: str) -> None:
    batch = make_batch((6, 6, 5, 3), device=device)
    batch["photo"] = batch["sketch"] = batch["sketch"].requires_grad_()
    losses = (fx.attribute_triplet_loss, fx.reference.attribute_triplet_loss)
    gradients = [torch.autograd.grad(loss(**batch), batch["sketch"])[0] for loss in losses]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-12)


def test_gradients_of_a_graph_around_it(device: str) -> None:
    """Inputs computed by a network, a loss that is scaled and added to another."""
    rng = torch.Generator().manual_seed(0)
    weight = torch.randn(7, 5, generator=rng, dtype=torch.float64).to(device).requires_grad_()
    batch = make_batch((6, 9, 7, 3), device=device)
    sketch, photo = batch.pop("sketch"), batch.pop("photo")
    gradients = []
    for loss in (fx.attribute_triplet_loss, fx.reference.attribute_triplet_loss):
        parts = loss(sketch @ weight, photo @ weight, **batch, return_parts=True)
        mixed = 3 * parts.total.square() + parts.triplet.exp() + weight.square().sum()
        gradients += torch.autograd.grad(mixed, weight)
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-12)


def test_backward_twice_and_second_derivative(device: str) -> None:
    batch = make_batch(device=device)
    leaves = [batch[name].requires_grad_() for name in LOSS_INPUTS]
    total = fx.attribute_triplet_loss(**batch)
    first = torch.autograd.grad(total, leaves, retain_graph=True)
    assert_same_bits(torch.autograd.grad(total, leaves, retain_graph=True), first)
    (gradient, *_) = torch.autograd.grad(total, leaves, create_graph=True)
    with pytest.raises(NotImplementedError, match="attribute_triplet_loss has no second"):
        gradient.sum().backward()


def test_triplets_carry_no_gradient(device: str) -> None:
    batch = make_batch(device=device)
    batch["sketch"].requires_grad_()
    parts = fx.attribute_triplet_loss(**batch, return_parts=True)
    assert not any(x.requires_grad for x in parts.triplets)
    assert all(x.requires_grad for x in parts[:-1])


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_same_bits_twice(device: str, reduction: str) -> None:
    batch = make_batch((300, 600, 33, 21), dtype=torch.float32, device=device)
    options = {"attribute_guidance": 0.5, "reduction": reduction}
    first, again = (
        loss_and_gradients(fx.attribute_triplet_loss, batch, "parts", **options) for _ in range(2)
    )
    assert_same_bits(tuple(first[0].values()), tuple(again[0].values()))


def op_inputs(batch: dict[str, Tensor], options: dict[str, Any]) -> tuple[Any, ...]:
    """Arguments of the operation itself."""
    sketch, photo = sides_of(batch)
    options = {"attribute_guidance": 0.0, "attribute_weights": None} | options
    settings = (options[name] for name in LossOptions._fields)
    return (
        *sketch,
        *photo,
        options["attribute_weights"],
        *(None if value == "soft" else value for value in settings),
    )


@pytest.mark.parametrize("case", all_pairs(shape=SMALL_SHAPES[1:4], **FACTORS))
def test_opcheck(device: str, case: dict[str, Any]) -> None:
    batch, options = arrange(case, device)
    forward = op_inputs(batch, options)
    total, parts, *saved = OP(*forward)
    of_total, of_parts = torch.ones_like(total), torch.ones_like(parts)
    backward = (of_total, of_parts, *forward[:8], *saved, *forward[9:])
    opcheck(BACKWARD, backward)
    for name in LOSS_INPUTS:
        if name in batch:
            batch[name].requires_grad_()
    opcheck(OP, op_inputs(batch, options))


def test_compiled_by_the_first_shape_for_all(device: str) -> None:
    torch._dynamo.reset()
    counter, counts = CompileCounterWithBackend("aot_eager"), set()
    loss = fx.attribute_triplet_loss
    compiled = torch.compile(loss, fullgraph=True, dynamic=True, backend=counter)
    for shape in ((6, 9, 5, 3), (7, 11, 4, 6), (30, 20, 8, 40)):
        batch = make_batch(shape, device=device)
        options = {"attribute_guidance": 0.5, "attribute_weights": make_weights(shape[3], device)}
        actual, expected = (loss_and_gradients(x, batch, **options) for x in (compiled, loss))
        assert_same_bits(tuple(actual[0].values()), tuple(expected[0].values()))
        assert_same_bits(actual[1], expected[1])
        counts.add(counter.frame_count)
    assert len(counts) == 1


def test_compiled_by_inductor_within_a_network(device: str) -> None:
    torch._dynamo.reset()
    batch = make_batch(dtype=torch.float32, device=device)

    def step(weight: Tensor) -> Tensor:
        arguments = {**batch, "sketch": batch["sketch"] @ weight, "photo": batch["photo"] @ weight}
        return fx.attribute_triplet_loss(**arguments, metric="cosine", margin="soft")

    weight = torch.eye(5, device=device).requires_grad_()
    expected = torch.autograd.grad(step(weight), weight)
    compiled = torch.compile(step, fullgraph=True)
    torch.testing.assert_close(torch.autograd.grad(compiled(weight), weight), expected)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_shapes_without_data(reduction: str) -> None:
    batch = make_batch(device="meta", dtype=torch.float16)
    leaves = [batch[name].requires_grad_() for name in LOSS_INPUTS]
    parts = fx.attribute_triplet_loss(**batch, reduction=reduction, return_parts=True)
    for part in parts[:-1]:
        assert part.shape == ((6,) if reduction == "none" else ())
        assert part.dtype == torch.float32
    for leaf, gradient in zip(leaves, torch.autograd.grad(parts.total.sum(), leaves), strict=True):
        assert (gradient.shape, gradient.dtype) == (leaf.shape, leaf.dtype)


def test_exported(device: str) -> None:
    batch = make_batch(device=device)
    program = torch.export.export(fx.AttributeTripletLoss(), (), batch).module()
    other = make_batch(device=device, seed=1)
    assert_same_bits(program(**other), fx.attribute_triplet_loss(**other))
