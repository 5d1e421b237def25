"""Operations registered with torch: schemas, fake implementations and autograd.

``torch.ops.fgsbir.*`` take checked tensors; :mod:`fgsbir_ext._functional` checks them. The kernels
are in :mod:`fgsbir_ext._backends`, one module per device type. Here, and nowhere else, groups of
arguments become a row, as torch has it: the tensors, those of each side in the order of its fields,
and then the options in the order of theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, TypeVar, get_type_hints

import torch
from torch import Tensor, library
from torch.autograd import Function

from . import _backends as backends
from . import _dispatch as dispatch
from . import _results as results
from ._dispatch import Kernel, call
from ._torch_internals import are_plain, unchecked_apply
from .types import (
    ChosenTriplets,
    DistanceOptions,
    LossOptions,
    MiningOptions,
    SearchOptions,
    Side,
)

_library = library.Library("fgsbir", "DEF")
_TENSORS: dict[str, int] = {}  # how many arguments of an operation are tensors
_GROUPS: dict[str, Callable[[Sequence[Any]], Any]] = {}  # what makes a group of the others


def _define(name: str, tensors: str, returns: str, options: Any = None) -> None:
    """``options`` is a class of options, if there are any."""
    arguments = [tensors]
    for field, of_type in get_type_hints(options).items() if options else ():
        arguments.append(f"{_SCHEMA_TYPES.get(of_type, 'str')} {field}")
    _library.define(f"{name}({', '.join(arguments)}) -> {returns}")
    _TENSORS[name] = tensors.count("Tensor")
    _GROUPS[name] = options._make if options else tuple


def _side(name: str) -> str:
    return f"Tensor {name}, " + ", ".join(f"Tensor? {name}_{x}" for x in Side._fields[1:])


# Of the options that are no choice between strings.
_SCHEMA_TYPES = {float: "float", float | None: "float?", bool: "bool", int: "SymInt"}
_BATCH = f"{_side('sketch')}, {_side('photo')}"

_define("pairwise_distance", "Tensor x, Tensor y", "Tensor", DistanceOptions)
_define(
    "pairwise_distance_backward",
    "Tensor grad, Tensor distance, Tensor x, Tensor y",
    "(Tensor, Tensor)",
    DistanceOptions,
)
_define("attribute_distance", "Tensor a, Tensor b, Tensor? weights", "Tensor")
_define(
    "mine_batch_hard",
    f"{_BATCH}, Tensor? attribute_weights",
    "(Tensor positive, Tensor negative)",
    MiningOptions,
)
_define(
    "attribute_triplet_loss",
    f"{_BATCH}, Tensor? attribute_weights",
    "(Tensor total, Tensor parts, Tensor photos, Tensor saved)",
    LossOptions,
)
_define(
    "attribute_triplet_loss_backward",
    f"Tensor? grad_total, Tensor? grad_parts, {_BATCH}, Tensor photos, Tensor saved",
    "(Tensor sketch, Tensor photo, Tensor sketch_logits, Tensor photo_logits)",
    LossOptions,
)
_define(
    "topk",
    f"{_side('query')}, {_side('gallery')}",
    "(Tensor values, Tensor indices)",
    SearchOptions,
)


# --- Groups of arguments, and the same in a row ---------------------------------------------------

_FIELDS = len(Side._fields)
_LOGITS, _LABELS = map(Side._fields.index, ("logits", "labels"))


def mine_batch_hard(
    sketch: Side, photo: Side, attribute_weights: Tensor | None, options: MiningOptions
) -> tuple[Tensor, Tensor]:
    """Positive and negative of each sketch."""
    picks: tuple[Tensor, Tensor] = call(
        "mine_batch_hard", (*sketch, *photo, attribute_weights), options
    )
    return picks


def attribute_triplet_loss(
    sketch: Side, photo: Side, attribute_weights: Tensor | None, options: LossOptions
) -> tuple[Tensor, ...]:
    """Total, parts and the fields of :class:`ChosenTriplets`."""
    outputs: tuple[Tensor, ...] = call(
        "attribute_triplet_loss", (*sketch, *photo, attribute_weights), options
    )
    return outputs


def topk(query: Side, gallery: Side, options: SearchOptions) -> tuple[Tensor, Tensor]:
    """Values and indices of the nearest of each query; the sides have embeddings and logits."""
    found: tuple[Tensor, Tensor] = call("topk", (*query, *gallery), options)
    return found


def _sides(row: Sequence[Any]) -> tuple[Side, Side, Sequence[Any]]:
    """The two sides at the start of a row, and what follows them."""
    return Side(*row[:_FIELDS]), Side(*row[_FIELDS : 2 * _FIELDS]), row[2 * _FIELDS :]


def _kernels_of(backend: ModuleType) -> dict[str, Kernel]:
    """The operations of a backend, of tensors in a row."""

    def plain(operation: Callable[..., Any]) -> Kernel:
        return lambda tensors, options: operation(*tensors, *options)

    def of_sides(operation: Callable[..., Any]) -> Kernel:
        def run(tensors: Sequence[Any], options: Any) -> Any:
            one, other, rest = _sides(tensors)
            return operation(one, other, *rest, options)

        return run

    def loss_backward(tensors: Sequence[Any], options: Any) -> Any:
        sketch, photo, chosen = _sides(tensors[2:])
        return backend.attribute_triplet_loss_backward(
            *tensors[:2], sketch, photo, ChosenTriplets(*chosen), options
        )

    return {
        "pairwise_distance": plain(backend.pairwise_distance),
        "pairwise_distance_backward": plain(backend.pairwise_distance_backward),
        "attribute_distance": plain(backend.attribute_distance),
        "mine_batch_hard": of_sides(backend.mine_batch_hard),
        "attribute_triplet_loss": of_sides(backend.attribute_triplet_loss),
        "attribute_triplet_loss_backward": loss_backward,
        "topk": of_sides(backend.topk),
    }


def _grouped(name: str, row: Sequence[Any]) -> tuple[Any, Any]:
    """Tensors and options of a row of arguments."""
    tensors = _TENSORS[name]
    return row[:tensors], _GROUPS[name](row[tensors:])


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

_Shapes = TypeVar("_Shapes", bound=Callable[..., Any])


def _shapes_of(name: str) -> Callable[[_Shapes], _Shapes]:
    """Has a function make the results of an operation on tensors without data."""
    decorator: Callable[[_Shapes], _Shapes] = library.register_fake(f"fgsbir::{name}", lib=_library)
    return decorator


@_shapes_of("pairwise_distance")
def _(x: Tensor, y: Tensor, metric: str) -> Tensor:
    return results.pairwise_distances(x, y)


@_shapes_of("pairwise_distance_backward")
def _(grad: Tensor, distance: Tensor, x: Tensor, y: Tensor, metric: str) -> tuple[Tensor, Tensor]:
    return results.pairwise_gradients(x, y)


@_shapes_of("attribute_distance")
def _(a: Tensor, b: Tensor, weights: Tensor | None) -> Tensor:
    return results.attribute_distances(a, b)


@_shapes_of("mine_batch_hard")
def _(sketch: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return results.picks(sketch)


@_shapes_of("attribute_triplet_loss")
def _(*args: Any) -> tuple[Tensor, ...]:
    (sketch, *_), options = _grouped("attribute_triplet_loss", args)
    return results.loss(sketch, options.reduction)


@_shapes_of("attribute_triplet_loss_backward")
def _(*args: Any) -> tuple[Tensor, ...]:
    (_, _, *tensors), _ = _grouped("attribute_triplet_loss_backward", args)
    sketch, photo, _ = _sides(tensors)
    return results.gradients(sketch, photo)


@_shapes_of("topk")
def _(*args: Any) -> tuple[Tensor, Tensor]:
    (query, *_), options = _grouped("topk", args)
    return results.nearest(query, options.k)


# --- Gradients --------------------------------------------------------------------------------


def _run_backward(
    ctx: Any, name: str, grads: tuple[Tensor | None, ...], saved: tuple[Tensor | None, ...]
) -> Any:
    """An operation of the backward pass, on the path that the forward pass took.

    It is torch's for gradients that are more than plain tensors, and with ``create_graph``, where
    a second derivative is refused.
    """
    tensors = (*grads, *saved)
    kernels = getattr(ctx, "kernels", None)
    if kernels is None or torch.is_grad_enabled() or not are_plain(grads):
        return getattr(torch.ops.fgsbir, name)(*tensors, *ctx.options)
    return kernels[name](tensors, ctx.options)


def _save_pairwise(ctx: Any, tensors: Sequence[Any], output: Tensor) -> None:
    ctx.save_for_backward(output, *tensors)


def _pairwise_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    grads = _run_backward(ctx, "pairwise_distance_backward", (grad,), ctx.saved_tensors)
    return *grads, *ctx.of_options


def _save_loss(ctx: Any, tensors: Sequence[Any], output: tuple[Tensor, ...]) -> None:
    chosen = output[2:]
    ctx.mark_non_differentiable(*chosen)
    ctx.set_materialize_grads(False)
    # No labels: they may be changed in place before the backward pass.
    of_photo = tensors[_FIELDS : _FIELDS + _LABELS]
    ctx.save_for_backward(*tensors[:_LABELS], *of_photo, *chosen)


def _loss_backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
    saved = ctx.saved_tensors
    of_sketch, of_photo, chosen = (
        saved[:_LABELS],
        saved[_LABELS : 2 * _LABELS],
        saved[2 * _LABELS :],
    )
    if grads[0] is None and grads[1] is None:
        return (None,) * len(ctx.needs_input_grad)
    sketch, photo, sketch_logits, photo_logits = _run_backward(
        ctx,
        "attribute_triplet_loss_backward",
        grads[:2],
        (*of_sketch, None, *of_photo, None, *chosen),
    )
    if of_sketch[_LOGITS] is None:
        sketch_logits = photo_logits = None
    return *Side(sketch, sketch_logits), *Side(photo, photo_logits), None, *ctx.of_options


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

    ``save(ctx, tensors, output)`` and ``backward(ctx, *grads)`` are what both ways share. The
    context has the options, and their gradients: a None for each in a row, or for all together.
    """

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        tensors, ctx.options = _grouped(name, inputs)
        ctx.of_options = (None,) * len(ctx.options)
        save(ctx, tensors, output)

    library.register_autograd(
        f"fgsbir::{name}", backward, setup_context=setup_context, lib=_library
    )

    def forward(ctx: Any, *arguments: Any) -> Any:
        *tensors, ctx.options = arguments
        ctx.of_options = (None,)
        ctx.kernels = dispatch.KERNELS[tensors[0].device.type]
        output = ctx.kernels[name](tensors, ctx.options)
        save(ctx, tensors, output)
        return output

    members = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    # Transforms, for which its own apply looks, have been refused where this one is called.
    dispatch.FUNCTIONS[name] = unchecked_apply(type(name, (Function,), members))
    _refuse_second_derivative(name)


_differentiate("pairwise_distance", _save_pairwise, _pairwise_backward)
_differentiate("attribute_triplet_loss", _save_loss, _loss_backward)
_mark_constant("attribute_distance")
_mark_constant("mine_batch_hard")
_mark_constant("topk")
