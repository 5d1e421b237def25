"""Public operations: check the arguments, call the operation, name the results.

Tensors may live on the CPU or on CUDA; their device chooses the kernels. Any array with
``__dlpack__`` (CuPy, NumPy, JAX; see :data:`fgsbir_ext.types.ArrayLike`) is accepted and taken over
without a copy. Distances and losses come in float32 for 16-bit inputs, else in the type of the
inputs. A second derivative raises.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any, Literal, TypeVar, get_args, overload

import torch
from torch import Tensor
from typing_extensions import Unpack

from . import _checks as checks
from . import _ops as ops
from ._dispatch import call
from ._options import loss_options, mining_options
from ._results import computed_in
from ._sides import PHOTO, SKETCH, SideNames, check_loss, check_mining, check_search
from .types import (
    ArrayLike,
    AttributeMetric,
    DistanceOptions,
    LossArguments,
    LossOptions,
    LossParts,
    Margin,
    Metric,
    MiningOptions,
    Reduction,
    SearchOptions,
    Side,
    Triplets,
    Weights,
    unchecked_side,
)

_METRICS, _ATTRIBUTE_METRICS = get_args(Metric), get_args(AttributeMetric)


def pairwise_distance(x: ArrayLike, y: ArrayLike, *, metric: Metric = "sqeuclidean") -> Tensor:
    """Distance of every row of x to every row of y, differentiable.

    Small distances keep their digits: where |x|^2 + |y|^2 - 2 x.y would cancel, the difference is
    taken itself. A distance of exactly 0 has gradient 0; a zero vector is at cosine distance 1.

    Args:
        x: (N, D) embeddings; float32, float64, float16 or bfloat16.
        y: (M, D) embeddings of the same type.
        metric: ``"sqeuclidean"``, ``"euclidean"`` or ``"cosine"`` (1 - cos).

    Returns:
        (N, M) distances.

    Raises:
        TypeError, ValueError: Wrong rank, type or device, different D, unknown metric.
    """
    x, y = checks.matrix("x", x, "(N, D)"), checks.matrix("y", y, "(M, D)")
    checks.choice("metric", metric, _METRICS)
    checks.same_device(("x", x), ("y", y))
    checks.same_size("D", 1, ("x", x), ("y", y))
    tensors = checks.same_type(("x", x), ("y", y))
    distance: Tensor = call("pairwise_distance", tensors, DistanceOptions(metric))
    return distance


def attribute_distance(a: ArrayLike, b: ArrayLike, *, weights: Weights | None = None) -> Tensor:
    """The weighted share of attributes known to both rows in which they differ.

    h(i, j) = sum_k w_k [both known and different] / sum_k w_k, in [0, 1].

    Args:
        a: (N, K) attributes: 1 yes, 0 no, -1 unknown; int8, bool or floating.
        b: (M, K) attributes.
        weights: (K,) not negative, not all 0; all 1 unless given.

    Returns:
        (N, M) float32.

    Raises:
        TypeError, ValueError: Wrong rank, type or device, different K, other values (on CPU).
    """
    a, b = checks.attributes("a", a, "(N, K)"), checks.attributes("b", b, "(M, K)")
    k = checks.same_size("K", 1, ("a", a), ("b", b))
    weights = checks.weights("weights", weights, k, a.device)
    checks.same_device(("a", a), ("b", b), ("weights", weights))
    distance: Tensor = call("attribute_distance", (a, b, weights))
    return distance


def mine_batch_hard(
    sketch: ArrayLike,
    photo: ArrayLike,
    *,
    sketch_attributes: ArrayLike | None = None,
    photo_attributes: ArrayLike | None = None,
    sketch_labels: ArrayLike | None = None,
    photo_labels: ArrayLike | None = None,
    attribute_guidance: float = 0.0,
    attribute_weights: Weights | None = None,
    metric: Metric = "sqeuclidean",
) -> Triplets:
    """The farthest positive and the nearest negative photo of each sketch.

    The positive of sketch i is argmax d(i, j) over photos of its label, the negative
    argmin d(i, j) + beta h(i, j) over the others. Ties go to the lowest index; a NaN distance wins.
    No (N, M) matrix is held in memory.

    Args:
        sketch: (N, D) embeddings, the anchors.
        photo: (M, D) embeddings of the same type.
        sketch_attributes: (N, K) attributes: 1 yes, 0 no, -1 unknown; int8, bool or floating.
        photo_attributes: (M, K) attributes.
        sketch_labels: (N,) integer instance ids. Left out together with photo_labels, photo i is
            the one positive of sketch i, and N = M.
        photo_labels: (M,) integer instance ids.
        attribute_guidance: beta >= 0. 0 is plain batch-hard; larger prefers negatives that share
            the sketch's attributes; infinity compares attributes first, distances second.
        attribute_weights: (K,) weights of the attributes in h; all 1 unless given.
        metric: One of :func:`pairwise_distance`.

    Returns:
        Triplets(positive, negative, valid), each (N,).

    Raises:
        TypeError, ValueError: Bad input of any argument, named in the message.

    Source: the attribute-driven triplets of Song et al. (BMVC 2016), mined in the batch as in
    Hermans et al., "In Defense of the Triplet Loss" (2017).
    """
    return mine(
        unchecked_side(sketch, None, sketch_attributes, sketch_labels),
        unchecked_side(photo, None, photo_attributes, photo_labels),
        attribute_weights,
        mining_options(metric=metric, attribute_guidance=attribute_guidance),
    )


@overload
def attribute_triplet_loss(
    sketch: ArrayLike,
    photo: ArrayLike,
    *,
    return_parts: Literal[False] = False,
    **arguments: Unpack[LossArguments[ArrayLike]],
) -> Tensor: ...


@overload
def attribute_triplet_loss(
    sketch: ArrayLike,
    photo: ArrayLike,
    *,
    return_parts: Literal[True],
    **arguments: Unpack[LossArguments[ArrayLike]],
) -> LossParts: ...


@overload
def attribute_triplet_loss(
    sketch: ArrayLike,
    photo: ArrayLike,
    *,
    return_parts: bool,
    **arguments: Unpack[LossArguments[ArrayLike]],
) -> Tensor | LossParts: ...


def attribute_triplet_loss(
    sketch: ArrayLike,
    photo: ArrayLike,
    *,
    sketch_logits: ArrayLike | None = None,
    photo_logits: ArrayLike | None = None,
    sketch_attributes: ArrayLike | None = None,
    photo_attributes: ArrayLike | None = None,
    sketch_labels: ArrayLike | None = None,
    photo_labels: ArrayLike | None = None,
    margin: Margin = 0.3,
    attribute_margin: Margin = 0.3,
    metric: Metric = "sqeuclidean",
    attribute_metric: AttributeMetric = "sqeuclidean",
    lambda_a: float = 1.0,
    lambda_s: float = 1.0,
    lambda_pos: float = 1.0,
    lambda_neg: float = 1.0,
    attribute_guidance: float = 0.0,
    attribute_weights: Weights | None = None,
    reduction: Reduction = "mean",
    return_parts: bool = False,
) -> Tensor | LossParts:
    """Eq. 1 over the triplets that :func:`mine_batch_hard` chooses, in one operation.

    For each valid anchor s with its photos p+ and p-::

        L_theta + lambda_a L_a + lambda_s L_p(s) + lambda_pos L_p(p+) + lambda_neg L_p(p-)

        L_theta = [margin + d(s, p+) - d(s, p-)]_+
        L_a     = [attribute_margin + D(s, p+) - D(s, p-)]_+
        L_p(x)  = binary cross-entropy of x's logits, mean over x's known attributes

    D is the distance between predicted attribute probabilities. The chosen distances are computed
    from the rows themselves, in float32 or better. Gradients flow to embeddings and logits; the
    choice of photos is constant. lambda_theta |theta|^2 is the optimizer's weight decay.

    Logits and attributes left out together: the triplet loss alone. Attributes without logits only
    guide the mining, and need ``attribute_guidance`` > 0.

    The paper's abstract leaves margins, weights and distances open. The defaults are this
    library's: one distance and one margin for both rankings, and every weight 1.

    Args:
        sketch: (N, D) embeddings, the anchors; float32, float64, float16 or bfloat16.
        photo: (M, D) embeddings of the same type.
        sketch_logits: (N, K) predicted attributes before the sigmoid, of the same type.
        photo_logits: (M, K).
        sketch_attributes: (N, K) annotated attributes: 1 yes, 0 no, -1 unknown.
        photo_attributes: (M, K).
        sketch_labels: (N,) integer instance ids; see :func:`mine_batch_hard`.
        photo_labels: (M,).
        margin: In units of the metric; ``"soft"`` is log(1 + exp(d(s, p+) - d(s, p-))).
        attribute_margin: The same for D.
        metric: One of :func:`pairwise_distance`.
        attribute_metric: ``"sqeuclidean"``, ``"euclidean"`` or ``"cross_entropy"``
            (-mean_k [a log b + (1 - a) log(1 - b)], a from the sketch, b from the photo).
        lambda_a: Weight of L_a.
        lambda_s: Weight of L_p of the sketch.
        lambda_pos: Weight of L_p of the positive photo.
        lambda_neg: Weight of L_p of the negative photo.
        attribute_guidance: beta of :func:`mine_batch_hard`.
        attribute_weights: (K,) of :func:`mine_batch_hard`.
        reduction: ``"mean"`` over valid anchors, ``"sum"``, or ``"none"``: (N,), 0 where not valid.
        return_parts: Return :class:`LossParts` in place of the total; every part is differentiable.

    Returns:
        A scalar, (N,) with ``reduction="none"``, or LossParts. Without a valid anchor it is 0.

    Raises:
        TypeError, ValueError: Bad input of any argument, named in the message.

    Source: Song et al., "Deep Multi-task Attribute-driven Ranking for Fine-grained Sketch-based
    Image Retrieval" (BMVC 2016), Eq. 1.
    """
    options = loss_options(
        margin=margin,
        attribute_margin=attribute_margin,
        metric=metric,
        attribute_metric=attribute_metric,
        lambda_a=lambda_a,
        lambda_s=lambda_s,
        lambda_pos=lambda_pos,
        lambda_neg=lambda_neg,
        attribute_guidance=attribute_guidance,
        reduction=reduction,
    )
    loss: Tensor | LossParts = loss_of_sides(
        unchecked_side(sketch, sketch_logits, sketch_attributes, sketch_labels),
        unchecked_side(photo, photo_logits, photo_attributes, photo_labels),
        attribute_weights,
        options,
        return_parts,
    )
    return loss


def loss_of_sides(
    sketch: Side,
    photo: Side,
    attribute_weights: Weights | None,
    options: LossOptions,
    return_parts: bool,
) -> Any:
    """:func:`attribute_triplet_loss` of tensors that are still to be checked."""
    sketch, photo, weights = _checked(
        check_loss, sketch, photo, attribute_weights, options.attribute_guidance > 0
    )
    total, parts, photos, _ = ops.attribute_triplet_loss(
        sketch, photo, weights, _representable(options, sketch.embedding)
    )
    if not return_parts:
        return total
    positive, negative = photos.unbind()
    fields: list[Any] = [total, *parts.unbind(), Triplets(positive, negative, positive >= 0)]
    return LossParts(*fields)  # not _make, which torch.compile of version 2.4 does not know


def mine(
    sketch: Side,
    photo: Side,
    attribute_weights: Weights | None,
    options: MiningOptions,
    names: tuple[SideNames, SideNames] = (SKETCH, PHOTO),
) -> Triplets:
    """:func:`mine_batch_hard` of tensors that are still to be checked, under the caller's names."""
    sketch, photo, weights = _checked(
        check_mining, sketch, photo, attribute_weights, options.attribute_guidance > 0, names
    )
    options = _representable(options, sketch.embedding)
    positive, negative = ops.mine_batch_hard(sketch, photo, weights, options)
    return Triplets(positive, negative, positive >= 0)


