"""Training objective: the loss of the paper on scaled embeddings, and its optional extras.

Under torch.distributed every term is over the batches of all ranks together; the figures are the
same on every rank, and the average of gradients over ranks is the gradient of the whole batch.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fgsbir_ext as fx
from fgsbir_ext.collectives import count_ranks, gather_rows, reduce_over_ranks
from fgsbir_ext.types import Metric

from ..config import LossConfig
from ..models.retrieval import Output
from .batches import Batch


class Objective(nn.Module):
    """Eq. 1 over the triplets of a batch, plus the contrastive term if it has a weight."""

    def __init__(self, config: LossConfig) -> None:
        super().__init__()
        self.embedding_scale = config.embedding_scale
        self.contrastive_weight = config.contrastive_weight
        self.metric = config.metric
        self.triplet_loss = fx.DistributedAttributeTripletLoss(
            **settings_for(fx.AttributeTripletLoss, config), return_parts=True
        )

    def forward(
        self, sketch: Output, photo: Output, batch: Batch
    ) -> tuple[Tensor, dict[str, float]]:
        """The scalar to minimise, and the figures to log."""
        s, p = self.embedding_scale * sketch.embedding, self.embedding_scale * photo.embedding
        parts = self.triplet_loss(
            s,
            p,
            sketch_logits=sketch.logits,
            photo_logits=photo.logits,
            sketch_attributes=batch.sketch_attributes,
            photo_attributes=batch.photo_attributes,
        )
        total = parts.total
        figures = {"triplet": parts.triplet.item()}
        if sketch.logits is not None:
            figures["attribute_rank"] = parts.attribute_rank.item()
            figures["attributes"] = parts.sketch_attribute.item()
        if self.contrastive_weight:
            contrast = contrastive(s, p, self.metric)
            total = total + self.contrastive_weight * contrast
            figures["contrastive"] = contrast.item()
        return total, {"loss": total.item(), **figures}


def settings_for(loss: Callable[..., Any], config: LossConfig) -> dict[str, Any]:
    """The settings of a configuration that a loss takes, by name."""
    names = inspect.signature(loss).parameters
    return {name: getattr(config, name) for name in names if hasattr(config, name)}


def contrastive(sketch: Tensor, photo: Tensor, metric: Metric) -> Tensor:
    """Symmetric in-batch softmax cross-entropy of -d (van den Oord et al., 2018).

    sketch and photo (B, D), row i of one belonging to row i of the other and to no other, nor to
    any row of another rank.
    """
    (sketches, photos), first = gather_rows(sketch=sketch, photo=photo)
    target = torch.arange(first, first + len(sketch), device=sketch.device)
    of_sketch = -fx.pairwise_distance(sketch, photos, metric=metric)
    if count_ranks() == 1:
        of_photo = of_sketch.mT
    else:
        of_photo = -fx.pairwise_distance(photo, sketches, metric=metric)
    terms = [F.cross_entropy(x, target, reduction="sum") for x in (of_sketch, of_photo)]
    count = torch.tensor(len(sketch), device=sketch.device)
    return reduce_over_ranks([(terms[0] + terms[1]) / 2], count)[0]
