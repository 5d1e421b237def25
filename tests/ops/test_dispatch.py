"""Dispatch past torch's dispatcher, and through it where a tracer, mode or subclass observes."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import fgsbir_ext as fx
from fgsbir_ext import _checks, _ops, _torch_internals
from fgsbir_ext import _dispatch as dispatch
from fgsbir_ext import _functional as functional
from tests.support.cases import both, make_batch
from tests.support.compare import assert_same_bits

PRIVATE = {
    "_is_tracing": torch._C,
    "_are_functorch_transforms_active": torch._C,
    "_current_level": torch.autograd.forward_ad,
    "_len_torch_dispatch_stack": torch._C,
    "_dispatch_keys": torch._C,
    "raw_repr": torch._C.DispatchKeySet,
}
"""Names that a version of torch may lack, and where they are in others."""


def with_private_names(test: Callable[..., None]) -> Callable[..., None]:
    """For tests of what is quick only with them."""
    absent = [name for name, place in PRIVATE.items() if not hasattr(place, name)]
    test = pytest.mark.skipif(bool(absent), reason=f"this torch has no {absent}")(test)
    return pytest.mark.parametrize("missing", [()], indirect=True, ids=["none"])(test)


def internals_without(names: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module, imported where torch has not these private names."""
    spec = importlib.util.find_spec(_torch_internals.__name__)
    assert spec is not None
    assert spec.loader is not None
    internals = importlib.util.module_from_spec(spec)
    with monkeypatch.context() as torch_without:
        for name, place in names.items():
            torch_without.delattr(place, name, raising=False)
        spec.loader.exec_module(internals)
    return internals


@pytest.fixture(
    autouse=True,
    params=[(), *([name] for name in PRIVATE), tuple(PRIVATE)],
    ids=["none", *PRIVATE, "all"],
)
def missing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has a test run as if torch had not some of its private names."""
    internals = internals_without({name: PRIVATE[name] for name in request.param}, monkeypatch)
    for module in (dispatch, _checks, _ops):
        for name in vars(module).keys() & vars(_torch_internals).keys():
            if vars(module)[name] is vars(_torch_internals)[name]:
                monkeypatch.setattr(module, name, vars(internals)[name])


class Witness(TorchDispatchMode):
    """Notes the operations that pass through the dispatcher."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(str(op))
        return op(*args, **(kwargs or {}))


def loss_and_gradients(device: str) -> list[Tensor]:
    batch = make_batch((33, 33, 17, 5), dtype=torch.float32, device=device)
    names = ("sketch", "photo", "sketch_logits", "photo_logits")
    leaves = [batch[name].requires_grad_() for name in names]
    annotations = batch["sketch_attributes"], batch["photo_attributes"]
    known = both(logits=leaves[2:], attributes=annotations)
    loss = fx.attribute_triplet_loss(*leaves[:2], **known, attribute_guidance=0.5)
    return [loss, *torch.autograd.grad(loss, leaves)]


def test_both_paths_give_the_same_bits(device: str) -> None:
    with Witness() as witness:
        observed = loss_and_gradients(device)
    operations = {name for name in witness.seen if name.startswith("fgsbir")}
    assert operations == {
        "fgsbir.attribute_triplet_loss.default",
        "fgsbir.attribute_triplet_loss_backward.default",
    }
    assert_same_bits(loss_and_gradients(device), observed)


@with_private_names
def test_the_short_path_is_taken(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.ops.fgsbir, "attribute_triplet_loss", raising=False)
    monkeypatch.setattr(torch.ops, "fgsbir", None)
    loss_and_gradients(device)


class Labelled(Tensor):
    """A subclass that any torch user may write."""


def test_a_subclass_sees_the_call(device: str) -> None:
    x = torch.eye(3, device=device).as_subclass(Labelled)
    assert type(fx.pairwise_distance(x, x)) is Labelled


def test_a_lazy_negation_is_carried_out(device: str) -> None:
    x = torch.randn(5, 4, device=device)
    negated = torch._neg_view(x)
    assert negated.is_neg()
    y = torch.randn(6, 4, device=device)
    assert_same_bits(fx.pairwise_distance(negated, y), fx.pairwise_distance(-x, y))