def topk(
    query: ArrayLike,
    gallery: ArrayLike,
    k: int,
    *,
    query_logits: ArrayLike | None = None,
    gallery_logits: ArrayLike | None = None,
    attribute_weight: float = 0.0,
    metric: Metric = "sqeuclidean",
    attribute_metric: AttributeMetric = "sqeuclidean",
) -> tuple[Tensor, Tensor]:
    """The k nearest photos of each query by r(i, j) = d(i, j) + mu D(i, j), nearest first.

    Ranks by representation and predicted attributes together, as the paper does at test time. No
    (Q, G) matrix is held in memory. Ties go to the lowest index; a NaN is nearest. Not
    differentiable.

    Args:
        query: (Q, D) embeddings; float32, float64, float16 or bfloat16.
        gallery: (G, D) embeddings of the same type.
        k: How many, 0 <= k <= G (at most 1024 on CUDA).
        query_logits: (Q, K) predicted attributes before the sigmoid, of the same type.
        gallery_logits: (G, K).
        attribute_weight: mu >= 0, the weight of the attribute distance D; needs logits above 0.
        metric: One of :func:`pairwise_distance`.
        attribute_metric: ``"sqeuclidean"``, ``"euclidean"`` or ``"cross_entropy"``.

    Returns:
        (Q, k) distances r, ascending, and (Q, k) int64 indices into the gallery.

    Raises:
        TypeError, ValueError: Bad input of any argument, named in the message.
    """
    checks.choice("metric", metric, _METRICS)
    checks.choice("attribute_metric", attribute_metric, _ATTRIBUTE_METRICS)
    checks.number("attribute_weight", attribute_weight)
    of_query, of_gallery = _checked(
        check_search, unchecked_side(query, query_logits), unchecked_side(gallery, gallery_logits)
    )
    if attribute_weight > 0 and of_query.logits is None:
        raise ValueError("attribute_weight > 0 must come with query_logits and gallery_logits")
    k = checks.count("k", k, of_gallery.embedding.shape[0], "G")
    options = SearchOptions(k, float(attribute_weight), metric, attribute_metric)
    return ops.topk(of_query, of_gallery, options)


_PASSED = checks.Passed()
"""Calls of mining and the loss: in a small batch the checks would take a tenth of its time."""


def _checked(check: Callable[..., Any], one: Side, other: Side, *rest: Any) -> Any:
    """``check(one, other, *rest)``, or its arguments where it has let the like of them pass.

    The first of the rest are attribute weights, if it has any; the others are no tensors.
    """
    tensors = (*one, *other, *rest[:1])
    key = _PASSED.key(tensors, check, *rest[1:])
    if key is not None and key in _PASSED:
        return one, other, *rest[:1]
    checked = check(one, other, *rest)
    if key is not None:
        after = (*checked[0], *checked[1], *checked[2:])
        if all(map(operator.is_, after, tensors)):
            _PASSED.add(key)
    return checked


_Options = TypeVar("_Options", MiningOptions, LossOptions)
_LARGEST_FLOAT32 = torch.finfo(torch.float32).max


def _representable(options: _Options, embedding: Tensor) -> _Options:
    """With guidance that the scores can hold: beyond their largest number it is infinite."""
    guidance = options.attribute_guidance
    if guidance <= _LARGEST_FLOAT32 or guidance <= torch.finfo(computed_in(embedding)).max:
        return options
    return options._replace(attribute_guidance=math.inf)
