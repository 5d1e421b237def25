"""Test batches: shapes that do not fill tiles, types, layouts, options."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from fgsbir_ext.types import AttributeMetric, LossOptions, Metric, Reduction, Side

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
METRICS = get_args(Metric)
LAMBDAS = tuple(name for name in LossOptions._fields if name.startswith("lambda_"))
OF_ZERO = {"cosine": 1.0}
"""Metrics of unit rows, and their distance to a zero row."""
ATTRIBUTE_METRICS = get_args(AttributeMetric)
REDUCTIONS = get_args(Reduction)
GUIDANCES = (0.0, 0.5, float("inf"))

# Shapes are (N, M, D, K): empty and single in every place, odd, and on both sides of a vector (16),
# a word of attributes (32), a block of columns (256) and a tile of products (256 rows, 4096
# columns).
SMALL_SHAPES = (
    (0, 5, 3, 2),
    (4, 0, 3, 2),
    (5, 7, 0, 3),
    (6, 6, 5, 0),
    (1, 1, 1, 1),
    (2, 3, 1, 1),
    (17, 33, 15, 31),
    (16, 64, 16, 32),
    (65, 255, 63, 33),
)
SHAPES = (
    *SMALL_SHAPES,
    (257, 256, 33, 64),
    (31, 513, 70, 65),
    (7, 4097, 3, 21),
    (300, 600, 2, 5),
)

LOSS_INPUTS = ("sketch", "photo", "sketch_logits", "photo_logits")
MINING_INPUTS = (
    "sketch",
    "photo",
    "sketch_labels",
    "photo_labels",
    "sketch_attributes",
    "photo_attributes",
)


def all_pairs(**factors: Sequence[Any]) -> list[Any]:
    """pytest parameters, dicts of one level a factor, in which every two levels meet once."""
    names, rng = list(factors), random.Random(0)
    uncovered = {
        (a, i, b, j)
        for a, b in combinations(names, 2)
        for i in range(len(factors[a]))
        for j in range(len(factors[b]))
    }

    def covered(row: dict[str, int]) -> set[tuple[str, int, str, int]]:
        return {(a, row[a], b, row[b]) for a, b in combinations(names, 2)}

    rows = []
    while uncovered:
        a, i, b, j = min(uncovered)
        candidates = [
            {name: rng.randrange(len(factors[name])) for name in names} | {a: i, b: j}
            for _ in range(20)
        ]
        best = max(candidates, key=lambda row: len(covered(row) & uncovered))
        uncovered -= covered(best)
        rows.append({name: factors[name][level] for name, level in best.items()})
    return [pytest.param(row, id=_case_id(row.values())) for row in rows]


def _case_id(levels: Iterable[Any]) -> str:
    texts = ("x".join(map(str, x)) if isinstance(x, tuple) else str(x) for x in levels)
    return "-".join(text.removeprefix("torch.") for text in texts)


def make_batch(
    shape: tuple[int, int, int, int] = (6, 9, 5, 3),
    *,
    dtype: torch.dtype = torch.float64,
    device: str = "cpu",
    labels: bool = True,
    attributes: bool = True,
    logits: bool = True,
    attribute_type: torch.dtype = torch.int8,
    seed: int = 0,
) -> dict[str, Tensor]:
    """The tensors of :func:`fgsbir_ext.attribute_triplet_loss` by name; distances are of order 1.

    Some sketches have several positive photos and some none. Without labels M is N. Every tensor
    lies unaligned in a longer one of NaN or other values that are not legal.
    """
    n, m, d, k = shape
    if not labels:
        m = n
    rng = torch.Generator().manual_seed(seed)

    def normal(rows: int, columns: int, scale: float) -> Tensor:
        return torch.randn(rows, columns, generator=rng, dtype=torch.float64).mul(scale).to(dtype)

    def integers(low: int, high: int, *size: int) -> Tensor:
        return torch.randint(low, high, size, generator=rng)

    batch = {"sketch": normal(n, d, max(d, 1) ** -0.5), "photo": normal(m, d, max(d, 1) ** -0.5)}
    if labels:
        classes = max(1, m // 3)
        batch["sketch_labels"] = integers(0, classes + max(1, n // 8), n)
        batch["photo_labels"] = integers(0, classes, m)
    if attributes:
        lowest = 0 if attribute_type == torch.bool else -1
        batch["sketch_attributes"] = integers(lowest, 2, n, k).to(attribute_type)
        batch["photo_attributes"] = integers(lowest, 2, m, k).to(attribute_type)
        if logits:
            batch["sketch_logits"] = normal(n, k, 2)
            batch["photo_logits"] = normal(m, k, 2)
    return {name: guarded(x.to(device)) for name, x in batch.items()}


def both(**kinds: Sequence[Any]) -> dict[str, Any]:
    """``labels=(x, y)`` as ``sketch_labels=x, photo_labels=y``, and so of logits and attributes."""
    sides = ("sketch", "photo")
    return {
        f"{side}_{kind}": value
        for kind, values in kinds.items()
        for side, value in zip(sides, values, strict=True)
    }


def sides_of(batch: dict[str, Any], names: Sequence[str] = ("sketch", "photo")) -> list[Side]:
    """What a batch has of each side, as the operations take it."""
    kinds = Side._fields[1:]
    return [Side(batch[name], *(batch.get(f"{name}_{kind}") for kind in kinds)) for name in names]


def make_weights(k: int, device: str = "cpu") -> Tensor:
    """(K,) weights, some of them 0."""
    return torch.arange(k, device=device).mul(0.7).cos().abs().sub(0.2).clamp(min=0) + (k == 1)


def mining_inputs(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: x for name, x in batch.items() if name in MINING_INPUTS}


def guarded(x: Tensor) -> Tensor:
    """A copy in the middle of a longer tensor of illegal values, off any alignment."""
    pad, illegal = 13, float("nan") if x.is_floating_point() else 101
    buffer = x.new_full((x.numel() + 2 * pad,), illegal)
    return buffer[pad : pad + x.numel()].view(x.shape).copy_(x)


LAYOUTS = ("transposed", "sliced", "expanded", "negative")


def relayout(x: Tensor, layout: str) -> Tensor:
    """x, or for ``expanded`` its first row throughout, as a view that is not plain memory."""
    if layout == "transposed":
        return x.mT.contiguous().mT
    if layout == "sliced":
        wide = torch.full((*x.shape[:-1], 2 * x.shape[-1] + 1), 1, dtype=x.dtype, device=x.device)
        return wide[..., 1::2].copy_(x)
    if layout == "expanded":
        return x[:1].expand(x.shape)
    if layout == "negative":
        return torch._neg_view(-x) if x.is_floating_point() else x
    raise ValueError(layout)


def plain(x: Tensor) -> Tensor:
    """The same values in plain memory."""
    return x.resolve_neg().clone(memory_format=torch.contiguous_format)
