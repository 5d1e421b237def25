"""Arguments of the kernels that both backends pass, as csrc/bind.h takes them.

The kernels read memory by its address: whoever makes arguments of tensors keeps them.
"""

from __future__ import annotations

import functools
from typing import Any

from torch import Tensor

from .. import _C
from ..types import ChosenTriplets, LossOptions, MiningOptions, Side

METRIC = _C.Metric.__members__
ATTRIBUTE_METRIC = _C.AttributeMetric.__members__
_REDUCTION = _C.Reduction.__members__


def address(x: Tensor | None) -> int:
    """0 where there is no tensor."""
    return 0 if x is None else x.data_ptr()


def mining_fields(
    sketch: Side, photo: Side, attributes: Any, options: MiningOptions
) -> tuple[Any, ...]:
    """A batch to mine; attributes as the backend takes them."""
    return (
        sketch.embedding.data_ptr(),
        photo.embedding.data_ptr(),
        address(sketch.labels),
        address(photo.labels),
        attributes,
        options.attribute_guidance,
        options.exclude_self,
        METRIC[options.metric],
        *_sizes(sketch.embedding, photo.embedding),
    )


def prediction_fields(sketch: Side, photo: Side, *annotations: Any) -> tuple[Any, ...]:
    """What the loss reads beside embeddings; annotations as the backend takes them."""
    given, k = (False, 0) if sketch.logits is None else (True, sketch.logits.shape[1])
    return (given, address(sketch.logits), address(photo.logits), *annotations, k)


def triplet_fields(sketch: Side, photo: Side, chosen: ChosenTriplets) -> tuple[Any, ...]:
    """What the gradients are computed from."""
    tensors = (sketch.embedding, photo.embedding, *chosen)
    return (*map(Tensor.data_ptr, tensors), *_sizes(sketch.embedding, photo.embedding))


def search_fields(
    query: Tensor,
    gallery: Tensor,
    k: int,
    logits: tuple[Tensor | None, Tensor | None],
    attribute_weight: float,
    metric: str,
    attribute_metric: str,
) -> tuple[Any, ...]:
    """A search for the k nearest; logits of both sides."""
    n, m, d = _sizes(query, gallery)
    return (
        query.data_ptr(),
        gallery.data_ptr(),
        *map(address, logits),
        attribute_weight,
        METRIC[metric],
        ATTRIBUTE_METRIC[attribute_metric],
        *(n, m, d, 0 if logits[0] is None else logits[0].shape[1], k),
    )


@functools.lru_cache
def loss_options(options: LossOptions) -> Any:
    """Options of the loss in C++; kept, since they are the same at every step."""
    return _C.LossOptions(
        METRIC[options.metric],
        ATTRIBUTE_METRIC[options.attribute_metric],
        options.margin,
        options.attribute_margin,
        options.lambdas,
        _REDUCTION[options.reduction],
    )


def _sizes(x: Tensor, y: Tensor) -> tuple[int, int, int]:
    """N, M and D of x (N, D) and y (M, D)."""
    n, d = x.shape
    return n, y.shape[0], d
