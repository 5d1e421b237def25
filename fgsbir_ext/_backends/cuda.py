"""CUDA backend: allocates with torch, launches on the current stream of the tensors' device.

Types of embeddings are native; nothing here or below waits for the device. csrc/ops_cuda.h says
what the kernels take. Each operation is one call into C++, which takes tensors as they are, copies
those that are not dense, and has torch allocate the workspace.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .. import _C
from .. import _results as results
from .._torch_internals import current_stream as _stream
from ..types import ChosenTriplets, LossOptions, MiningOptions, SearchOptions, Side
from . import common

_kernels = _C.cuda


def pairwise_distance(x: Tensor, y: Tensor, metric: str) -> Tensor:
    distance = results.pairwise_distances(x, y)
    _launch(_kernels.pairwise_distance, x, x, y, distance, common.METRIC[metric])
    return distance


def pairwise_distance_backward(
    grad: Tensor, distance: Tensor, x: Tensor, y: Tensor, metric: str
) -> tuple[Tensor, Tensor]:
    grads = results.pairwise_gradients(x, y)
    arguments = (grad, distance, x, y, *grads, common.METRIC[metric])
    _launch(_kernels.pairwise_distance_backward, x, *arguments)
    return grads


def attribute_distance(a: Tensor, b: Tensor, weights: Tensor | None) -> Tensor:
    distance = results.attribute_distances(a, b)
    _launch(_kernels.attribute_distance, a, a, b, weights, distance)
    return distance


def mine_batch_hard(
    sketch: Side, photo: Side, attribute_weights: Tensor | None, options: MiningOptions
) -> tuple[Tensor, Tensor]:
    picks = results.picks(sketch.embedding)
    arguments = (sketch, photo, attribute_weights, common.mining_options(options), *picks)
    _launch(_kernels.mine_batch_hard, sketch.embedding, *arguments)
    return picks


def attribute_triplet_loss(
    sketch: Side, photo: Side, attribute_weights: Tensor | None, options: LossOptions
) -> tuple[Tensor, ...]:
    outputs = results.loss(sketch.embedding, options.reduction)
    arguments = (sketch, photo, attribute_weights, *common.loss_options(options), *outputs)
    _launch(_kernels.attribute_triplet_loss, sketch.embedding, *arguments)
    return outputs


def attribute_triplet_loss_backward(
    grad_total: Tensor | None,
    grad_parts: Tensor | None,
    sketch: Side,
    photo: Side,
    chosen: ChosenTriplets,
    options: LossOptions,
) -> tuple[Tensor, ...]:
    grads = results.gradients(sketch, photo)
    _, loss_options = common.loss_options(options)
    arguments = (grad_total, grad_parts, sketch, photo, *chosen, loss_options, *grads)
    _launch(_kernels.attribute_triplet_loss_backward, sketch.embedding, *arguments)
    return grads


def topk(query: Side, gallery: Side, options: SearchOptions) -> tuple[Tensor, Tensor]:
    if options.k > _kernels.MAX_TOPK:
        raise ValueError(f"k must be at most {_kernels.MAX_TOPK} on CUDA, got {options.k}")
    found = results.nearest(query.embedding, options.k)
    arguments = (query, gallery, common.search_options(options), *found)
    _launch(_kernels.topk, query.embedding, *arguments)
    return found


def _launch(operation: Callable[..., None], like: Tensor, *arguments: Any) -> None:
    """Runs an operation on the current stream of the device of a tensor."""
    device = like.get_device()
    if device == _current_device():
        operation(*arguments, _stream(device))
        return
    with torch.cuda.device(device):
        operation(*arguments, _stream(device))


_current_device = torch.cuda.current_device
