"""This library, as an entry among the baselines."""

from __future__ import annotations

from typing import Any

from torch import Tensor

import fgsbir_ext as fx

from ..workload import Inputs
from .base import (
    GUIDANCE,
    MARGIN,
    TOP,
    Baseline,
    loss_operations,
    pairwise_operations,
    without_gradients,
)


def _labels(inputs: Inputs) -> tuple[Tensor | None, Tensor | None]:
    return (None, None) if inputs.paired else (inputs.sketch_labels, inputs.photo_labels)


_LOSS = fx.AttributeTripletLoss(margin=MARGIN, attribute_margin=MARGIN, attribute_guidance=GUIDANCE)


def fgsbir_ext(inputs: Inputs) -> Tensor:
    annotations = inputs.sketch_attributes, inputs.photo_attributes
    return _LOSS(*inputs.leaves, *annotations, *_labels(inputs))


def mine(inputs: Inputs) -> tuple[Tensor, Tensor]:
    positive, negative, _ = fx.mine_batch_hard(
        inputs.sketch,
        inputs.photo,
        *_labels(inputs),
        inputs.sketch_attributes,
        inputs.photo_attributes,
        attribute_guidance=GUIDANCE,
    )
    return positive, negative


def search(inputs: Inputs) -> tuple[Any, Any]:
    return fx.topk(inputs.sketch, inputs.photo, TOP)


OURS = Baseline(
    "fgsbir_ext",
    {
        **loss_operations(fgsbir_ext),
        "mining": without_gradients(mine),
        **pairwise_operations(fx.pairwise_distance),
        "top-k": without_gradients(search),
    },
)
