"""CUDA backend: allocates with torch, launches on the current stream of the tensors' device.

Types of embeddings are native; nothing here or below waits for the device. csrc/ops_cuda.h says
what the kernels take.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from .. import _C

_kernels = _C.cuda
_METRIC = _C.Metric.__members__
_ATTRIBUTE_METRIC = _C.AttributeMetric.__members__
_REDUCTION = _C.Reduction.__members__
_SCALAR_TYPE = {
    getattr(torch, name): value for name, value in _kernels.ScalarType.__members__.items()
}
_NO_ARRAY = _kernels.Array(0, _kernels.ScalarType.float32)
_NO_ATTRIBUTES = _kernels.Attributes(_NO_ARRAY, _NO_ARRAY, _NO_ARRAY, 0)
_NO_PREDICTIONS = _kernels.Predictions(False, 0, 0, _NO_ARRAY, _NO_ARRAY, 0)


@contextmanager
def _current_stream(device: torch.device) -> Iterator[int]:
    """The stream to launch on, as an address, while its device is the current one."""
    with torch.cuda.device(device):
        yield torch.cuda.current_stream(device).cuda_stream


def _launch(operation: str, like: Tensor, described: tuple[Any, ...], *arguments: Any) -> None:
    """Runs an operation with a workspace; ``described`` is what determines the workspace's size."""
    size = getattr(_kernels, f"{operation}_workspace")(*described)
    workspace = torch.empty(size, dtype=torch.uint8, device=like.device)
    with _current_stream(like.device) as stream:
        getattr(_kernels, operation)(*arguments, workspace.data_ptr(), stream)


def pairwise_distance(x: Tensor, y: Tensor, metric: str) -> Tensor:
    x, y = x.contiguous(), y.contiguous()
    (n, d), m = x.shape, len(y)
    distance = x.new_empty(n, m, dtype=_computed_in(x))
    kind, of = _SCALAR_TYPE[x.dtype], _METRIC[metric]
    _launch(
        "pairwise_distance",
        x,
        (kind, n, m, of),
        *(kind, x.data_ptr(), y.data_ptr(), distance.data_ptr(), n, m, d, of),
    )
    return distance


def pairwise_distance_backward(
    grad: Tensor, distance: Tensor, x: Tensor, y: Tensor, metric: str
) -> tuple[Tensor, Tensor]:
    grad, distance, x, y = (t.contiguous() for t in (grad, distance, x, y))
    (n, d), m = x.shape, len(y)
    grads = torch.empty_like(x), torch.empty_like(y)
    kind, of = _SCALAR_TYPE[x.dtype], _METRIC[metric]
    addresses = (t.data_ptr() for t in (grad, distance, x, y, *grads))
    _launch(
        "pairwise_distance_backward",
        x,
        (kind, n, m, d, of),
        *(kind, *addresses, n, m, d, of),
    )
    return grads


