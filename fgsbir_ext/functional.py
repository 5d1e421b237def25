"""Public operations: check the arguments, call the operation, name the results.

Tensors may live on the CPU or on CUDA; their device chooses the kernels. Any array with
``__dlpack__`` (CuPy, NumPy, JAX) is accepted and taken over without a copy. Distances and losses
come in float32 for 16-bit inputs, else in the type of the inputs. A second derivative raises.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from . import checks, ops
from .dispatch import call
from .options import LossOptions, loss_options
from .types import AttributeMetric, LossParts, Margin, Metric, Reduction, Triplets


def pairwise_distance(x: Any, y: Any, *, metric: Metric = "sqeuclidean") -> Tensor:
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
    checks.choice("metric", metric, Metric)
    checks.same_device(("x", x), ("y", y))
    checks.same_size("D", 1, ("x", x), ("y", y))
    x, y = checks.same_type(("x", x), ("y", y))
    return call("pairwise_distance", x, y, metric)


def attribute_distance(
    a: Any, b: Any, *, weights: Tensor | Sequence[float] | None = None
) -> Tensor:
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
    return call("attribute_distance", a, b, weights)


def mine_batch_hard(
    sketch: Any,
    photo: Any,
    sketch_labels: Any = None,
    photo_labels: Any = None,
    sketch_attributes: Any = None,
    photo_attributes: Any = None,
    *,
    attribute_guidance: float = 0.0,
    attribute_weights: Tensor | Sequence[float] | None = None,
    metric: Metric = "sqeuclidean",
) -> Triplets:
    """The farthest positive and the nearest negative photo of each sketch.

    The positive of sketch i is argmax d(i, j) over photos of its label, the negative
    argmin d(i, j) + beta h(i, j) over the others. Ties go to the lowest index; a NaN distance wins.
    No (N, M) matrix is held in memory.

    Args:
        sketch: (N, D) embeddings, the anchors.
        photo: (M, D) embeddings of the same type.
        sketch_labels: (N,) integer instance ids. Left out together with photo_labels, photo i is
            the one positive of sketch i, and N = M.
        photo_labels: (M,) integer instance ids.
        sketch_attributes: (N, K) attributes: 1 yes, 0 no, -1 unknown; int8, bool or floating.
        photo_attributes: (M, K) attributes.
        attribute_guidance: beta >= 0. 0 is plain batch-hard; larger prefers negatives that share
            the sketch's attributes; infinity compares attributes first, distances second.
        attribute_weights: (K,) weights of the attributes in h; all 1 unless given.
        metric: ``"sqeuclidean"``, ``"euclidean"`` or ``"cosine"``.

    Returns:
        Triplets(positive, negative, valid), each (N,).

    Raises:
        TypeError, ValueError: Bad input of any argument, named in the message.

    Source: the attribute-driven triplets of Song et al. (BMVC 2016), mined in the batch as in
    Hermans et al., "In Defense of the Triplet Loss" (2017).
    """
    return mine(
        (sketch, photo, sketch_labels, photo_labels, sketch_attributes, photo_attributes),
        attribute_guidance=attribute_guidance,
        attribute_weights=attribute_weights,
        metric=metric,
    )


def attribute_triplet_loss(
    sketch: Any,
    photo: Any,
    sketch_logits: Any = None,
    photo_logits: Any = None,
    sketch_attributes: Any = None,
    photo_attributes: Any = None,
    sketch_labels: Any = None,
    photo_labels: Any = None,
    *,
    margin: Margin = 0.3,
    attribute_margin: Margin = 0.3,
    metric: Metric = "sqeuclidean",
    attribute_metric: AttributeMetric = "sqeuclidean",
    lambda_a: float = 1.0,
    lambda_s: float = 1.0,
    lambda_pos: float = 1.0,
    lambda_neg: float = 1.0,
    attribute_guidance: float = 0.0,
    attribute_weights: Tensor | Sequence[float] | None = None,
    reduction: Reduction = "mean",
    return_parts: bool = False,
) -> Any:
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
        metric: ``"sqeuclidean"``, ``"euclidean"`` or ``"cosine"``.
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
        return_parts=return_parts,
    )
    inputs = (sketch, photo, sketch_labels, photo_labels, sketch_attributes, photo_attributes)
    return loss_with_options(inputs, sketch_logits, photo_logits, attribute_weights, options)


def loss_with_options(
    inputs: Sequence[Any],
    sketch_logits: Any,
    photo_logits: Any,
    attribute_weights: Tensor | Sequence[float] | None,
    options: LossOptions,
) -> Any:
    """:func:`attribute_triplet_loss` with its options checked; ``inputs`` are those of mining."""
    guided = options.attribute_guidance > 0
    tensors = [*inputs, sketch_logits, photo_logits, attribute_weights]
    key = _PASSED.key(tensors, guided)
    if key is None or key not in _PASSED:
        checked = _checked(tensors, guided)
        if key is not None and all(map(operator.is_, checked, tensors)):
            _PASSED.add(key)
        tensors = checked
    sketch, photo, sketch_labels, photo_labels, sketch_attributes, photo_attributes = tensors[:6]
    sketch_logits, photo_logits, weights = tensors[6:]
    total, parts, positive, negative, _, _ = call(
        "attribute_triplet_loss",
        sketch,
        photo,
        sketch_logits,
        photo_logits,
        sketch_attributes,
        photo_attributes,
        sketch_labels,
        photo_labels,
        weights,
        _beta(options.attribute_guidance, sketch),
        options.metric,
        options.attribute_metric,
        _hard_margin(options.margin),
        _hard_margin(options.attribute_margin),
        [options.lambda_a, options.lambda_s, options.lambda_pos, options.lambda_neg],
        options.reduction,
    )
    if not options.return_parts:
        return total
    triplet, attribute_rank, of_sketch, of_positive, of_negative = parts.unbind()
    return LossParts(
        total=total,
        triplet=triplet,
        attribute_rank=attribute_rank,
        sketch_attribute=of_sketch,
        positive_attribute=of_positive,
        negative_attribute=of_negative,
        triplets=Triplets(positive, negative, positive >= 0),
    )


def topk(
    query: Any,
    gallery: Any,
    k: int,
    *,
    query_logits: Any = None,
    gallery_logits: Any = None,
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
        metric: ``"sqeuclidean"``, ``"euclidean"`` or ``"cosine"``.
        attribute_metric: ``"sqeuclidean"``, ``"euclidean"`` or ``"cross_entropy"``.

    Returns:
        (Q, k) distances r, ascending, and (Q, k) int64 indices into the gallery.

    Raises:
        TypeError, ValueError: Bad input of any argument, named in the message.
    """
    query = checks.matrix("query", query, "(Q, D)")
    gallery = checks.matrix("gallery", gallery, "(G, D)")
    checks.choice("metric", metric, Metric)
    checks.choice("attribute_metric", attribute_metric, AttributeMetric)
    checks.number("attribute_weight", attribute_weight)
    checks.same_size("D", 1, ("query", query), ("gallery", gallery))
    k = checks.count("k", k, gallery.shape[0], "G")
    if checks.all_or_none(("query_logits", query_logits), ("gallery_logits", gallery_logits)):
        query_logits = checks.matrix("query_logits", query_logits, "(Q, K)")
        gallery_logits = checks.matrix("gallery_logits", gallery_logits, "(G, K)")
        of_query, of_gallery = ("query_logits", query_logits), ("gallery_logits", gallery_logits)
        checks.same_size("Q", 0, ("query", query), of_query)
        checks.same_size("G", 0, ("gallery", gallery), of_gallery)
        checks.same_size("K", 1, of_query, of_gallery)
    elif attribute_weight > 0:
        raise ValueError("attribute_weight > 0 must come with query_logits and gallery_logits")
    tensors = (
        ("query", query),
        ("gallery", gallery),
        ("query_logits", query_logits),
        ("gallery_logits", gallery_logits),
    )
    checks.same_device(*tensors)
    query, gallery, query_logits, gallery_logits = checks.same_type(*tensors)
    return call(
        "topk",
        query,
        gallery,
        k,
        query_logits,
        gallery_logits,
        float(attribute_weight),
        metric,
        attribute_metric,
    )


