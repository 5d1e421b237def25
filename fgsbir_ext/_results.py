"""Allocation of the operations' results, by the shapes and types of their inputs.

For the backends, and for torch's fake tensors, which take shapes and types from here.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import _C
from .types import Side


def computed_in(x: Tensor) -> torch.dtype:
    """The type of distances and losses: float32 for 16-bit inputs, else that of the inputs."""
    return torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype


def pairwise_distances(x: Tensor, y: Tensor) -> Tensor:
    """(N, M) for x (N, D) and y (M, D)."""
    return x.new_empty((x.shape[0], y.shape[0]), dtype=computed_in(x))


def pairwise_gradients(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Of x and y."""
    return _dense_like(x), _dense_like(y)


def attribute_distances(a: Tensor, b: Tensor) -> Tensor:
    """(N, M) float32 for a (N, K) and b (M, K)."""
    return a.new_empty((a.shape[0], b.shape[0]), dtype=torch.float32)


def picks(embedding: Tensor) -> tuple[Tensor, Tensor]:
    """Positive and negative (N,) of anchors (N, D)."""
    positive = embedding.new_empty(embedding.shape[0], dtype=torch.int64)
    return positive, torch.empty_like(positive)


def loss(embedding: Tensor, reduction: str) -> tuple[Tensor, ...]:
    """Total, parts and the fields of :class:`ChosenTriplets` for anchors (N, D)."""
    n, dtype = embedding.shape[0], computed_in(embedding)
    per_anchor = (n,) if reduction == "none" else ()
    return (
        embedding.new_empty(per_anchor, dtype=dtype),
        embedding.new_empty((_C.TERMS, *per_anchor), dtype=dtype),
        embedding.new_empty((2, n), dtype=torch.int64),
        embedding.new_empty(_C.TRIPLET_DISTANCES * n + 1, dtype=dtype),
    )


def gradients(sketch: Side, photo: Side) -> tuple[Tensor, ...]:
    """Of sketch, photo and the logits of both; (0,) for logits that are not given."""
    embedding = sketch.embedding
    rows = (embedding, photo.embedding, sketch.logits, photo.logits)
    return tuple([embedding.new_empty(0) if x is None else _dense_like(x) for x in rows])


def nearest(query: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Values and indices (Q, k) of queries (Q, D)."""
    shape = (query.shape[0], k)
    values = query.new_empty(shape, dtype=computed_in(query))
    return values, query.new_empty(shape, dtype=torch.int64)


def _dense_like(x: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)
