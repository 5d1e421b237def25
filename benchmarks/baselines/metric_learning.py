"""pytorch-metric-learning: BatchHardMiner and TripletMarginLoss, triplets without attributes.

Its dot product stands for its distance: on unit vectors d = 2 - 2 s.p, so half the margin gives the
same triplets and half the loss, and it is the cheaper of the two.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..workload import Inputs
from .base import MARGIN, Baseline, Prepare, Work, loss_operations


def _parts() -> tuple[Any, Any]:
    from pytorch_metric_learning import distances, losses, miners

    distance = distances.DotProductSimilarity(normalize_embeddings=False)
    loss = losses.TripletMarginLoss(margin=MARGIN / 2, distance=distance)
    return miners.BatchHardMiner(distance=distance), loss


def _mine(inputs: Inputs) -> Work:
    miner, _ = _parts()

    def work() -> tuple[Tensor, Tensor, Tensor]:
        return miner(inputs.sketch, inputs.sketch_labels, inputs.photo, inputs.photo_labels)

    return work


def _loss(inputs: Inputs) -> Any:
    miner, loss = _parts()

    def total(inputs: Inputs) -> Tensor:
        anchors, photos = inputs.sketch_labels, inputs.photo_labels
        triplets = miner(inputs.sketch, anchors, inputs.photo, photos)
        return loss(inputs.sketch, anchors, triplets, inputs.photo, photos)

    return total


def _forward(inputs: Inputs) -> Work:
    return loss_operations(_loss(inputs))["loss forward"](inputs)


def _forward_backward(inputs: Inputs) -> Work:
    return loss_operations(_loss(inputs))["loss forward + backward"](inputs)


_OPERATIONS: dict[Any, Prepare] = {
    "loss forward": _forward,
    "loss forward + backward": _forward_backward,
    "mining": _mine,
}

METRIC_LEARNING = Baseline(
    "pytorch-metric-learning",
    _OPERATIONS,
    tier="peer",
    requires="pytorch_metric_learning",
    package="pytorch-metric-learning",
    colour="#c2820e",
)
