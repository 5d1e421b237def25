"""What computes the loss besides this library, each as its own users would write it.

Every rival maps Inputs to a scalar loss; ``forward_backward`` adds the gradients. The bare product
is no loss but the limit: what one matrix product of the batch costs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, relu

import fgsbir_ext as fx

from .workload import Inputs

GUIDANCE = 0.5
MARGIN = 0.3

Loss = Callable[[Inputs], Tensor]


def fgsbir_ext(inputs: Inputs) -> Tensor:
    return fx.attribute_triplet_loss(
        inputs.sketch,
        inputs.photo,
        inputs.sketch_logits,
        inputs.photo_logits,
        inputs.sketch_attributes,
        inputs.photo_attributes,
        margin=MARGIN,
        attribute_margin=MARGIN,
        attribute_guidance=GUIDANCE,
    )


def plain_pytorch(inputs: Inputs) -> Tensor:
    """Distances by one matrix product, masks, argmin, gather: what one writes without a kernel."""
    s, p = inputs.sketch, inputs.photo
    with torch.no_grad():
        squared = s.square().sum(1)[:, None] + p.square().sum(1)[None] - 2 * s @ p.T
        a, b = inputs.sketch_attributes.to(s.dtype), inputs.photo_attributes.to(s.dtype)
        h = (a @ (1 - b).T + (1 - a) @ b.T) / a.shape[1]
        same = inputs.labels[:, None] == inputs.labels[None]
        pos = squared.masked_fill(~same, -torch.inf).argmax(1)
        neg = (squared + GUIDANCE * h).masked_fill(same, torch.inf).argmin(1)

    def rank(x: Tensor, y: Tensor) -> Tensor:
        nearer, farther = (x - y[pos]).square().sum(1), (x - y[neg]).square().sum(1)
        return relu(MARGIN + nearer - farther)

    def predict(logits: Tensor, attributes: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(logits, attributes.to(logits.dtype))

    u, v = inputs.sketch_logits, inputs.photo_logits
    ranked = rank(s, p) + rank(u.sigmoid(), v.sigmoid())
    on_photos = inputs.photo_attributes
    return (
        ranked.mean()
        + predict(u, inputs.sketch_attributes)
        + predict(v[pos], on_photos[pos])
        + predict(v[neg], on_photos[neg])
    )


def bare_product(inputs: Inputs) -> Tensor:
    """The limit: the product alone, in memory, and no gradient."""
    with torch.no_grad():
        return inputs.sketch @ inputs.photo.T


LOSSES: dict[str, Loss] = {"fgsbir_ext": fgsbir_ext, "plain PyTorch": plain_pytorch}


def forward_backward(loss: Loss, inputs: Inputs) -> None:
    inputs.clear_gradients()
    loss(inputs).backward()
