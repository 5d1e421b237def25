"""Result types of the operations, and the literals that their options take."""

from __future__ import annotations

from typing import Literal, NamedTuple

from torch import Tensor, nn

Metric = Literal["sqeuclidean", "euclidean", "cosine"]
AttributeMetric = Literal["sqeuclidean", "euclidean", "cross_entropy"]
Reduction = Literal["mean", "sum", "none"]
Margin = float | Literal["soft"]

PLAIN_TENSORS = (Tensor, nn.Parameter)
"""The types of tensors whose methods are torch's own, unlike those of other subclasses."""


class Triplets(NamedTuple):
    """The photos chosen for each of N anchors (sketches).

    Attributes:
        positive: (N,) int64, index of the hardest positive photo; -1 where not valid.
        negative: (N,) int64, index of the hardest negative photo; -1 where not valid.
        valid: (N,) bool, whether the anchor has both a positive and a negative.
    """

    positive: Tensor
    negative: Tensor
    valid: Tensor


class LossParts(NamedTuple):
    """The loss of Eq. 1 and its unweighted terms: scalars, or (N,) with ``reduction="none"``.

    Attributes:
        total: The weighted sum of the terms below.
        triplet: L_theta, ranking by embedding.
        attribute_rank: L_a, ranking by predicted attributes.
        sketch_attribute: L_p(s), attribute prediction on the sketch.
        positive_attribute: L_p(p+), attribute prediction on the positive photo.
        negative_attribute: L_p(p-), attribute prediction on the negative photo.
        triplets: The photos that were chosen.
    """

    total: Tensor
    triplet: Tensor
    attribute_rank: Tensor
    sketch_attribute: Tensor
    positive_attribute: Tensor
    negative_attribute: Tensor
    triplets: Triplets