def differentiable(device: str) -> list[tuple[Tensor, Tensor]]:
    """Results of the differentiable operations, each with a leaf."""
    x, y = (torch.randn(5, 4, device=device, requires_grad=True) for _ in range(2))
    loss = fx.attribute_triplet_loss(x, y, margin=9.0, reduction="none")
    return [(fx.pairwise_distance(x, y), x), (loss, x)]


def gradient(output: Tensor, leaf: Tensor, grad: Tensor, **options: Any) -> Tensor:
    (found,) = torch.autograd.grad(output, leaf, grad, retain_graph=True, **options)
    return found


def test_an_incoming_gradient_that_is_a_lazy_negation_has_its_sign(device: str) -> None:
    for output, leaf in differentiable(device):
        grad = torch.randn_like(output)
        negated = gradient(output, leaf, torch._neg_view(grad))
        assert_same_bits(negated, gradient(output, leaf, -grad))
        assert negated.any()


def test_an_incoming_gradient_without_memory_is_zero(device: str) -> None:
    for output, leaf in differentiable(device):
        zero = torch._efficientzerotensor(output.shape, device=device)
        assert not gradient(output, leaf, zero).any()


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_batched_incoming_gradients_are_taken_one_by_one(device: str) -> None:
    for output, leaf in differentiable(device):
        grads = torch.randn(3, *output.shape, device=device)
        batched = gradient(output, leaf, grads, is_grads_batched=True)
        assert_same_bits(batched, torch.stack([gradient(output, leaf, grad) for grad in grads]))


@pytest.mark.parametrize(
    ("other", "error", "message"),
    [
        (torch.zeros(5, 4, dtype=torch.float64), TypeError, "an embedding has another type"),
        (torch.zeros(5, 3), ValueError, "an embedding has another size"),
        (torch.zeros(6, 4), ValueError, "another size than the rest of the batch"),
    ],
)
def test_memory_replaced_before_the_backward_pass_is_noticed(
    device: str, other: Tensor, error: type[Exception], message: str
) -> None:
    x, y = (torch.randn(5, 4, device=device, requires_grad=True) for _ in range(2))
    loss = fx.attribute_triplet_loss(x, y, margin=9.0)
    x.data = other.to(device)
    y.data = torch.zeros(5, 4, device=device)
    with pytest.raises(error, match=message):
        loss.backward()


def test_operations_of_torch_refuse_tensors_that_do_not_fit(device: str) -> None:
    x, labels = torch.randn(5, 4, device=device), torch.arange(5, device=device)
    mine = torch.ops.fgsbir.mine_batch_hard
    options = ("sqeuclidean", 0.0, False)
    for photo, of_photo in (
        (x.double(), labels),
        (x[:, :3], labels),
        (x, labels.int()),
        (x, labels[:4]),
    ):
        with pytest.raises((TypeError, ValueError), match="than the rest of the batch"):
            mine(x, None, None, labels, photo, None, None, of_photo, None, *options)


def test_a_device_without_kernels_is_left_to_torch() -> None:
    x = torch.empty(3, 2, device="meta")
    assert fx.pairwise_distance(x, x).shape == (3, 3)


@pytest.mark.parametrize("name", ["pairwise_distance", "attribute_triplet_loss", "topk"])
def test_forward_mode_is_refused(device: str, name: str) -> None:
    x = torch.randn(4, 3, device=device)
    more = (2,) if name == "topk" else ()
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, torch.ones_like(x))
        with pytest.raises(NotImplementedError, match=f"{name} has a reverse-mode derivative only"):
            getattr(fx, name)(dual, x, *more)


@pytest.mark.parametrize("transform", [torch.func.grad, torch.func.vmap])
def test_function_transforms_are_refused(device: str, transform: Any) -> None:
    x = torch.randn(4, 3, 2, device=device)
    with pytest.raises(NotImplementedError, match=r"no rules for torch\.func"):
        transform(lambda a: fx.pairwise_distance(a, a).sum())(
            x if transform is torch.func.vmap else x[0]
        )


