"""Batch-hard miner with the call of pytorch-metric-learning's miners."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any, TypeVar, cast

from torch import Tensor, nn

from . import _checks as checks
from ._functional import mine
from ._options import mining_options
from ._sides import SideNames
from .types import ArrayLike, Metric, Weights, unchecked_side

_ANCHORS = SideNames("embeddings", "", "attributes", "labels", "N")
_REFERENCES = SideNames("ref_emb", "", "ref_attributes", "ref_labels", "M")
_METRIC_LEARNING = "MetricLearningMiner"
Labels = TypeVar("Labels", bound=ArrayLike | None)


class BatchHardMiner(nn.Module):
    """Hardest positive and negative of each embedding: indices (anchor, positive, negative).

    A drop-in for ``pytorch_metric_learning.miners.BatchHardMiner``: hand the result to any of that
    library's tuple losses, or the miner to its ``DistributedMinerWrapper``. Called with
    (embeddings, labels) it mines within one set, where an item is never its own positive; with
    (embeddings, labels, ref_emb, ref_labels) the positives and negatives are rows of ``ref_emb``.
    Anchors without a positive or a negative are left out.

    Args:
        metric: One of :func:`fgsbir_ext.pairwise_distance`, over embeddings as they are
            (pytorch-metric-learning normalises them first: ``"cosine"`` ranks the same).
        attribute_guidance: beta >= 0, how much shared attributes make a negative harder.
        attribute_weights: (K,) weights of the attributes.

    Attributes:
        num_triplets: how many the last call mined, as pytorch-metric-learning's miners tell.
    """

    attribute_weights: Tensor | None
    num_triplets: int

    def __init__(
        self,
        *,
        metric: Metric = "sqeuclidean",
        attribute_guidance: float = 0.0,
        attribute_weights: Weights | None = None,
    ) -> None:
        if type(self) is BatchHardMiner and "pytorch_metric_learning" in sys.modules:
            # Its wrappers take none but its own.
            self.__class__ = _metric_learning_class()
        super().__init__()
        mining_options(metric=metric, attribute_guidance=attribute_guidance)
        attribute_weights = checks.fixed_weights("attribute_weights", attribute_weights)
        self.metric = metric
        self.attribute_guidance = attribute_guidance
        self.register_buffer("attribute_weights", attribute_weights, persistent=False)
        self.num_triplets = 0

    def forward(
        self,
        embeddings: ArrayLike,
        labels: ArrayLike,
        ref_emb: ArrayLike | None = None,
        ref_labels: ArrayLike | None = None,
        *,
        attributes: ArrayLike | None = None,
        ref_attributes: ArrayLike | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Mine. embeddings (N, D), labels (N,), ref_emb (M, D), ref_labels (M,), attributes (., K).

        Labels may be on another device than their embeddings.

        Returns:
            Three int64 tensors of one length, the number of valid anchors.
        """
        labels = _beside(labels, embeddings)
        ref_labels = _beside(ref_labels, ref_emb)
        within = ref_emb is None and ref_labels is None and ref_attributes is None
        if within:
            if labels is None:
                checks.all_or_none(("embeddings", embeddings), ("labels", labels))
            ref_emb, ref_labels, ref_attributes = embeddings, labels, attributes
        else:
            if ref_attributes is not None:
                checks.all_or_none(("ref_attributes", ref_attributes), ("ref_emb", ref_emb))
            checks.all_or_none(("labels", labels), ("ref_emb", ref_emb), ("ref_labels", ref_labels))
        names = _ANCHORS, _ANCHORS if within else _REFERENCES
        options = mining_options(metric=self.metric, attribute_guidance=self.attribute_guidance)
        try:
            triplets = mine(
                unchecked_side(embeddings, None, attributes, labels),
                unchecked_side(ref_emb, None, ref_attributes, ref_labels),
                self.attribute_weights,
                options._replace(exclude_self=within),
                names,
            )
        except ValueError as error:  # kernels name values by the arguments of the operation
            message = str(error).replace("sketch_attributes", names[0].attributes)
            raise ValueError(message.replace("photo_attributes", names[1].attributes)) from error
        anchor = triplets.valid.nonzero().squeeze(1)
        self.num_triplets = len(anchor)
        return anchor, triplets.positive[anchor], triplets.negative[anchor]


def _beside(labels: Labels, embeddings: ArrayLike | None) -> Labels:
    """Labels on the device of the embeddings, as pytorch-metric-learning's miners move them."""
    if isinstance(labels, Tensor) and isinstance(embeddings, Tensor) and not labels.is_meta:
        return cast(Labels, labels.to(embeddings.device))
    return labels


@cache
def _metric_learning_class() -> type[BatchHardMiner]:
    from pytorch_metric_learning.miners import BaseMiner

    members = {"__module__": __name__, "__doc__": BatchHardMiner.__doc__}
    return type(_METRIC_LEARNING, (BatchHardMiner, BaseMiner), members)


def __getattr__(name: str) -> Any:
    """By its name, as pickle looks for it, the class that pytorch-metric-learning knows."""
    if name == _METRIC_LEARNING:
        return _metric_learning_class()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
