"""Ranking distance as one inner product, so that one index answers every attribute weight.

With unit embeddings q, g and attribute probabilities a, b of a query and of a photo,

    r = |q - g|^2 + mu |a - b|^2 = const - <[2 q, 2 mu a, -mu], [g, b, |b|^2]>

where mu is on the query's side alone, and the constant is the same for all photos.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..models.retrieval import Output


def probabilities(output: Output) -> Tensor:
    """(B, K) of attributes; K = 0 where the model predicts none."""
    if output.logits is None:
        return output.embedding.new_empty(len(output.embedding), 0)
    return output.logits.sigmoid()


def query_rows(queries: Output, attribute_weight: float) -> Tensor:
    """[2 q, 2 mu a, -mu] of B queries: (B, D + K + 1)."""
    a = probabilities(queries)
    mu = a.new_full((len(a), 1), attribute_weight)
    return torch.cat([2 * queries.embedding, 2 * mu * a, -mu], 1)


def photo_rows(photos: Output) -> Tensor:
    """[g, b, |b|^2] of B photos: (B, D + K + 1)."""
    b = probabilities(photos)
    return torch.cat([photos.embedding, b, b.square().sum(1, keepdim=True)], 1)
