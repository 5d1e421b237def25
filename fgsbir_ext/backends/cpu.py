"""CPU backend: fused kernels in C++.

float32 and float64 are native; 16-bit inputs are computed in float32. Threads are torch's.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from .. import _C, results
from ..types import ChosenTriplets, LossOptions, MiningOptions, SearchOptions, Side
from . import common

_NO_ATTRIBUTES = _C.cpu.PackedAttributes()
_PACK = {
    torch.int8: _C.cpu.pack_attributes_int8,
    torch.float32: _C.cpu.pack_attributes_float32,
    torch.float64: _C.cpu.pack_attributes_float64,
}


def pairwise_distance(x: Tensor, y: Tensor, metric: str) -> Tensor:
    x, y = _computable(x), _computable(y)
    distance = results.pairwise_distances(x, y)
    _kernel("pairwise_distance", x)(
        x.data_ptr(),
        y.data_ptr(),
        distance.data_ptr(),
        *distance.shape,
        x.shape[1],
        common.METRIC[metric],
        torch.get_num_threads(),
    )
    return distance


def pairwise_distance_backward(
    grad: Tensor, distance: Tensor, x: Tensor, y: Tensor, metric: str
) -> tuple[Tensor, Tensor]:
    grad, distance = grad.contiguous(), distance.contiguous()
    rows, columns = _computable(x), _computable(y)
    of_x, of_y = results.pairwise_gradients(rows, columns)

    def write(out: Tensor, of: Tensor, to: Tensor, transposed: bool) -> None:
        _kernel("pairwise_distance_backward", of)(
            grad.data_ptr(),
            distance.data_ptr(),
            of.data_ptr(),
            to.data_ptr(),
            out.data_ptr(),
            len(of),
            len(to),
            of.shape[1],
            common.METRIC[metric],
            transposed,
            torch.get_num_threads(),
        )

    write(of_x, rows, columns, False)
    write(of_y, columns, rows, True)
    return of_x.to(x.dtype), of_y.to(y.dtype)


def attribute_distance(a: Tensor, b: Tensor, weights: Tensor | None) -> Tensor:
    attributes, _keep = _packed(("a", a), ("b", b), ("weights", weights))
    distance = results.attribute_distances(a, b)
    _C.cpu.attribute_distance(attributes, distance.data_ptr(), torch.get_num_threads())
    return distance


def mine_batch_hard(
    sketch: Side, photo: Side, attribute_weights: Tensor | None, options: MiningOptions
) -> tuple[Tensor, Tensor]:
    sketch, photo = _dense(sketch), _dense(photo)
    mining, _keep = _mining(sketch, photo, attribute_weights, options)
    picks = results.picks(sketch.embedding)
    _kernel("mine_batch_hard", sketch.embedding)(
        mining, *map(common.address, picks), torch.get_num_threads()
    )
    return picks


def attribute_triplet_loss(
    sketch: Side, photo: Side, attribute_weights: Tensor | None, options: LossOptions
) -> tuple[Tensor, ...]:
    sketch, photo = _dense(sketch), _dense(photo)
    mining, _keep_mining = _mining(sketch, photo, attribute_weights, options.mining)
    predictions, _keep_predictions = _predictions(sketch, photo)
    outputs = results.loss(sketch.embedding, options.reduction)
    _kernel("attribute_triplet_loss", sketch.embedding)(
        mining,
        predictions,
        common.cpp_loss_options(options),
        *map(common.address, outputs),
        torch.get_num_threads(),
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
    sketch, photo = _dense(sketch), _dense(photo)
    predictions, _keep = _predictions(sketch, photo)
    incoming = [None if grad is None else grad.contiguous() for grad in (grad_total, grad_parts)]
    grads = results.gradients(sketch, photo)
    _kernel("attribute_triplet_loss_backward", sketch.embedding)(
        _kernel("ChosenTriplets", sketch.embedding)(*common.triplet_fields(sketch, photo, chosen)),
        predictions,
        common.cpp_loss_options(options),
        *map(common.address, incoming),
        *map(common.address, grads),
        torch.get_num_threads(),
    )
    return grads if sketch.embedding.dtype == dtype else tuple(grad.to(dtype) for grad in grads)


def topk(query: Side, gallery: Side, options: SearchOptions) -> tuple[Tensor, Tensor]:
    query, gallery = _dense(query), _dense(gallery)
    found = results.nearest(query.embedding, options.k)
    if found[0].numel() == 0:
        return found

    operands: tuple[Tensor | None, ...] = (None, None, None, None)
    if query.logits is not None and gallery.logits is not None and options.attribute_weight > 0:
        operands = _prediction_product(query.logits, gallery.logits, options.attribute_metric)
    else:
        query, gallery = Side(query.embedding), Side(gallery.embedding)
    fields = common.search_fields(query, gallery, options)
    _kernel("topk", query.embedding)(
        _kernel("Search", query.embedding)(*fields, *map(common.address, operands)),
        *map(common.address, found),
        torch.get_num_threads(),
    )
    return found


def _kernel(name: str, like: Tensor) -> Any:
    """The instance of a kernel or kernel state for the type of a tensor."""
    return _instance(name, like.dtype)


@functools.cache
def _instance(name: str, dtype: torch.dtype) -> Any:
    return getattr(_C.cpu, f"{name}_{'float64' if dtype == torch.float64 else 'float32'}")


def _computable(x: Tensor) -> Tensor:
    """Dense, and in a type that the kernels compute in."""
    # A conversion to the type that a tensor has is a call, too, and small batches feel it.
    return (x if x.dtype in (torch.float32, torch.float64) else x.float()).contiguous()


def _dense(side: Side) -> Side:
    """Embeddings, logits and labels as the kernels read them."""
    embedding, logits, attributes, labels = side
    return Side(
        _computable(embedding),
        None if logits is None else _computable(logits),
        attributes,
        None if labels is None else labels.contiguous(),
    )


def _prediction_product(
    query_logits: Tensor, gallery_logits: Tensor, metric: str
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The operands whose product gives D, and the biases of rows and columns; see csrc/ops.h."""
    a = query_logits.sigmoid()
    if metric == "cross_entropy":
        k = max(a.shape[1], 1)
        return a, gallery_logits, a.new_zeros(len(a)), softplus(gallery_logits).sum(1) / k
    b = gallery_logits.sigmoid()
    return a, b, a.square().sum(1), b.square().sum(1)


