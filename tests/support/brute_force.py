"""Brute-force mining, attribute distance and top-k, as Python loops from the definitions.

Inputs are nested lists; numbers are exact fractions wherever the inputs allow it, so that ties are
ties. Distances are squared for the euclidean metrics: the order is the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

Row = Sequence[float]


def distance(x: Row, y: Row, metric: str) -> Fraction | float:
    """d(x, y), squared for ``euclidean``; cosine is exact where norms are rational. NaN spreads."""
    if any(map(math.isnan, (*x, *y))):
        return math.nan
    x, y = [Fraction(v) for v in x], [Fraction(v) for v in y]
    if metric != "cosine":
        return Fraction(sum((a - b) ** 2 for a, b in zip(x, y, strict=True)))
    x_norm, y_norm = (Fraction(math.sqrt(sum(a * a for a in v))) for v in (x, y))
    if x_norm == 0 or y_norm == 0:
        return Fraction(1)
    return 1 - sum(a * b for a, b in zip(x, y, strict=True)) / (x_norm * y_norm)


def attribute_distance(a: Row, b: Row, weights: Row | None) -> Fraction:
    """h: the weighted share of attributes known to both that differ."""
    w = [Fraction(1)] * len(a) if weights is None else [Fraction(v) for v in weights]
    if not sum(w):
        return Fraction(0)
    differing = [p != q and p != -1 and q != -1 for p, q in zip(a, b, strict=True)]
    return sum((v for v, d in zip(w, differing, strict=True) if d), Fraction(0)) / sum(w)


def mine(
    sketch: Sequence[Row],
    photo: Sequence[Row],
    sketch_labels: Sequence[int],
    photo_labels: Sequence[int],
    sketch_attributes: Sequence[Row] | None = None,
    photo_attributes: Sequence[Row] | None = None,
    *,
    attribute_guidance: float = 0.0,
    attribute_weights: Row | None = None,
    metric: str = "sqeuclidean",
    exclude_self: bool = False,
) -> list[tuple[int, int]]:
    """(positive, negative) of each sketch, (-1, -1) where it lacks one."""
    picks = []
    for i, s in enumerate(sketch):
        d = [distance(s, p, metric) for p in photo]
        positives = [
            j
            for j in range(len(photo))
            if photo_labels[j] == sketch_labels[i] and not (exclude_self and i == j)
        ]
        negatives = [j for j in range(len(photo)) if photo_labels[j] != sketch_labels[i]]

        def score(j: int, i: int = i, d: list[Fraction | float] = d) -> tuple:
            if math.isnan(d[j]):
                return (-1, 0)  # wins whatever there is
            if sketch_attributes is None or photo_attributes is None:
                return (0, d[j])
            h = attribute_distance(sketch_attributes[i], photo_attributes[j], attribute_weights)
            if math.isinf(attribute_guidance):
                return (0, h, d[j])
            return (0, d[j] + Fraction(attribute_guidance) * h)

        if not positives or not negatives:
            picks.append((-1, -1))
            continue
        # min takes the first of equals.
        hardest = min(positives, key=lambda j: (-1, 0) if math.isnan(d[j]) else (0, -d[j]))
        picks.append((hardest, min(negatives, key=score)))
    return picks


def nearest(query: Row, gallery: Sequence[Row], k: int, metric: str) -> list[int]:
    """Indices of the k nearest rows."""

    def key(j: int) -> tuple:
        d = distance(query, gallery[j], metric)
        return (-1, 0, j) if math.isnan(d) else (0, d, j)

    return sorted(range(len(gallery)), key=key)[:k]
