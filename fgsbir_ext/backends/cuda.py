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

from .. import _C, results
from ..types import ChosenTriplets, LossOptions, MiningOptions, SearchOptions, Side
from . import common

_kernels = _C.cuda
_SCALAR_TYPE = {
    getattr(torch, name): value for name, value in _kernels.ScalarType.__members__.items()
}
_NO_ARRAY = _kernels.Array(0, _kernels.ScalarType.float32)
_NO_ATTRIBUTES = _kernels.Attributes(_NO_ARRAY, _NO_ARRAY, _NO_ARRAY, 0)
_NO_PREDICTIONS = _kernels.Predictions(*common.no_predictions(_NO_ARRAY))


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
    distance = results.pairwise_distances(x, y)
    kind, of = _SCALAR_TYPE[x.dtype], common.METRIC[metric]
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
    grads = results.pairwise_gradients(x, y)
    kind, of = _SCALAR_TYPE[x.dtype], common.METRIC[metric]
    addresses = (t.data_ptr() for t in (grad, distance, x, y, *grads))
    _launch(
        "pairwise_distance_backward",
        x,
        (kind, n, m, d, of),
        *(kind, *addresses, n, m, d, of),
    )
    return grads


def attribute_distance(a: Tensor, b: Tensor, weights: Tensor | None) -> Tensor:
    a, b = a.contiguous(), b.contiguous()
    attributes, _keep = _attributes(a, b, weights)
    n, m = len(a), len(b)
    distance = results.attribute_distances(a, b)
    _launch("attribute_distance", a, (attributes, n, m), attributes, distance.data_ptr(), n, m)
    return distance


def mine_batch_hard(
    sketch: Side, photo: Side, attribute_weights: Tensor | None, options: MiningOptions
) -> tuple[Tensor, Tensor]:
    sketch, photo = _dense(sketch), _dense(photo)
    mining, _keep = _mining(sketch, photo, attribute_weights, options)
    picks = results.picks(sketch.embedding)
    _launch("mine_batch_hard", sketch.embedding, (mining,), mining, *map(common.address, picks))
    return picks


def attribute_triplet_loss(
    sketch: Side, photo: Side, attribute_weights: Tensor | None, options: LossOptions
) -> tuple[Tensor, ...]:
    sketch, photo = _dense(sketch), _dense(photo)
    mining, _keep = _mining(sketch, photo, attribute_weights, options.mining)
    outputs = results.loss(sketch.embedding, options.reduction)
    _launch(
        "attribute_triplet_loss",
        sketch.embedding,
        (mining,),
        *(mining, _predictions(sketch, photo), common.cpp_loss_options(options)),
        *map(common.address, outputs),
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
    sketch, photo = _dense(sketch), _dense(photo)
    kind = _SCALAR_TYPE[sketch.embedding.dtype]
    triplets = _kernels.ChosenTriplets(*common.triplet_fields(sketch, photo, chosen), kind)
    incoming = [None if grad is None else grad.contiguous() for grad in (grad_total, grad_parts)]
    grads = results.gradients(sketch, photo)
    _launch(
        "attribute_triplet_loss_backward",
        sketch.embedding,
        (triplets,),
        *(triplets, _predictions(sketch, photo), common.cpp_loss_options(options)),
        *map(common.address, (*incoming, *grads)),
    )
    return grads


def topk(query: Side, gallery: Side, options: SearchOptions) -> tuple[Tensor, Tensor]:
    if options.k > _kernels.MAX_TOPK:
        raise ValueError(f"k must be at most {_kernels.MAX_TOPK} on CUDA, got {options.k}")
    query, gallery = _dense(query), _dense(gallery)
    fields = common.search_fields(query, gallery, options)
    search = _kernels.Search(*fields, _SCALAR_TYPE[query.embedding.dtype])
    found = results.nearest(query.embedding, options.k)
    _launch("topk", query.embedding, (search,), search, *map(common.address, found))
    return found


# --- Arguments of the kernels; `_keep` holds the dense tensors that they point into ---------------


def _dense(side: Side) -> Side:
    return Side._make(None if x is None else x.contiguous() for x in side)


def _array(x: Tensor | None) -> Any:
    return _NO_ARRAY if x is None else _kernels.Array(x.data_ptr(), _SCALAR_TYPE[x.dtype])


def _attributes(a: Tensor, b: Tensor, weights: Tensor | None) -> tuple[Any, Any]:
    """Two dense sets of attributes, and the weights that they point into."""
    weights = None if weights is None else weights.contiguous()
    return _kernels.Attributes(_array(a), _array(b), _array(weights), a.shape[1]), weights


def _mining(
    sketch: Side, photo: Side, attribute_weights: Tensor | None, options: MiningOptions
) -> tuple[Any, Any]:
    """A batch of dense sides to mine, and what it points into."""
    attributes, keep = _NO_ATTRIBUTES, None
    guided = options.attribute_guidance > 0
    if guided and sketch.attributes is not None and photo.attributes is not None:
        attributes, keep = _attributes(sketch.attributes, photo.attributes, attribute_weights)
    fields = common.mining_fields(sketch, photo, attributes, options)
    return _kernels.Mining(*fields, _SCALAR_TYPE[sketch.embedding.dtype]), keep


def _predictions(sketch: Side, photo: Side) -> Any:
    """The predictions of dense sides."""
    if not common.predicts(sketch, photo):
        return _NO_PREDICTIONS
    annotations = _array(sketch.attributes), _array(photo.attributes)
    return _kernels.Predictions(*common.prediction_fields(sketch, photo, *annotations))
