"""CPU backend: fused kernels in C++.

float32 and float64 are native; 16-bit inputs are computed in float32. Threads are torch's.
"""

from __future__ import annotations

import functools
import os
from typing import Any

import torch
from torch import Tensor

from .. import _C
from .. import _results as results
from ..types import ChosenTriplets, LossOptions, MiningOptions, SearchOptions, Side
from . import common

_forked = False


def _note_fork() -> None:
    global _forked
    _forked = True


os.register_at_fork(after_in_child=_note_fork)


def _threads() -> int:
    """Torch's; one in a forked process, which has none of the threads of OpenMP's pool."""
    return 1 if _forked else torch.get_num_threads()


_NO_ATTRIBUTES = _C.cpu.PackedAttributes()


def pairwise_distance(x: Tensor, y: Tensor, metric: str) -> Tensor:
    distance = results.pairwise_distances(x, y)
    arguments = (_computable(x), _computable(y), distance, common.METRIC[metric])
    _run("pairwise_distance", x, *arguments)
    return distance


def pairwise_distance_backward(
    grad: Tensor, distance: Tensor, x: Tensor, y: Tensor, metric: str
) -> tuple[Tensor, Tensor]:
    rows, columns = _computable(x), _computable(y)
    of_x, of_y = results.pairwise_gradients(rows, columns)
    of = common.METRIC[metric]
    _run("pairwise_distance_backward", x, grad, distance, rows, columns, of_x, of, False)
    _run("pairwise_distance_backward", x, grad, distance, columns, rows, of_y, of, True)
    return of_x.to(x.dtype), of_y.to(y.dtype)


def attribute_distance(a: Tensor, b: Tensor, weights: Tensor | None) -> Tensor:
    attributes = _packed(("a", a), ("b", b), ("weights", weights))
    distance = results.attribute_distances(a, b)
    _C.cpu.attribute_distance(attributes, distance, _threads())
    return distance


def mine_batch_hard(
    sketch: Side, photo: Side, attribute_weights: Tensor | None, options: MiningOptions
) -> tuple[Tensor, Tensor]:
    attributes = _packed_sides(sketch, photo, attribute_weights)
    picks = results.picks(sketch.embedding)
    arguments = (attributes, common.mining_options(options), *picks)
    _run("mine_batch_hard", sketch.embedding, _readable(sketch), _readable(photo), *arguments)
    return picks


def attribute_triplet_loss(
    sketch: Side, photo: Side, attribute_weights: Tensor | None, options: LossOptions
) -> tuple[Tensor, ...]:
    attributes = _packed_sides(sketch, photo, attribute_weights)
    outputs = results.loss(sketch.embedding, options.reduction)
    arguments = (attributes, *common.loss_options(options), *outputs)
    _run(
        "attribute_triplet_loss", sketch.embedding, _readable(sketch), _readable(photo), *arguments
    )
    return outputs


def attribute_triplet_loss_backward(
    grad_total: Tensor | None,
    grad_parts: Tensor | None,
    sketch: Side,
    photo: Side,
    chosen: ChosenTriplets,
    options: LossOptions,
) -> tuple[Tensor, ...]:
    dtype = sketch.embedding.dtype
    sketch, photo = _readable(sketch), _readable(photo)
    grads = results.gradients(sketch, photo)
    _, loss_options = common.loss_options(options)
    arguments = (grad_total, grad_parts, sketch, photo, *chosen, loss_options, *grads)
    _run("attribute_triplet_loss_backward", sketch.embedding, *arguments)
    return grads if sketch.embedding.dtype == dtype else tuple(grad.to(dtype) for grad in grads)


def topk(query: Side, gallery: Side, options: SearchOptions) -> tuple[Tensor, Tensor]:
    found = results.nearest(query.embedding, options.k)
    if found[0].numel() == 0:
        return found

    if options.attribute_weight == 0:
        query, gallery = Side(query.embedding), Side(gallery.embedding)
    # A gallery is read as it is: one of 16-bit numbers would be twice as large in float32.
    arguments = (_readable(query), gallery, common.search_options(options), *found)
    _run("topk", query.embedding, *arguments)
    return found


def _run(name: str, like: Tensor, *arguments: Any) -> None:
    """Runs the instance of a kernel for the type that a tensor is computed in."""
    _instance(name, like.dtype)(*arguments, _threads())


@functools.cache
def _instance(name: str, dtype: torch.dtype) -> Any:
    return getattr(_C.cpu, f"{name}_{'float64' if dtype == torch.float64 else 'float32'}")


def _computable(x: Tensor) -> Tensor:
    """In a type that the kernels compute in."""
    # A conversion to the type that a tensor has is a call, too, and small batches feel it.
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def _readable(side: Side) -> Side:
    """In the types that the kernels read; annotations are compared with logits alone."""
    embedding, logits, attributes, labels = side
    if logits is None:
        return Side(_computable(embedding), None, None, labels)
    annotations = None if attributes is None else _as_int8(attributes)
    return Side(_computable(embedding), _computable(logits), annotations, labels)


def _packed_sides(sketch: Side, photo: Side, attribute_weights: Tensor | None) -> Any:
    if sketch.attributes is None or photo.attributes is None:
        return _NO_ATTRIBUTES
    return _packed(
        ("sketch_attributes", sketch.attributes),
        ("photo_attributes", photo.attributes),
        ("attribute_weights", attribute_weights),
    )


def _packed(
    a: tuple[str, Tensor], b: tuple[str, Tensor], weights: tuple[str, Tensor | None]
) -> Any:
    """Attributes as bits, with their weights."""
    return _C.cpu.PackedAttributes(_codes(*a), _codes(*b), _dense_weights(*weights))


def _codes(name: str, attributes: Tensor) -> Any:
    readable = _annotation(attributes)
    codes = _C.cpu.pack_attributes(readable)
    if codes.invalid >= 0:
        row, column = divmod(codes.invalid, readable.shape[1])
        raise ValueError(
            f"{name} must hold only 1 (yes), 0 (no) and -1 (unknown), "
            f"got {readable[row, column].item():g} at [{row}, {column}]"
        )
    return codes


def _annotation(attributes: Tensor) -> Tensor:
    """int8, float32 or float64, without a change of value, whatever type they came in."""
    if attributes.dtype in (torch.int8, torch.float32, torch.float64):
        return attributes
    if attributes.dtype == torch.bool:
        return attributes.view(torch.int8)
    return attributes.to(torch.float32 if attributes.dtype.itemsize < 4 else torch.float64)


def _as_int8(attributes: Tensor) -> Tensor:
    return attributes if attributes.dtype == torch.int8 else attributes.char()


def _dense_weights(name: str, weights: Tensor | None) -> Tensor | None:
    if weights is None:
        return None
    dense = weights.double().contiguous()
    if not bool(((dense >= 0) & dense.isfinite()).all()):
        raise ValueError(f"{name} must be finite and not negative, got {weights.tolist()}")
    if len(dense) > 0 and not bool(dense.any()):
        raise ValueError(f"{name} must not all be 0")
    return dense
