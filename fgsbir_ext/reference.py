"""Reference implementation, the definition of correct: every operation in plain PyTorch.

Follows Song et al., "Deep Multi-task Attribute-driven Ranking for Fine-grained Sketch-based Image
Retrieval" (BMVC 2016); "Eq. 1" below is its loss. Differentiable by autograd, for any device and
floating type (16-bit inputs are computed in float32), and never fast: mining holds (N, M) matrices.
Arguments are those of the functions of the same name in :mod:`fgsbir_ext`, which also check them.

Symbols: N sketches, M photos, D embedding dimensions, K attributes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, overload

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, relu
from typing_extensions import Unpack

from .types import AttributeMetric, LossArguments, LossParts, Margin, Metric, Reduction, Triplets

_Weights = Tensor | Sequence[float]
Triple = tuple[Tensor, Tensor, Tensor]
"""What a set of triplets has of its sketches, positives and negatives."""

# --- Distances --------------------------------------------------------------------------------


def pairwise_distance(x: Tensor, y: Tensor, *, metric: Metric = "sqeuclidean") -> Tensor:
    """d(i, j) of every row of x (N, D) to every row of y (M, D): (N, M)."""
    x, y = _computable(x), _computable(y)
    if metric == "cosine":
        x_norm, y_norm = _norm(x), _norm(y)
        half_square = _cdist(_unit(x, x_norm), _unit(y, y_norm)).square() / 2
        return _where_zero(x_norm, y_norm.mT, half_square)
    return _cdist(x, y).square() if metric == "sqeuclidean" else _cdist(x, y)


def rowwise_distance(x: Tensor, y: Tensor, *, metric: Metric = "sqeuclidean") -> Tensor:
    """d(i, i) of two sets of paired rows (N, D), as sums of squared differences: (N,)."""
    x, y = _computable(x), _computable(y)
    if metric == "cosine":
        x_norm, y_norm = _norm(x), _norm(y)
        half_square = (_unit(x, x_norm) - _unit(y, y_norm)).square().sum(-1) / 2
        return _where_zero(x_norm[:, 0], y_norm[:, 0], half_square)
    squared = (x - y).square().sum(-1)
    return squared if metric == "sqeuclidean" else _sqrt(squared)


def attribute_distance(a: Tensor, b: Tensor, *, weights: _Weights | None = None) -> Tensor:
    """h(i, j): the weighted share of attributes known to both rows in which they differ.

    a (N, K) and b (M, K) hold 1 yes, 0 no, -1 unknown; weights (K,). Returns (N, M) float32.
    """
    return _attribute_distance(a, b, weights).float()


def predicted_attribute_distance(
    sketch_logits: Tensor, photo_logits: Tensor, *, metric: AttributeMetric = "sqeuclidean"
) -> Tensor:
    """D: distance of predicted attribute probabilities along the last axis, broadcasting.

    ``cross_entropy`` is -mean_k [a log b + (1 - a) log(1 - b)], a of the sketch, b of the photo.
    """
    sketch_logits, photo_logits = _computable(sketch_logits), _computable(photo_logits)
    a, b = sketch_logits.sigmoid(), photo_logits.sigmoid()
    if metric == "cross_entropy":
        log_b, log_not_b = logsigmoid(photo_logits), logsigmoid(-photo_logits)
        return -(a * log_b + (1 - a) * log_not_b).sum(-1) / max(a.shape[-1], 1)
    squared = (a - b).square().sum(-1)
    return squared if metric == "sqeuclidean" else _sqrt(squared)


# --- Triplets ---------------------------------------------------------------------------------


@torch.no_grad()
def mine_batch_hard(
    sketch: Tensor,
    photo: Tensor,
    *,
    sketch_attributes: Tensor | None = None,
    photo_attributes: Tensor | None = None,
    sketch_labels: Tensor | None = None,
    photo_labels: Tensor | None = None,
    attribute_guidance: float = 0.0,
    attribute_weights: _Weights | None = None,
    metric: Metric = "sqeuclidean",
    exclude_self: bool = False,
) -> Triplets:
    """The farthest positive and the nearest negative, by d + beta h, of each sketch.

    ``exclude_self`` is for mining within one set: row i is then no positive of row i.
    """
    n, m = len(sketch), len(photo)
    if sketch_labels is None or photo_labels is None:
        sketch_labels = photo_labels = torch.arange(n, device=sketch.device)
    same = sketch_labels[:, None] == photo_labels[None, :]
    different = ~same
    if exclude_self:
        same = same & ~torch.eye(n, m, dtype=torch.bool, device=same.device)

    d = pairwise_distance(sketch, photo, metric=metric)
    if sketch_attributes is None or photo_attributes is None or attribute_guidance == 0:
        score, candidates = d, different
    else:
        h = _attribute_distance(sketch_attributes, photo_attributes, attribute_weights).to(d.dtype)
        if attribute_guidance > torch.finfo(d.dtype).max:  # attributes first, distance second
            closest = different & (_first_smallest(h, different, mark=True) | d.isnan())
            score, candidates = d, closest
        else:
            score, candidates = d + attribute_guidance * h, different

    positive = _first_smallest(-d, same)
    negative = _first_smallest(score, candidates)
    valid = (positive >= 0) & (negative >= 0)
    return Triplets(positive.where(valid, -1), negative.where(valid, -1), valid)


# --- The loss, Eq. 1 --------------------------------------------------------------------------


@overload
def attribute_triplet_loss(
    sketch: Tensor,
    photo: Tensor,
    *,
    return_parts: Literal[False] = False,
    **arguments: Unpack[LossArguments[Tensor]],
) -> Tensor: ...


@overload
def attribute_triplet_loss(
    sketch: Tensor,
    photo: Tensor,
    *,
    return_parts: Literal[True],
    **arguments: Unpack[LossArguments[Tensor]],
) -> LossParts: ...


@overload
def attribute_triplet_loss(
    sketch: Tensor,
    photo: Tensor,
    *,
    return_parts: bool,
    **arguments: Unpack[LossArguments[Tensor]],
) -> Tensor | LossParts: ...


def attribute_triplet_loss(
    sketch: Tensor,
    photo: Tensor,
    *,
    sketch_logits: Tensor | None = None,
    photo_logits: Tensor | None = None,
    sketch_attributes: Tensor | None = None,
    photo_attributes: Tensor | None = None,
    sketch_labels: Tensor | None = None,
    photo_labels: Tensor | None = None,
    margin: Margin = 0.3,
    attribute_margin: Margin = 0.3,
    metric: Metric = "sqeuclidean",
    attribute_metric: AttributeMetric = "sqeuclidean",
    lambda_a: float = 1.0,
    lambda_s: float = 1.0,
    lambda_pos: float = 1.0,
    lambda_neg: float = 1.0,
    attribute_guidance: float = 0.0,
    attribute_weights: _Weights | None = None,
    reduction: Reduction = "mean",
    return_parts: bool = False,
) -> Tensor | LossParts:
    """Eq. 1 over the triplets that :func:`mine_batch_hard` chooses."""
    triplets = mine_batch_hard(
        sketch,
        photo,
        sketch_attributes=sketch_attributes,
        photo_attributes=photo_attributes,
        sketch_labels=sketch_labels,
        photo_labels=photo_labels,
        attribute_guidance=attribute_guidance,
        attribute_weights=attribute_weights,
        metric=metric,
    )
    anchor = triplets.valid.nonzero().squeeze(1)
    pos, neg = triplets.positive[anchor], triplets.negative[anchor]

    def chosen(of_sketch: Tensor | None, of_photo: Tensor | None) -> Triple | None:
        if of_sketch is None or of_photo is None:
            return None
        return of_sketch[anchor], of_photo[pos], of_photo[neg]

    total_and_terms = loss_of_triplets(
        (sketch[anchor], photo[pos], photo[neg]),
        chosen(sketch_logits, photo_logits),
        chosen(sketch_attributes, photo_attributes),
        margin=margin,
        attribute_margin=attribute_margin,
        metric=metric,
        attribute_metric=attribute_metric,
        lambda_a=lambda_a,
        lambda_s=lambda_s,
        lambda_pos=lambda_pos,
        lambda_neg=lambda_neg,
    )

    def reduced(term: Tensor) -> Tensor:
        if reduction == "none":
            return term.new_zeros(len(sketch)).index_put((anchor,), term)
        return term.sum() / (max(len(anchor), 1) if reduction == "mean" else 1)

    if not return_parts:
        return reduced(total_and_terms[0])
    return LossParts._make([*map(reduced, total_and_terms), triplets])


def loss_of_triplets(
    embeddings: Triple,
    logits: Triple | None = None,
    attributes: Triple | None = None,
    *,
    margin: Margin,
    attribute_margin: Margin,
    metric: Metric,
    attribute_metric: AttributeMetric,
    lambda_a: float,
    lambda_s: float,
    lambda_pos: float,
    lambda_neg: float,
) -> tuple[Tensor, ...]:
    """Eq. 1 of given triplets: its total and its terms, (n,) each, in the order of LossParts.

    Every argument is of the sketches, their positives and their negatives: (n, D), and (n, K).
    """
    s, p_pos, p_neg = embeddings

    # L_theta = [margin + d(s, p+) - d(s, p-)]_+
    l_theta = hinge(
        margin,
        rowwise_distance(s, p_pos, metric=metric) - rowwise_distance(s, p_neg, metric=metric),
    )

    if logits is not None and attributes is not None:
        a_s, a_pos, a_neg = logits

        # L_a = [margin + D(s, p+) - D(s, p-)]_+
        l_a = hinge(
            attribute_margin,
            predicted_attribute_distance(a_s, a_pos, metric=attribute_metric)
            - predicted_attribute_distance(a_s, a_neg, metric=attribute_metric),
        )

        # L_p of sketch, positive and negative
        l_s, l_pos, l_neg = map(prediction_loss, logits, attributes)
    else:
        l_a = l_s = l_pos = l_neg = torch.zeros_like(l_theta)

    total = l_theta + lambda_a * l_a + lambda_s * l_s + lambda_pos * l_pos + lambda_neg * l_neg
    return total, l_theta, l_a, l_s, l_pos, l_neg


# --- At test time -----------------------------------------------------------------------------


@torch.no_grad()
def topk(
    query: Tensor,
    gallery: Tensor,
    k: int,
    *,
    query_logits: Tensor | None = None,
    gallery_logits: Tensor | None = None,
    attribute_weight: float = 0.0,
    metric: Metric = "sqeuclidean",
    attribute_metric: AttributeMetric = "sqeuclidean",
) -> tuple[Tensor, Tensor]:
    """The k smallest r(i, j) = d(i, j) + mu D(i, j) of each query, ascending, and their indices.

    query (Q, D), gallery (G, D), logits (Q, K) and (G, K). Returns (Q, k) values and int64 indices.
    """
    r = pairwise_distance(query, gallery, metric=metric)
    if query_logits is not None and gallery_logits is not None and attribute_weight != 0:
        r = r + attribute_weight * predicted_attribute_distance(
            query_logits[:, None], gallery_logits[None, :], metric=attribute_metric
        )
    nan_first = torch.where(r.isnan(), -math.inf, r)
    indices = nan_first.sort(dim=1, stable=True).indices[:, :k]
    return r.gather(1, indices), indices


# --- Building blocks --------------------------------------------------------------------------


def hinge(margin: Margin, difference: Tensor) -> Tensor:
    """[margin + difference]_+, or log(1 + exp(difference)) for the soft margin."""
    return -logsigmoid(-difference) if margin == "soft" else relu(margin + difference)


def prediction_loss(logits: Tensor, attributes: Tensor) -> Tensor:
    """L_p: binary cross-entropy, mean over the known attributes of each row (n, K): (n,)."""
    logits = _computable(logits)
    known = attributes >= 0
    entropy = -torch.where(attributes == 1, logsigmoid(logits), logsigmoid(-logits))
    return torch.where(known, entropy, 0).sum(1) / known.sum(1).clamp(min=1)


def _computable(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _sqrt(x: Tensor) -> Tensor:
    """The square root, with gradient 0 at 0 instead of infinity."""
    zero = x == 0
    return torch.where(zero, 1, x).sqrt().masked_fill(zero, 0)


def _norm(x: Tensor) -> Tensor:
    return _sqrt(x.square().sum(-1, keepdim=True))


def _unit(x: Tensor, norm: Tensor) -> Tensor:
    """x / |x|, or 0 for the zero vector; NaN where the norm overflows, which 0 would hide."""
    return x / torch.where(norm == 0, 1, norm).masked_fill(norm.isinf(), math.nan)


def _where_zero(x_norm: Tensor, y_norm: Tensor, distance: Tensor) -> Tensor:
    """A cosine distance, or 1 to a zero vector; NaN where the other norm is NaN."""
    return torch.where((x_norm == 0) | (y_norm == 0), 1 + 0 * (x_norm + y_norm), distance)


def _cdist(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean distances from differences: the Gram form loses every digit of a small distance."""
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def _attribute_distance(a: Tensor, b: Tensor, weights: _Weights | None) -> Tensor:
    """h(i, j) in float64: (N, M)."""
    w = [1.0] * a.shape[1] if weights is None else weights
    w = torch.as_tensor(w, dtype=torch.float64, device=a.device)
    a_yes, a_no = (a == 1).double(), (a == 0).double()
    b_yes, b_no = (b == 1).double(), (b == 0).double()
    differing = (a_yes * w) @ b_no.mT + (a_no * w) @ b_yes.mT
    total = w.sum()
    return differing / torch.where(total == 0, 1, total)


def _first_smallest(score: Tensor, allowed: Tensor, *, mark: bool = False) -> Tensor:
    """Of each row, the lowest index of the smallest allowed score; a NaN is smaller than anything.

    Returns (N,) int64, -1 where nothing is allowed; or with ``mark`` all smallest, (N, M) bool.
    """
    n, m = score.shape
    if m == 0:
        return allowed if mark else torch.full((n,), -1, device=score.device)
    smallest = score.masked_fill(~allowed, math.inf).amin(1, keepdim=True)
    hit = allowed & ((score == smallest) | score.isnan())
    return hit if mark else hit.int().argmax(1).where(hit.any(1), -1)