_MINING_NAMES = (
    "sketch",
    "photo",
    "sketch_labels",
    "photo_labels",
    "sketch_attributes",
    "photo_attributes",
)


def mine(
    inputs: tuple[Any, ...],
    *,
    attribute_guidance: float,
    attribute_weights: Tensor | Sequence[float] | None,
    metric: Metric,
    names: tuple[str, ...] = _MINING_NAMES,
    exclude_self: bool = False,
) -> Triplets:
    """:func:`mine_batch_hard` of inputs that the caller knows by other names.

    With ``exclude_self`` both sides are one set, and an item is never its own positive.
    """
    checks.choice("metric", metric, Metric)
    checks.number("attribute_guidance", attribute_guidance, infinite=True)
    checked = _mining_inputs(inputs, attribute_guidance > 0, attribute_weights, names)
    embeddings = checks.same_type((names[0], checked[0]), (names[1], checked[1]))
    positive, negative = call(
        "mine_batch_hard",
        *embeddings,
        *checked[2:],
        metric,
        _beta(attribute_guidance, checked[0]),
        exclude_self,
    )
    return Triplets(positive, negative, positive >= 0)


_PASSED = checks.Passed()
"""Calls of the loss: in a small batch the checks would take a tenth of its time."""


def _checked(tensors: Sequence[Any], guided: bool) -> list[Any]:
    """The tensors of the loss: those of mining, the logits of both sides, the weights."""
    *inputs, sketch_logits, photo_logits, attribute_weights = tensors
    *inputs, weights = _mining_inputs(inputs, guided, attribute_weights)
    sketch, photo, _, _, sketch_attributes, photo_attributes = inputs
    if checks.all_or_none(("sketch_logits", sketch_logits), ("photo_logits", photo_logits)):
        sketch_logits = checks.matrix("sketch_logits", sketch_logits, "(N, K)")
        photo_logits = checks.matrix("photo_logits", photo_logits, "(M, K)")
        of_sketch, of_photo = ("sketch_logits", sketch_logits), ("photo_logits", photo_logits)
        annotated = ("sketch_attributes", sketch_attributes)
        checks.all_or_none(of_sketch, of_photo, annotated, ("photo_attributes", photo_attributes))
        checks.same_device(("sketch", sketch), of_sketch, of_photo)
        checks.same_size("N", 0, ("sketch", sketch), of_sketch)
        checks.same_size("M", 0, ("photo", photo), of_photo)
        checks.same_size("K", 1, annotated, of_sketch, of_photo)
    elif sketch_attributes is not None and not guided:
        raise ValueError(
            "sketch_attributes and photo_attributes must come with sketch_logits and photo_logits, "
            "or with attribute_guidance > 0 to guide the mining alone"
        )
    sketch, photo, sketch_logits, photo_logits = checks.same_type(
        ("sketch", sketch),
        ("photo", photo),
        ("sketch_logits", sketch_logits),
        ("photo_logits", photo_logits),
    )
    return [sketch, photo, *inputs[2:], sketch_logits, photo_logits, weights]