def _mining(
    sketch: Side, photo: Side, attribute_weights: Tensor | None, options: MiningOptions
) -> tuple[Any, Any]:
    """A batch of dense sides to mine, and what it points into."""
    attributes, keep = _NO_ATTRIBUTES, None
    if sketch.attributes is not None and photo.attributes is not None:
        attributes, keep = _packed(
            ("sketch_attributes", sketch.attributes),
            ("photo_attributes", photo.attributes),
            ("attribute_weights", attribute_weights),
        )
    mining = _kernel("Mining", sketch.embedding)
    return mining(*common.mining_fields(sketch, photo, attributes, options)), (attributes, keep)


def _predictions(sketch: Side, photo: Side) -> tuple[Any, Any]:
    """The predictions of dense sides, and the annotations that they point into."""
    predictions = _kernel("Predictions", sketch.embedding)
    if not common.predicts(sketch, photo):
        return predictions(*common.no_predictions(0)), None
    a, b = _as_int8(sketch.attributes), _as_int8(photo.attributes)
    fields = common.prediction_fields(sketch, photo, a.data_ptr(), b.data_ptr())
    return predictions(*fields), (a, b)


def _packed(
    a: tuple[str, Tensor], b: tuple[str, Tensor], weights: tuple[str, Tensor | None]
) -> tuple[Any, Tensor | None]:
    """Attributes as bits, and the weights, which must live as long as they do."""
    dense_weights = _dense_weights(*weights)
    attributes = _C.cpu.PackedAttributes(_codes(*a), _codes(*b), common.address(dense_weights))
    return attributes, dense_weights


def _codes(name: str, attributes: Tensor) -> Any:
    dense = _annotation(attributes)
    n, k = dense.shape
    codes = _PACK[dense.dtype](dense.data_ptr(), n, k)
    if codes.invalid >= 0:
        row, column = divmod(codes.invalid, k)
        raise ValueError(
            f"{name} must hold only 1 (yes), 0 (no) and -1 (unknown), "
            f"got {dense[row, column].item():g} at [{row}, {column}]"
        )
    return codes


def _annotation(attributes: Tensor) -> Tensor:
    """Dense int8, float32 or float64, without a change of value, whatever type they came in."""
    if attributes.dtype in _PACK:
        return attributes.contiguous()
    if attributes.dtype == torch.bool:
        return attributes.contiguous().view(torch.int8)
    exact = torch.float32 if attributes.dtype.itemsize < 4 else torch.float64
    return attributes.to(exact).contiguous()


def _as_int8(attributes: Any) -> Tensor:
    return (attributes if attributes.dtype == torch.int8 else attributes.char()).contiguous()


def _dense_weights(name: str, weights: Tensor | None) -> Tensor | None:
    if weights is None:
        return None
    dense = weights.double().contiguous()
    if not bool(((dense >= 0) & dense.isfinite()).all()):
        raise ValueError(f"{name} must be finite and not negative, got {weights.tolist()}")
    if len(dense) > 0 and not bool(dense.any()):
        raise ValueError(f"{name} must not all be 0")
    return dense