def attribute_distance(a: Tensor, b: Tensor, weights: Tensor | None) -> Tensor:
    attributes, _keep = _attributes(a, b, weights)
    n, m = len(a), len(b)
    distance = a.new_empty(n, m, dtype=torch.float32)
    _launch("attribute_distance", a, (attributes, n, m), attributes, distance.data_ptr(), n, m)
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
    mining, _keep = _mining(
        sketch,
        photo,
        sketch_labels,
        photo_labels,
        sketch_attributes,
        photo_attributes,
        attribute_weights,
        metric,
        attribute_guidance,
        exclude_self,
    )
    positive, negative = (sketch.new_empty(len(sketch), dtype=torch.int64) for _ in range(2))
    _launch("mine_batch_hard", sketch, (mining,), mining, positive.data_ptr(), negative.data_ptr())
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
    mining, _keep_mining = _mining(
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
    predictions, _keep_predictions = _predictions(
        sketch_logits, photo_logits, sketch_attributes, photo_attributes
    )
    n, dtype = len(sketch), _computed_in(sketch)
    per_anchor = (n,) if reduction == "none" else ()
    results = (
        sketch.new_empty(per_anchor, dtype=dtype),
        sketch.new_empty(5, *per_anchor, dtype=dtype),
        sketch.new_empty(n, dtype=torch.int64),
        sketch.new_empty(n, dtype=torch.int64),
        sketch.new_empty(4, n, dtype=dtype),
        sketch.new_empty((), dtype=dtype),
    )
    _launch(
        "attribute_triplet_loss",
        sketch,
        (mining,),
        mining,
        predictions,
        _loss_options(*options),
        *(result.data_ptr() for result in results),
    )
    return results


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
    predictions, _keep = _predictions(
        sketch_logits, photo_logits, sketch_attributes, photo_attributes
    )
    sketch, photo = sketch.contiguous(), photo.contiguous()
    (n, d), m = sketch.shape, len(photo)
    triplets = _kernels.ChosenTriplets(
        _SCALAR_TYPE[sketch.dtype],
        *(t.data_ptr() for t in (sketch, photo, positive, negative, distances, scale)),
        *(n, m, d),
    )
    incoming = [None if grad is None else grad.contiguous() for grad in (grad_total, grad_parts)]
    grads = tuple(
        sketch.new_empty(0 if x is None else x.shape)
        for x in (sketch, photo, sketch_logits, photo_logits)
    )
    _launch(
        "attribute_triplet_loss_backward",
        sketch,
        (triplets,),
        triplets,
        predictions,
        _loss_options(*options),
        *(_address(grad) for grad in incoming),
        *(grad.data_ptr() for grad in grads),
    )
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
    if k > _kernels.MAX_TOPK:
        raise ValueError(f"k must be at most {_kernels.MAX_TOPK} on CUDA, got {k}")
    query, gallery = query.contiguous(), gallery.contiguous()
    logits = [None if x is None else x.contiguous() for x in (query_logits, gallery_logits)]
    values = query.new_empty(len(query), k, dtype=_computed_in(query))
    indices = query.new_empty(len(query), k, dtype=torch.int64)
    search = _kernels.Search(
        _SCALAR_TYPE[query.dtype],
        query.data_ptr(),
        gallery.data_ptr(),
        *(_address(x) for x in logits),
        attribute_weight,
        _METRIC[metric],
        _ATTRIBUTE_METRIC[attribute_metric],
        len(query),
        len(gallery),
        query.shape[1],
        0 if query_logits is None else query_logits.shape[1],
        k,
    )
    _launch("topk", query, (search,), search, values.data_ptr(), indices.data_ptr())
    return values, indices


# --- Arguments of the kernels; `_keep` holds the dense tensors that they point into ---------------


def _computed_in(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _address(x: Tensor | None) -> int:
    return 0 if x is None else x.data_ptr()


def _array(x: Tensor | None) -> Any:
    return _NO_ARRAY if x is None else _kernels.Array(x.data_ptr(), _SCALAR_TYPE[x.dtype])


def _attributes(a: Tensor, b: Tensor, weights: Tensor | None) -> tuple[Any, Any]:
    keep = a.contiguous(), b.contiguous(), None if weights is None else weights.contiguous()
    return _kernels.Attributes(*map(_array, keep), a.shape[1]), keep


def _mining(
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
) -> tuple[Any, Any]:
    attributes, keep = _NO_ATTRIBUTES, None
    if sketch_attributes is not None and photo_attributes is not None and attribute_guidance > 0:
        attributes, keep = _attributes(sketch_attributes, photo_attributes, attribute_weights)
    tensors = [
        None if x is None else x.contiguous() for x in (sketch, photo, sketch_labels, photo_labels)
    ]
    mining = _kernels.Mining(
        _SCALAR_TYPE[sketch.dtype],
        *(_address(x) for x in tensors),
        attributes,
        attribute_guidance,
        exclude_self,
        _METRIC[metric],
        len(sketch),
        len(photo),
        sketch.shape[1],
    )
    return mining, (keep, tensors)


def _predictions(
    sketch_logits: Tensor | None,
    photo_logits: Tensor | None,
    sketch_attributes: Tensor | None,
    photo_attributes: Tensor | None,
) -> tuple[Any, Any]:
    if (
        sketch_logits is None
        or photo_logits is None
        or sketch_attributes is None
        or photo_attributes is None
    ):
        return _NO_PREDICTIONS, None
    keep = [
        x.contiguous() for x in (sketch_logits, photo_logits, sketch_attributes, photo_attributes)
    ]
    logits, annotations = keep[:2], keep[2:]
    predictions = _kernels.Predictions(
        True,
        *(x.data_ptr() for x in logits),
        *map(_array, annotations),
        sketch_logits.shape[1],
    )
    return predictions, keep


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