_LARGEST = {dtype: torch.finfo(dtype).max for dtype in (torch.float32, torch.float64)}


def _beta(attribute_guidance: float, embeddings: Tensor) -> float:
    """Guidance that the scores can hold: beyond their largest number it is infinite."""
    largest = _LARGEST[ops.computed_in(embeddings)]
    return math.inf if attribute_guidance > largest else float(attribute_guidance)


def _hard_margin(margin: Margin) -> float | None:
    """As the operations take it: None for the soft one."""
    return None if isinstance(margin, str) else margin


def _mining_inputs(
    inputs: Sequence[Any],
    guided: bool,
    attribute_weights: Any,
    names: tuple[str, ...] = _MINING_NAMES,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None, Tensor | None, Any]:
    """Checked tensors, in the order in which the operations take them; weights last."""
    sketch, photo, sketch_labels, photo_labels, sketch_attributes, photo_attributes = inputs
    of_sketch, of_photo, of_s_labels, of_p_labels, of_s_attributes, of_p_attributes = names
    sketch = checks.matrix(of_sketch, sketch, "(N, D)")
    photo = checks.matrix(of_photo, photo, "(M, D)")
    sketches, photos = (of_sketch, sketch), (of_photo, photo)
    checks.same_size("D", 1, sketches, photos)

    if checks.all_or_none((of_s_labels, sketch_labels), (of_p_labels, photo_labels)):
        sketch_labels = checks.labels(of_s_labels, sketch_labels, "N", sketch.shape[0])
        photo_labels = checks.labels(of_p_labels, photo_labels, "M", photo.shape[0])
    else:
        checks.same_size("N", 0, sketches, photos)

    if checks.all_or_none(
        (of_s_attributes, sketch_attributes), (of_p_attributes, photo_attributes)
    ):
        sketch_attributes = checks.attributes(of_s_attributes, sketch_attributes, "(N, K)")
        photo_attributes = checks.attributes(of_p_attributes, photo_attributes, "(M, K)")
        of_sketches = (of_s_attributes, sketch_attributes)
        of_photos = (of_p_attributes, photo_attributes)
        checks.same_size("N", 0, sketches, of_sketches)
        checks.same_size("M", 0, photos, of_photos)
        k = checks.same_size("K", 1, of_sketches, of_photos)
        attribute_weights = checks.weights("attribute_weights", attribute_weights, k, sketch.device)
    elif guided or attribute_weights is not None:
        alone = "attribute_guidance > 0" if guided else "attribute_weights"
        both = " and ".join(dict.fromkeys((of_s_attributes, of_p_attributes)))
        raise ValueError(f"{alone} must come with {both}")
    inputs = (sketch, photo, sketch_labels, photo_labels, sketch_attributes, photo_attributes)
    weights = ("attribute_weights", attribute_weights)
    checks.same_device(*zip(names, inputs, strict=True), weights)
    return *inputs, attribute_weights
