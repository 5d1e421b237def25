"""Types of the operations: their results, groups of their arguments, values of their options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar

from torch import Tensor, nn
from typing_extensions import TypedDict

__all__ = [
    "ArrayLike",
    "AttributeMetric",
    "LossArguments",
    "LossParts",
    "LossSettings",
    "Margin",
    "Metric",
    "Reduction",
    "SupportsDLPack",
    "Triplets",
    "Weights",
]

Metric = Literal["sqeuclidean", "euclidean", "cosine"]
AttributeMetric = Literal["sqeuclidean", "euclidean", "cross_entropy"]
Reduction = Literal["mean", "sum", "none"]
Margin = float | Literal["soft"]


class SupportsDLPack(Protocol):
    """An array of another library (CuPy, NumPy, JAX) that hands its memory over by DLPack."""

    def __dlpack__(self, *args: Any, **options: Any) -> Any: ...

    def __dlpack_device__(self) -> Any: ...


ArrayLike = Tensor | SupportsDLPack
"""What the functions and modules of :mod:`fgsbir_ext` take for a tensor."""

Weights = ArrayLike | Sequence[float]
"""(K,) weights of attributes."""

Array = TypeVar("Array")


class LossSettings(TypedDict, Generic[Array], total=False):
    """Keywords of :class:`fgsbir_ext.AttributeTripletLoss` but ``return_parts``."""

    margin: Margin
    attribute_margin: Margin
    metric: Metric
    attribute_metric: AttributeMetric
    lambda_a: float
    lambda_s: float
    lambda_pos: float
    lambda_neg: float
    attribute_guidance: float
    attribute_weights: Array | Sequence[float] | None
    reduction: Reduction


class LossArguments(LossSettings[Array], Generic[Array], total=False):
    """Keywords of :func:`fgsbir_ext.attribute_triplet_loss` but ``return_parts``."""

    sketch_logits: Array | None
    photo_logits: Array | None
    sketch_attributes: Array | None
    photo_attributes: Array | None
    sketch_labels: Array | None
    photo_labels: Array | None


PLAIN_TENSORS = (Tensor, nn.Parameter)
"""The types of tensors whose methods are torch's own, unlike those of other subclasses."""


class Side(NamedTuple):
    """The rows of one side of a batch, sketches or photos, and what is known of them.

    Attributes:
        embedding: (N, D).
        logits: (N, K), predicted attributes before the sigmoid.
        attributes: (N, K), annotated attributes.
        labels: (N,), instance ids.
    """

    embedding: Tensor
    logits: Tensor | None = None
    attributes: Tensor | None = None
    labels: Tensor | None = None


unchecked_side: Callable[..., Side] = Side
"""A side of arrays that are still to be checked, some of which may be no tensors."""


class DistanceOptions(NamedTuple):
    """Checked options of :func:`fgsbir_ext.pairwise_distance`."""

    metric: Metric


class MiningOptions(NamedTuple):
    """Checked options of :func:`fgsbir_ext.mine_batch_hard`.

    Attributes:
        metric: Distance of embeddings.
        attribute_guidance: beta.
        exclude_self: Both sides are one set, and an item is never its own positive.
    """

    metric: Metric
    attribute_guidance: float
    exclude_self: bool = False


class LossOptions(NamedTuple):
    """Checked options of :func:`fgsbir_ext.attribute_triplet_loss`; a margin of None is soft."""

    margin: float | None
    attribute_margin: float | None
    metric: Metric
    attribute_metric: AttributeMetric
    lambda_a: float
    lambda_s: float
    lambda_pos: float
    lambda_neg: float
    attribute_guidance: float
    reduction: Reduction

    @property
    def mining(self) -> MiningOptions:
        """Those that choose the triplets."""
        return MiningOptions(self.metric, self.attribute_guidance)

    @property
    def lambdas(self) -> tuple[float, ...]:
        """Weights of the terms after L_theta, in the order of :class:`LossParts`."""
        return (self.lambda_a, self.lambda_s, self.lambda_pos, self.lambda_neg)


class SearchOptions(NamedTuple):
    """Checked options of :func:`fgsbir_ext.topk`."""

    k: int
    attribute_weight: float
    metric: Metric
    attribute_metric: AttributeMetric


class ChosenTriplets(NamedTuple):
    """The triplets that the loss chose, and what its gradients need of them.

    Attributes:
        photos: (2, N) int64, the positive of each anchor, -1 where not valid, and the negative.
        saved: (4 N + 1,), d and D to the positive and the negative, as the kernels order them, and
            what the sum over anchors is multiplied with.
    """

    photos: Tensor
    saved: Tensor


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
