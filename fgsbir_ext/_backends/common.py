"""Options of the kernels of both backends, kept, since they are the same at every step."""

from __future__ import annotations

import functools

from .. import _C
from ..types import LossOptions, MiningOptions, SearchOptions

METRIC = _C.Metric.__members__
_ATTRIBUTE_METRIC = _C.AttributeMetric.__members__
_REDUCTION = _C.Reduction.__members__


@functools.lru_cache
def mining_options(options: MiningOptions) -> _C.MiningOptions:
    """Those of mining, in C++."""
    return _C.MiningOptions(
        METRIC[options.metric], options.attribute_guidance, options.exclude_self
    )


@functools.lru_cache
def loss_options(options: LossOptions) -> tuple[_C.MiningOptions, _C.LossOptions]:
    """Those of mining and of the loss, in C++."""
    of_loss = _C.LossOptions(
        METRIC[options.metric],
        _ATTRIBUTE_METRIC[options.attribute_metric],
        options.margin,
        options.attribute_margin,
        options.lambdas,
        _REDUCTION[options.reduction],
    )
    return mining_options(options.mining), of_loss


@functools.lru_cache
def search_options(options: SearchOptions) -> _C.SearchOptions:
    """Those of a search, in C++."""
    return _C.SearchOptions(
        options.k,
        options.attribute_weight,
        METRIC[options.metric],
        _ATTRIBUTE_METRIC[options.attribute_metric],
    )