@with_private_names
def test_plain_tensors_are_known_by_their_keys(device: str) -> None:
    x = torch.randn(2, 2, device=device)
    assert dispatch._unobserved([x])
    assert dispatch._unobserved([torch.nn.Parameter(x), x])
    with torch.inference_mode():
        assert dispatch._unobserved([torch.ones(2, device=device)])
    assert not dispatch._unobserved([x, torch._neg_view(x)])
    assert not dispatch._unobserved([x, x.to("meta")])
    assert not dispatch._unobserved([x.to("meta"), x])


def test_results_are_where_the_inputs_are_whatever_the_default_device(device: str) -> None:
    batch = make_batch((33, 33, 17, 5), dtype=torch.float32, device=device)
    embeddings = batch["sketch"], batch["photo"]
    annotations = batch["sketch_attributes"], batch["photo_attributes"]
    attributes = both(attributes=annotations)
    weights = [1.0, 2.0, 0.5, 1.0, 3.0]
    leaves = [
        x.requires_grad_() for x in (*embeddings, batch["sketch_logits"], batch["photo_logits"])
    ]

    def everything() -> list[Tensor]:
        mined = fx.mine_batch_hard(
            *embeddings, **attributes, attribute_guidance=0.5, attribute_weights=weights
        )
        known = both(logits=leaves[2:]) | attributes
        loss = fx.attribute_triplet_loss(*leaves[:2], **known, attribute_weights=weights)
        return [
            loss,
            *torch.autograd.grad(loss, leaves),
            fx.pairwise_distance(*embeddings),
            fx.attribute_distance(*annotations, weights=weights),
            *mined,
            *fx.topk(*embeddings, 3),
        ]

    expected = everything()
    with torch.device("meta"):
        found = everything()
    for x, y in zip(found, expected, strict=True):
        assert_same_bits(x, y)


def test_a_trace_records_the_operation(device: str) -> None:
    x, y = torch.randn(5, 4, device=device), torch.randn(6, 4, device=device)
    traced = torch.jit.trace(fx.pairwise_distance, (x, y), check_trace=False)
    assert_same_bits(traced(y, x), fx.pairwise_distance(y, x))


def test_a_trace_leaves_nothing_behind(device: str) -> None:
    batch = make_batch((9, 9, 4, 5), dtype=torch.float32, device=device)
    before = len(functional._PASSED._keys)
    torch.jit.trace(fx.attribute_triplet_loss, (batch["sketch"], batch["photo"]), check_trace=False)
    assert len(functional._PASSED._keys) == before


def test_what_was_made_in_inference_mode_is_taken_as_any_constant(device: str) -> None:
    arguments = {name: x.detach() for name, x in make_batch(device=device).items()}
    with torch.inference_mode():
        constant = {name: x.clone() for name, x in arguments.items() if name != "sketch"}
    assert constant["photo"].is_inference()
    results = []
    for functions, given in ((fx, constant), (fx, arguments), (fx.reference, constant)):
        sketch = arguments["sketch"].detach().requires_grad_()
        loss = functions.attribute_triplet_loss(**{**arguments, **given, "sketch": sketch})
        loss.backward()
        results.append((loss.detach(), sketch.grad))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)
    torch.testing.assert_close(results[0], results[2])
    x = torch.randn(4, 5, device=device, requires_grad=True)
    with torch.inference_mode():
        y = torch.randn(3, 5, device=device)
    fx.pairwise_distance(x, y, metric="cosine").sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize("missing", [()], indirect=True, ids=["none"])
def test_the_current_stream_is_known_without_torchs_private_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    internals = internals_without({"_cuda_getCurrentRawStream": torch._C}, monkeypatch)
    streams = {3: SimpleNamespace(cuda_stream=42)}
    monkeypatch.setattr(torch.cuda, "current_stream", streams.__getitem__)
    assert internals.current_stream(3) == 42
