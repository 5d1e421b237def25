"""KeOps: reductions of symbolic (N, M) matrices that are never held."""

from __future__ import annotations

import torch
from torch import Tensor

from ..workload import Inputs
from .base import (
    GUIDANCE,
    TOP,
    Baseline,
    Prepare,
    Unsupported,
    Work,
    loss_operations,
    without_gradients,
)
from .pytorch import loss_by


def _needs_float32(inputs: Inputs) -> None:
    if inputs.sketch.dtype not in (torch.float32, torch.float64):
        raise Unsupported(f"KeOps has no {str(inputs.sketch.dtype).removeprefix('torch.')}")


def mine(inputs: Inputs) -> tuple[Tensor, Tensor]:
    """Attributes, all of them known, are further coordinates: |a - b|^2 counts those that differ.

    Differences and not products: on CPUs its code for them is the faster by far.
    """
    from pykeops.torch import Vi, Vj

    dtype = inputs.sketch.dtype

    def column(labels: Tensor) -> Tensor:
        return labels.to(dtype)[:, None]

    def with_attributes(embeddings: Tensor, attributes: Tensor) -> Tensor:
        scale = (GUIDANCE / attributes.shape[1]) ** 0.5
        return torch.cat([embeddings, scale * attributes.to(dtype)], 1)

    anchors = with_attributes(inputs.sketch, inputs.sketch_attributes)
    photos = with_attributes(inputs.photo, inputs.photo_attributes)
    labels = Vi(column(inputs.sketch_labels)) - Vj(column(inputs.photo_labels))
    same = 0.5 - labels.square()  # as a condition: at least 0
    negative = same.ifelse(1e30, Vi(anchors).sqdist(Vj(photos))).argmin(dim=1)[:, 0]
    if inputs.paired:
        return inputs.sketch_labels, negative
    distance = Vi(inputs.sketch).sqdist(Vj(inputs.photo))
    return same.ifelse(distance, -1e30).argmax(dim=1)[:, 0], negative


def search(inputs: Inputs) -> tuple[Tensor, Tensor]:
    from pykeops.torch import Vi, Vj

    return Vi(inputs.sketch).sqdist(Vj(inputs.photo)).Kmin_argKmin(TOP, dim=1)


def _checked(prepare: Prepare) -> Prepare:
    def check_first(inputs: Inputs) -> Work:
        _needs_float32(inputs)
        return prepare(inputs)

    return check_first


KEOPS = Baseline(
    "KeOps",
    {
        "loss forward + backward": _checked(
            loss_operations(loss_by(mine))["loss forward + backward"]
        ),
        "mining": _checked(without_gradients(mine)),
        "top-k": _checked(without_gradients(search)),
    },
    tier="peer",
    slow=True,
    requires="pykeops",
    package="pykeops",
    memory_from_torch=False,
    colour="#4c9a3f",
)
