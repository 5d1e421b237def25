"""Operations registered with torch: schemas, fake implementations and autograd.

``torch.ops.fgsbir.*`` take checked tensors; :mod:`fgsbir_ext.functional` checks them. The kernels
are in :mod:`fgsbir_ext.backends`, one module per device type.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, library
from torch.autograd import Function

from . import dispatch

_library = library.Library("fgsbir", "DEF")

_library.define("pairwise_distance(Tensor x, Tensor y, str metric) -> Tensor")
_library.define(
    "pairwise_distance_backward(Tensor grad, Tensor distance, Tensor x, Tensor y, str metric)"
    " -> (Tensor, Tensor)"
)
_library.define("attribute_distance(Tensor a, Tensor b, Tensor? weights) -> Tensor")
_library.define(
    "mine_batch_hard(Tensor sketch, Tensor photo, Tensor? sketch_labels, Tensor? photo_labels,"
    " Tensor? sketch_attributes, Tensor? photo_attributes, Tensor? attribute_weights,"
    " str metric, float attribute_guidance, bool exclude_self)"
    " -> (Tensor positive, Tensor negative)"
)
# A margin of None is the soft margin; lambdas are those of L_a, L_p(s), L_p(p+) and L_p(p-).
_LOSS_OPTIONS = (
    "str metric, str attribute_metric, float? margin, float? attribute_margin, float[] lambdas,"
    " str reduction"
)
_library.define(
    "attribute_triplet_loss(Tensor sketch, Tensor photo,"
    " Tensor? sketch_logits, Tensor? photo_logits,"
    " Tensor? sketch_attributes, Tensor? photo_attributes,"
    " Tensor? sketch_labels, Tensor? photo_labels, Tensor? attribute_weights,"
    f" float attribute_guidance, {_LOSS_OPTIONS})"
    " -> (Tensor total, Tensor parts, Tensor positive, Tensor negative,"
    " Tensor distances, Tensor scale)"
)
_library.define(
    "attribute_triplet_loss_backward(Tensor? grad_total, Tensor? grad_parts,"
    " Tensor sketch, Tensor photo, Tensor? sketch_logits, Tensor? photo_logits,"
    " Tensor? sketch_attributes, Tensor? photo_attributes,"
    f" Tensor positive, Tensor negative, Tensor distances, Tensor scale, {_LOSS_OPTIONS})"
    " -> (Tensor, Tensor, Tensor, Tensor)"
)
_library.define(
    "topk(Tensor query, Tensor gallery, SymInt k, Tensor? query_logits, Tensor? gallery_logits,"
    " float attribute_weight, str metric, str attribute_metric)"
    " -> (Tensor values, Tensor indices)"
)

OPERATIONS = (
    "pairwise_distance",
    "pairwise_distance_backward",
    "attribute_distance",
    "mine_batch_hard",
    "attribute_triplet_loss",
    "attribute_triplet_loss_backward",
    "topk",
)

for _device_type, _backend in dispatch.BACKENDS.items():
    for _name in OPERATIONS:
        _library.impl(_name, getattr(_backend, _name), _device_type.upper())


# --- Shapes -----------------------------------------------------------------------------------


def computed_in(x: Tensor) -> torch.dtype:
    """The type of distances and losses: float32 for 16-bit inputs, else that of the inputs."""
    return torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype


@library.register_fake("fgsbir::pairwise_distance", lib=_library)
def _(x: Tensor, y: Tensor, metric: str) -> Tensor:
    return x.new_empty((x.shape[0], y.shape[0]), dtype=computed_in(x))


@library.register_fake("fgsbir::pairwise_distance_backward", lib=_library)
def _(grad: Tensor, distance: Tensor, x: Tensor, y: Tensor, metric: str) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), y.new_empty(y.shape)


@library.register_fake("fgsbir::attribute_distance", lib=_library)
def _(a: Tensor, b: Tensor, weights: Tensor | None) -> Tensor:
    return a.new_empty((a.shape[0], b.shape[0]), dtype=torch.float32)


@library.register_fake("fgsbir::mine_batch_hard", lib=_library)
def _(sketch: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    n = sketch.shape[0]
    return sketch.new_empty(n, dtype=torch.int64), sketch.new_empty(n, dtype=torch.int64)


@library.register_fake("fgsbir::attribute_triplet_loss", lib=_library)
def _(sketch: Tensor, *args: Any) -> tuple[Tensor, ...]:
    reduction = args[-1]
    n, dtype = sketch.shape[0], computed_in(sketch)
    per_anchor = (n,) if reduction == "none" else ()
    return (
        sketch.new_empty(per_anchor, dtype=dtype),
        sketch.new_empty((5, *per_anchor), dtype=dtype),
        sketch.new_empty(n, dtype=torch.int64),
        sketch.new_empty(n, dtype=torch.int64),
        sketch.new_empty((4, n), dtype=dtype),
        sketch.new_empty((), dtype=dtype),
    )


@library.register_fake("fgsbir::attribute_triplet_loss_backward", lib=_library)
def _(
    grad_total: Tensor | None,
    grad_parts: Tensor | None,
    sketch: Tensor,
    photo: Tensor,
    sketch_logits: Tensor | None,
    photo_logits: Tensor | None,
    *_: Any,
) -> tuple[Tensor, ...]:
    return tuple(
        torch.empty_like(x, memory_format=torch.contiguous_format)
        if x is not None
        else like.new_empty((0,))
        for x, like in (
            (sketch, sketch),
            (photo, photo),
            (sketch_logits, sketch),
            (photo_logits, photo),
        )
    )


@library.register_fake("fgsbir::topk", lib=_library)
def _(query: Tensor, gallery: Tensor, k: int, *_: Any) -> tuple[Tensor, Tensor]:
    shape = (query.shape[0], k)
    return (
        query.new_empty(shape, dtype=computed_in(query)),
        query.new_empty(shape, dtype=torch.int64),
    )


# --- Gradients --------------------------------------------------------------------------------


def _kernel(ctx: Any, name: str) -> Callable[..., Any]:
    """An operation of the backward pass, on the path that the forward pass took.

    With ``create_graph`` it is torch's, where a second derivative is refused.
    """
    backend = getattr(ctx, "backend", None)
    if backend is None or torch.is_grad_enabled():
        return getattr(torch.ops.fgsbir, name)
    return getattr(backend, name)


def _save_pairwise(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, y, ctx.metric = inputs
    ctx.save_for_backward(output, x, y)


def _pairwise_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    distance, x, y = ctx.saved_tensors
    grads = _kernel(ctx, "pairwise_distance_backward")(grad, distance, x, y, ctx.metric)
    return *grads, None


def _save_loss(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    _, _, positive, negative, distances, scale = output
    ctx.mark_non_differentiable(positive, negative, distances, scale)
    ctx.set_materialize_grads(False)
    ctx.options = inputs[10:]
    ctx.save_for_backward(*inputs[:6], positive, negative, distances, scale)


def _loss_backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
    saved = ctx.saved_tensors
    has_logits = saved[2] is not None
    if grads[0] is None and grads[1] is None:
        return (None,) * 16
    of_embeddings_and_logits = _kernel(ctx, "attribute_triplet_loss_backward")(
        *grads[:2], *saved, *ctx.options
    )
    needed = of_embeddings_and_logits[: 4 if has_logits else 2]
    return *needed, *(None,) * (16 - len(needed))


def _save_nothing(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    pass


def _refuse_second_derivative(name: str) -> None:
    def backward(ctx: Any, *grads: Tensor) -> None:
        raise NotImplementedError(f"fgsbir_ext.{name} has no second derivative")

    library.register_autograd(
        f"fgsbir::{name}_backward", backward, setup_context=_save_nothing, lib=_library
    )


def _mark_constant(name: str) -> None:
    """The results of an operation carry no gradient, whatever its inputs require."""

    def setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor | tuple[Tensor, ...]) -> None:
        ctx.mark_non_differentiable(*((output,) if isinstance(output, Tensor) else output))

    def backward(ctx: Any, *grads: Tensor) -> None:
        raise NotImplementedError(f"fgsbir_ext.{name} is not differentiable")

    library.register_autograd(f"fgsbir::{name}", backward, setup_context=setup, lib=_library)


def _differentiate(name: str, setup: Callable[..., None], backward: Callable[..., Any]) -> None:
    """Makes an operation differentiable once, past torch's dispatcher and through it."""
    library.register_autograd(f"fgsbir::{name}", backward, setup_context=setup, lib=_library)

    def forward(ctx: Any, *inputs: Any) -> Any:
        ctx.backend = dispatch.BACKENDS[inputs[0].device.type]
        output = getattr(ctx.backend, name)(*inputs)
        setup(ctx, inputs, output)
        return output

    members = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    dispatch.FUNCTIONS[name] = type(name, (Function,), members)
    _refuse_second_derivative(name)


_differentiate("pairwise_distance", _save_pairwise, _pairwise_backward)
_differentiate("attribute_triplet_loss", _save_loss, _loss_backward)
_mark_constant("attribute_distance")
_mark_constant("mine_batch_hard")
_mark_constant("topk")
