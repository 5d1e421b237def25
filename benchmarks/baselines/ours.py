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

_LOSS = fx.AttributeTripletLoss(margin=MARGIN, attribute_margin=MARGIN, attribute_guidance=GUIDANCE)


def fgsbir_ext(inputs: Inputs) -> Tensor:
    # Each by its name: at N = 128 a dictionary made here would be seen in the time.
    return _LOSS(
        inputs.sketch,
        inputs.photo,
        sketch_logits=inputs.sketch_logits,
        photo_logits=inputs.photo_logits,
        sketch_attributes=inputs.sketch_attributes,
        photo_attributes=inputs.photo_attributes,
        sketch_labels=None if inputs.paired else inputs.sketch_labels,
        photo_labels=None if inputs.paired else inputs.photo_labels,
    )


def mine(inputs: Inputs) -> tuple[Tensor, Tensor]:
    annotations = inputs.both("attributes", *(() if inputs.paired else ("labels",)))
    positive, negative, _ = fx.mine_batch_hard(
        inputs.sketch, inputs.photo, **annotations, attribute_guidance=GUIDANCE
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
    tier="lean",
    colour="#e5534b",
)
