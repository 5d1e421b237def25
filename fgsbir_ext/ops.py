"""Operations registered with torch: schemas, fake implementations and autograd.

``torch.ops.fgsbir.*`` take checked tensors; :mod:`fgsbir_ext.functional` checks them. The kernels
are in :mod:`fgsbir_ext.backends`, one module per device type. A schema is a row of tensors, then of
options: this module, and no other, knows where in the row the fields of a group stand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, library
from torch.autograd import Function

from . import backends, dispatch, results
from .dispatch import Kernel, call
from .types import ChosenTriplets, LossOptions, MiningOptions, Side

_library = library.Library("fgsbir", "DEF")
_tensors: dict[str, int] = {}  # how many arguments of an operation are tensors
_options = {  # what groups the others, where that is no plain tuple
    "mine_batch_hard": MiningOptions._make,
    "attribute_triplet_loss": LossOptions._make,
    "attribute_triplet_loss_backward": LossOptions._make,
}


def _define(schema: str) -> None:
    _library.define(schema)
    arguments, _, _ = schema.partition(" -> ")
    _tensors[schema.partition("(")[0]] = arguments.count("Tensor")


_define("pairwise_distance(Tensor x, Tensor y, str metric) -> Tensor")
_define(
    "pairwise_distance_backward(Tensor grad, Tensor distance, Tensor x, Tensor y, str metric)"
    " -> (Tensor, Tensor)"
)
_define("attribute_distance(Tensor a, Tensor b, Tensor? weights) -> Tensor")
_define(
    "mine_batch_hard(Tensor sketch, Tensor? sketch_attributes, Tensor? sketch_labels,"
    " Tensor photo, Tensor? photo_attributes, Tensor? photo_labels, Tensor? attribute_weights,"
    " str metric, float attribute_guidance, bool exclude_self)"
    " -> (Tensor positive, Tensor negative)"
)
_LOSS_OPTIONS = (
    "str metric, str attribute_metric, float? margin, float? attribute_margin,"
    " float lambda_a, float lambda_s, float lambda_pos, float lambda_neg,"
    " float attribute_guidance, str reduction"
)
_define(
    "attribute_triplet_loss("
    "Tensor sketch, Tensor? sketch_logits, Tensor? sketch_attributes, Tensor? sketch_labels,"
    " Tensor photo, Tensor? photo_logits, Tensor? photo_attributes, Tensor? photo_labels,"
    f" Tensor? attribute_weights, {_LOSS_OPTIONS})"
    " -> (Tensor total, Tensor parts, Tensor positive, Tensor negative,"
    " Tensor distances, Tensor scale)"
)
_define(
    "attribute_triplet_loss_backward(Tensor? grad_total, Tensor? grad_parts,"
    " Tensor sketch, Tensor? sketch_logits, Tensor? sketch_attributes,"
    " Tensor photo, Tensor? photo_logits, Tensor? photo_attributes,"
    f" Tensor positive, Tensor negative, Tensor distances, Tensor scale, {_LOSS_OPTIONS})"
    " -> (Tensor sketch, Tensor photo, Tensor sketch_logits, Tensor photo_logits)"
)
_define(
    "topk(Tensor query, Tensor gallery, Tensor? query_logits, Tensor? gallery_logits, SymInt k,"
    " float attribute_weight, str metric, str attribute_metric)"
    " -> (Tensor values, Tensor indices)"
)


# --- Groups of arguments, and the same in a row ---------------------------------------------------


def mine_batch_hard(
    sketch: Side, photo: Side, attribute_weights: Tensor | None, options: MiningOptions
) -> tuple[Tensor, Tensor]:
    """Positive and negative of each sketch."""
    x, _, *of_sketch = sketch
    y, _, *of_photo = photo
    return call("mine_batch_hard", (x, *of_sketch, y, *of_photo, attribute_weights), options)


def attribute_triplet_loss(
    sketch: Side, photo: Side, attribute_weights: Tensor | None, options: LossOptions
) -> tuple[Tensor, Tensor, ChosenTriplets]:
    """Total and parts of the loss, and the triplets that it is of."""
    tensors = (*sketch, *photo, attribute_weights)
    total, parts, *chosen = call("attribute_triplet_loss", tensors, options)
    return total, parts, ChosenTriplets._make(chosen)


def _kernels_of(backend: ModuleType) -> dict[str, Kernel]:
    """The operations of a backend, of tensors in a row."""

    def plain(operation: Callable[..., Any]) -> Kernel:
        return lambda tensors, options: operation(*tensors, *options)

    def mine(x: Sequence[Any], options: Any) -> Any:
        sketch, photo = Side(x[0], None, *x[1:3]), Side(x[3], None, *x[4:6])
        return backend.mine_batch_hard(sketch, photo, x[6], options)

    def loss(x: Sequence[Any], options: Any) -> Any:
        return backend.attribute_triplet_loss(Side(*x[:4]), Side(*x[4:8]), x[8], options)

    def loss_backward(x: Sequence[Any], options: Any) -> Any:
        chosen = ChosenTriplets(*x[8:])
        return backend.attribute_triplet_loss_backward(
            x[0], x[1], Side(*x[2:5]), Side(*x[5:8]), chosen, options
        )

    return {
        "pairwise_distance": plain(backend.pairwise_distance),
        "pairwise_distance_backward": plain(backend.pairwise_distance_backward),
        "attribute_distance": plain(backend.attribute_distance),
        "mine_batch_hard": mine,
        "attribute_triplet_loss": loss,
        "attribute_triplet_loss_backward": loss_backward,
        "topk": plain(backend.topk),
    }


def _grouped(name: str, row: Sequence[Any]) -> tuple[Any, Any]:
    """Tensors and options of a row of arguments."""
    tensors = _tensors[name]
    return row[:tensors], _options.get(name, tuple)(row[tensors:])


def register(
    backend: ModuleType, device_type: str, to: library.Library = _library, **options: Any
) -> None:
    """Makes the operations of a backend those of a device type, past torch's dispatcher and in it.

    ``options`` are those of :meth:`torch.library.Library.impl`.
    """

    def of_a_row(name: str, kernel: Kernel) -> Callable[..., Any]:
        return lambda *row: kernel(*_grouped(name, row))

    kernels = _kernels_of(backend)
    for name, kernel in kernels.items():
        to.impl(name, of_a_row(name, kernel), device_type.upper(), **options)
    dispatch.KERNELS[device_type] = kernels


for _device_type, _backend in backends.available().items():
    register(_backend, _device_type)


# --- Shapes -----------------------------------------------------------------------------------


@library.register_fake("fgsbir::pairwise_distance", lib=_library)
def _(x: Tensor, y: Tensor, metric: str) -> Tensor:
    return results.pairwise_distances(x, y)


@library.register_fake("fgsbir::pairwise_distance_backward", lib=_library)
def _(grad: Tensor, distance: Tensor, x: Tensor, y: Tensor, metric: str) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), y.new_empty(y.shape)


@library.register_fake("fgsbir::attribute_distance", lib=_library)
def _(a: Tensor, b: Tensor, weights: Tensor | None) -> Tensor:
    return results.attribute_distances(a, b)


@library.register_fake("fgsbir::mine_batch_hard", lib=_library)
def _(sketch: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return results.picks(sketch)


@library.register_fake("fgsbir::attribute_triplet_loss", lib=_library)
def _(sketch: Tensor, *args: Any) -> tuple[Tensor, ...]:
    return results.loss(sketch, reduction=args[-1])


@library.register_fake("fgsbir::attribute_triplet_loss_backward", lib=_library)
def _(*args: Any) -> tuple[Tensor, ...]:
    dense: list[Any] = [None if x is None else x.contiguous() for x in args[2:8]]
    return results.gradients(Side(*dense[:3]), Side(*dense[3:]))


@library.register_fake("fgsbir::topk", lib=_library)
def _(query: Tensor, gallery: Tensor, u: Tensor, v: Tensor, k: int, *_: Any) -> Any:
    return results.nearest(query, k)


# --- Gradients --------------------------------------------------------------------------------


def _run_backward(ctx: Any, name: str, tensors: tuple[Tensor | None, ...]) -> Any:
    """An operation of the backward pass, on the path that the forward pass took.

    With ``create_graph`` it is torch's, where a second derivative is refused.
    """
    kernels = getattr(ctx, "kernels", None)
    if kernels is None or torch.is_grad_enabled():
        return getattr(torch.ops.fgsbir, name)(*tensors, *ctx.options)
    return kernels[name](tensors, ctx.options)


def _save_pairwise(ctx: Any, tensors: Sequence[Any], output: Tensor) -> None:
    ctx.save_for_backward(output, *tensors)


def _pairwise_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    grads = _run_backward(ctx, "pairwise_distance_backward", (grad, *ctx.saved_tensors))
    return *grads, *ctx.constant


def _save_loss(ctx: Any, tensors: Sequence[Any], output: tuple[Tensor, ...]) -> None:
    chosen = output[2:]
    ctx.mark_non_differentiable(*chosen)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*tensors[:3], *tensors[4:7], *chosen)  # both sides but for their labels


def _loss_backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
    saved = ctx.saved_tensors
    if grads[0] is None and grads[1] is None:
        return (None,) * len(ctx.needs_input_grad)
    sketch, photo, sketch_logits, photo_logits = _run_backward(
        ctx, "attribute_triplet_loss_backward", (*grads[:2], *saved)
    )
    if saved[1] is None:
        sketch_logits = photo_logits = None
    return sketch, sketch_logits, None, None, photo, photo_logits, None, None, None, *ctx.constant


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


def _differentiate(name: str, save: Callable[..., None], backward: Callable[..., Any]) -> None:
    """Makes an operation differentiable once, past torch's dispatcher and through it.

    ``save(ctx, tensors, output)`` and ``backward(ctx, *grads)``, which finds the options in the
    context, and the gradients of options: None for each that there is in a row, or for all at once.
    """

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        tensors, ctx.options = _grouped(name, inputs)
        ctx.constant = (None,) * len(ctx.options)
        save(ctx, tensors, output)

    library.register_autograd(
        f"fgsbir::{name}", backward, setup_context=setup_context, lib=_library
    )

    def forward(ctx: Any, *arguments: Any) -> Any:
        *tensors, ctx.options = arguments
        ctx.constant = (None,)
        ctx.kernels = dispatch.KERNELS[tensors[0].device.type]
        output = ctx.kernels[name](tensors, ctx.options)
        save(ctx, tensors, output)
        return output

    members = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    dispatch.FUNCTIONS[name] = type(name, (Function,), members)
    _refuse_second_derivative(name)


_differentiate("pairwise_distance", _save_pairwise, _pairwise_backward)
_differentiate("attribute_triplet_loss", _save_loss, _loss_backward)
_mark_constant("attribute_distance")
_mark_constant("mine_batch_hard")
_mark_constant("topk")
