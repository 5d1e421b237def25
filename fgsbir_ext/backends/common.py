"""Arguments of the kernels that both backends pass, as csrc/bind.h takes them.

The kernels read memory by its address: whoever makes arguments of tensors keeps them.
"""

from __future__ import annotations

import functools
from typing import Any

from torch import Tensor

from .. import _C
from ..types import ChosenTriplets, LossOptions, MiningOptions, SearchOptions, Side

METRIC = _C.Metric.__members__
_ATTRIBUTE_METRIC = _C.AttributeMetric.__members__
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


def predicts(sketch: Side, photo: Side) -> bool:
    """Whether the loss has more terms than that of the triplets."""
    return not (
        sketch.logits is None
        or photo.logits is None
        or sketch.attributes is None
        or photo.attributes is None
    )


def prediction_fields(sketch: Side, photo: Side, *annotations: Any) -> tuple[Any, ...]:
    """What the loss reads beside embeddings where it :func:`predicts`; annotations as the backend
    takes them."""
    k = _columns(sketch.logits)
    return (True, address(sketch.logits), address(photo.logits), *annotations, k)


def no_predictions(annotation: Any) -> tuple[Any, ...]:
    """What it reads where it does not; what the backend takes for no annotation."""
    return (False, 0, 0, annotation, annotation, 0)


def triplet_fields(sketch: Side, photo: Side, chosen: ChosenTriplets) -> tuple[Any, ...]:
    """What the gradients are computed from."""
    tensors = (sketch.embedding, photo.embedding, *chosen)
    return (*map(Tensor.data_ptr, tensors), *_sizes(sketch.embedding, photo.embedding))


def search_fields(query: Side, gallery: Side, options: SearchOptions) -> tuple[Any, ...]:
    """A search by embeddings, and by logits where both sides have them."""
    return (
        query.embedding.data_ptr(),
        gallery.embedding.data_ptr(),
        address(query.logits),
        address(gallery.logits),
        options.attribute_weight,
        METRIC[options.metric],
        _ATTRIBUTE_METRIC[options.attribute_metric],
        *_sizes(query.embedding, gallery.embedding),
        _columns(query.logits),
        options.k,
    )


@functools.lru_cache
def cpp_loss_options(options: LossOptions) -> Any:
    """Options of the loss in C++; kept, since they are the same at every step."""
    return _C.LossOptions(
        METRIC[options.metric],
        _ATTRIBUTE_METRIC[options.attribute_metric],
        options.margin,
        options.attribute_margin,
        options.lambdas,
        _REDUCTION[options.reduction],
    )


def _sizes(x: Tensor, y: Tensor) -> tuple[int, int, int]:
    """N, M and D of x (N, D) and y (M, D)."""
    n, d = x.shape
    return n, y.shape[0], d


def _columns(x: Tensor | None) -> int:
    """K of x (N, K), 0 where there is no tensor."""
    return 0 if x is None else x.shape[1]
