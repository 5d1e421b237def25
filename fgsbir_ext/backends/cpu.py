"""CPU backend: fused kernels in C++.

float32 and float64 are native; 16-bit inputs are computed in float32. Threads are torch's.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from .. import _C

_METRIC = _C.Metric.__members__
_ATTRIBUTE_METRIC = _C.AttributeMetric.__members__
_REDUCTION = _C.Reduction.__members__
_NO_ATTRIBUTES = _C.cpu.Attributes()
_PACK = {
    torch.int8: _C.cpu.pack_attributes_int8,
    torch.float32: _C.cpu.pack_attributes_float32,
    torch.float64: _C.cpu.pack_attributes_float64,
}


def pairwise_distance(x: Tensor, y: Tensor, metric: str) -> Tensor:
    x, y = _computable(x), _computable(y)
    n, m, d = len(x), len(y), x.shape[1]
    distance = x.new_empty(n, m)
    _kernel("pairwise_distance", x)(
        x.data_ptr(),
        y.data_ptr(),
        distance.data_ptr(),
        n,
        m,
        d,
        _METRIC[metric],
        torch.get_num_threads(),
    )
    return distance


def pairwise_distance_backward(
    grad: Tensor, distance: Tensor, x: Tensor, y: Tensor, metric: str
) -> tuple[Tensor, Tensor]:
    grad, distance = grad.contiguous(), distance.contiguous()
    rows, columns = _computable(x), _computable(y)

    def gradient(of: Tensor, to: Tensor, transposed: bool) -> Tensor:
        out = torch.empty_like(of)
        _kernel("pairwise_distance_backward", of)(
            grad.data_ptr(),
            distance.data_ptr(),
            of.data_ptr(),
            to.data_ptr(),
            out.data_ptr(),
            len(of),
            len(to),
            of.shape[1],
            _METRIC[metric],
            transposed,
            torch.get_num_threads(),
        )
        return out

    return gradient(rows, columns, False).to(x.dtype), gradient(columns, rows, True).to(y.dtype)


def attribute_distance(a: Tensor, b: Tensor, weights: Tensor | None) -> Tensor:
    attributes, _keep = _packed(("a", a), ("b", b), ("weights", weights))
    distance = a.new_empty(len(a), len(b), dtype=torch.float32)
    _C.cpu.attribute_distance(attributes, distance.data_ptr(), torch.get_num_threads())
    return distance


def mine_batch_hard(
    sketch: Tensor,
    photo: Tensor,
    sketch_labels: Tensor | None,
    photo_labels: Tensor | None,
    sketch_attributes: Tensor | None,
    photo_attributes: Tensor | None,
    attribute_weights: Tensor | None,
    metric: str,
    attribute_guidance: float,
    exclude_self: bool,
) -> tuple[Tensor, Tensor]:
    sketch, photo = _computable(sketch), _computable(photo)
    (n, d), m = sketch.shape, photo.shape[0]
    positive, negative = (sketch.new_empty(n, dtype=torch.int64) for _ in range(2))

    paired = sketch_labels is None or photo_labels is None
    labels = [None if x is None else x.contiguous() for x in (sketch_labels, photo_labels)]
    attributes, _keep = _NO_ATTRIBUTES, None
    if sketch_attributes is not None and photo_attributes is not None:
        attributes, _keep = _packed(
            ("sketch_attributes", sketch_attributes),
            ("photo_attributes", photo_attributes),
            ("attribute_weights", attribute_weights),
        )

    _kernel("mine_batch_hard", sketch)(
        sketch.data_ptr(),
        photo.data_ptr(),
        paired,
        *map(_address, labels),
        attributes,
        attribute_guidance,
        exclude_self,
        _METRIC[metric],
        n,
        m,
        d,
        positive.data_ptr(),
        negative.data_ptr(),
        torch.get_num_threads(),
    )
    return positive, negative


def attribute_triplet_loss(
    sketch: Tensor,
    photo: Tensor,
    sketch_logits: Tensor | None,
    photo_logits: Tensor | None,
    sketch_attributes: Tensor | None,
    photo_attributes: Tensor | None,
    sketch_labels: Tensor | None,
    photo_labels: Tensor | None,
    attribute_weights: Tensor | None,
    attribute_guidance: float,
    *options: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    metric, reduction = options[0], options[-1]
    sketch, photo = _computable(sketch), _computable(photo)
    positive, negative = mine_batch_hard(
        sketch,
        photo,
        sketch_labels,
        photo_labels,
        sketch_attributes,
        photo_attributes,
        attribute_weights,
        metric,
        attribute_guidance,
        False,
    )
    inputs, _keep = _loss_inputs(
        sketch,
        photo,
        sketch_logits,
        photo_logits,
        sketch_attributes,
        photo_attributes,
        positive,
        negative,
    )
    n = sketch.shape[0]
    per_anchor = (n,) if reduction == "none" else ()
    total, parts = sketch.new_empty(per_anchor), sketch.new_empty((5, *per_anchor))
    distances, scale = sketch.new_empty(4, n), sketch.new_empty(())
    _kernel("attribute_triplet_loss", sketch)(
        inputs,
        _loss_options(*options),
        total.data_ptr(),
        parts.data_ptr(),
        distances.data_ptr(),
        scale.data_ptr(),
        torch.get_num_threads(),
    )
    return total, parts, positive, negative, distances, scale


def attribute_triplet_loss_backward(
    grad_total: Tensor | None,
    grad_parts: Tensor | None,
    sketch: Tensor,
    photo: Tensor,
    sketch_logits: Tensor | None,
    photo_logits: Tensor | None,
    sketch_attributes: Tensor | None,
    photo_attributes: Tensor | None,
    positive: Tensor,
    negative: Tensor,
    distances: Tensor,
    scale: Tensor,
    *options: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    inputs, keep = _loss_inputs(
        sketch,
        photo,
        sketch_logits,
        photo_logits,
        sketch_attributes,
        photo_attributes,
        positive,
        negative,
    )
    grad_total = None if grad_total is None else grad_total.contiguous()
    grad_parts = None if grad_parts is None else grad_parts.contiguous()
    grads = [sketch.new_empty(0) if x is None else torch.empty_like(x) for x in keep[:4]]
    _kernel("attribute_triplet_loss_backward", grads[0])(
        inputs,
        _loss_options(*options),
        _address(grad_total),
        _address(grad_parts),
        distances.data_ptr(),
        scale.data_ptr(),
        *(grad.data_ptr() for grad in grads),
        torch.get_num_threads(),
    )
    if grads[0].dtype != sketch.dtype:
        grads = [grad.to(sketch.dtype) for grad in grads]
    of_sketch, of_photo, of_sketch_logits, of_photo_logits = grads
    return of_sketch, of_photo, of_sketch_logits, of_photo_logits


def topk(
    query: Tensor,
    gallery: Tensor,
    k: int,
    query_logits: Tensor | None,
    gallery_logits: Tensor | None,
    attribute_weight: float,
    metric: str,
    attribute_metric: str,
) -> tuple[Tensor, Tensor]:
    query, gallery = _computable(query), _computable(gallery)
    n, m = len(query), len(gallery)
    values, indices = query.new_empty(n, k), query.new_empty(n, k, dtype=torch.int64)
    if n == 0 or k == 0:
        return values, indices

    operands: tuple[Tensor | None, ...] = (None, None, None, None)
    if query_logits is not None and gallery_logits is not None and attribute_weight > 0:
        query_logits, gallery_logits = _computable(query_logits), _computable(gallery_logits)
        operands = _prediction_product(query_logits, gallery_logits, attribute_metric)
    else:
        query_logits = gallery_logits = None

    _kernel("topk", query)(
        query.data_ptr(),
        gallery.data_ptr(),
        _address(query_logits),
        _address(gallery_logits),
        *map(_address, operands),
        attribute_weight,
        _METRIC[metric],
        _ATTRIBUTE_METRIC[attribute_metric],
        n,
        m,
        query.shape[1],
        0 if query_logits is None else query_logits.shape[1],
        k,
        values.data_ptr(),
        indices.data_ptr(),
        torch.get_num_threads(),
    )
    return values, indices


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


def _address(x: Tensor | None) -> int:
    return 0 if x is None else x.data_ptr()


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


def _packed(
    a: tuple[str, Tensor], b: tuple[str, Tensor], weights: tuple[str, Tensor | None]
) -> tuple[Any, Tensor | None]:
    """Attributes as bits, and the weights, which must live as long as they do."""
    dense_weights = _dense_weights(*weights)
    attributes = _C.cpu.Attributes(_codes(*a), _codes(*b), _address(dense_weights))
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


def _as_int8(attributes: Tensor) -> Tensor:
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


def _loss_options(
    metric: str,
    attribute_metric: str,
    margin: float | None,
    attribute_margin: float | None,
    lambdas: list[float],
    reduction: str,
) -> Any:
    return _C.LossOptions(
        _METRIC[metric],
        _ATTRIBUTE_METRIC[attribute_metric],
        margin,
        attribute_margin,
        lambdas,
        _REDUCTION[reduction],
    )


def _loss_inputs(
    sketch: Tensor,
    photo: Tensor,
    sketch_logits: Tensor | None,
    photo_logits: Tensor | None,
    sketch_attributes: Tensor | None,
    photo_attributes: Tensor | None,
    positive: Tensor,
    negative: Tensor,
) -> tuple[Any, list[Tensor | None]]:
    """The inputs of the loss kernels, and the dense tensors that they point into."""
    has_logits = sketch_logits is not None
    floats = (sketch, photo, sketch_logits, photo_logits)
    keep = [None if x is None else _computable(x) for x in floats]
    for x in (sketch_attributes, photo_attributes):
        keep.append(None if x is None or not has_logits else _as_int8(x))
    (n, d), m = sketch.shape, photo.shape[0]
    inputs = _kernel("LossInputs", sketch)(
        has_logits,
        *map(_address, keep),
        positive.data_ptr(),
        negative.data_ptr(),
        n,
        m,
        d,
        0 if sketch_logits is None else sketch_logits.shape[1],
    )
    return inputs, keep
