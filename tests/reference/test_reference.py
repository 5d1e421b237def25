"""Reference implementation against loops, torch's own functions and finite differences."""

from __future__ import annotations

import inspect
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

import fgsbir_ext as fx
from fgsbir_ext import reference
from tests.support.cases import (
    ATTRIBUTE_METRICS,
    LAMBDAS,
    LOSS_INPUTS,
    METRICS,
    REDUCTIONS,
    all_pairs,
    make_batch,
)

Row = list[float]

LOSS_OPTIONS = {
    "metric": METRICS,
    "attribute_metric": ATTRIBUTE_METRICS,
    "margin": (0.3, "soft"),
    "attribute_margin": (0.2, "soft"),
}

# --- Eq. 1, in Python numbers -------------------------------------------------------------------


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def hinge(margin: float | str, x: float) -> float:
    return math.log1p(math.exp(x)) if margin == "soft" else max(margin + x, 0.0)


def embedding_distance(x: Row, y: Row, metric: str) -> float:
    if metric == "cosine":
        dot = math.fsum(a * b for a, b in zip(x, y, strict=True))
        return 1 - dot / (math.hypot(*x) * math.hypot(*y))
    return math.dist(x, y) ** (2 if metric == "sqeuclidean" else 1)


def predicted_distance(a: Row, b: Row, metric: str) -> float:
    p, q = [sigmoid(x) for x in a], [sigmoid(x) for x in b]
    if metric == "cross_entropy":
        entropy = (u * math.log(v) + (1 - u) * math.log(1 - v) for u, v in zip(p, q, strict=True))
        return -math.fsum(entropy) / len(p)
    return math.dist(p, q) ** (2 if metric == "sqeuclidean" else 1)


def prediction_loss(logits: Row, attributes: list[int]) -> float:
    terms = [
        -math.log(sigmoid(x) if t == 1 else 1 - sigmoid(x))
        for x, t in zip(logits, attributes, strict=True)
        if t != -1
    ]
    return math.fsum(terms) / max(len(terms), 1)


def terms_of(i: int, pos: int, neg: int, batch: dict[str, list], options: dict[str, Any]) -> Row:
    """L_theta, L_a and the three L_p of one anchor."""
    s, p = batch["sketch"], batch["photo"]
    a, b = batch["sketch_logits"], batch["photo_logits"]
    t, u = batch["sketch_attributes"], batch["photo_attributes"]
    d = [embedding_distance(s[i], p[j], options["metric"]) for j in (pos, neg)]
    predicted = [predicted_distance(a[i], b[j], options["attribute_metric"]) for j in (pos, neg)]
    return [
        hinge(options["margin"], d[0] - d[1]),
        hinge(options["attribute_margin"], predicted[0] - predicted[1]),
        prediction_loss(a[i], t[i]),
        prediction_loss(b[pos], u[pos]),
        prediction_loss(b[neg], u[neg]),
    ]


@pytest.mark.parametrize(
    "case",
    all_pairs(
        **LOSS_OPTIONS,
        attribute_guidance=(0.0, 1.0),
    ),
)
def test_loss_is_equation_1(case: dict[str, Any]) -> None:
    batch = make_batch((7, 11, 5, 4))
    weights = (0.5, 2.0, 0.25, 3.0)
    lambdas = dict(zip(LAMBDAS, weights, strict=True))
    parts = reference.attribute_triplet_loss(
        **batch, **case, **lambdas, reduction="none", return_parts=True
    )
    lists = {name: x.tolist() for name, x in batch.items()}
    picks = zip(*(x.tolist() for x in parts.triplets), strict=True)
    expected = [
        terms_of(i, pos, neg, lists, case) if valid else [0.0] * (1 + len(LAMBDAS))
        for i, (pos, neg, valid) in enumerate(picks)
    ]
    actual = torch.stack(parts[1:-1], 1)
    torch.testing.assert_close(actual, torch.tensor(expected, dtype=torch.float64))
    total = actual @ torch.tensor([1.0, *weights], dtype=torch.float64)
    torch.testing.assert_close(parts.total, total)

    valid = parts.triplets.valid
    assert 0 < valid.sum() < 7
    for reduction, expected_total in (("sum", total.sum()), ("mean", total[valid].mean())):
        reduced = reference.attribute_triplet_loss(**batch, **case, **lambdas, reduction=reduction)
        torch.testing.assert_close(reduced, expected_total)


# --- Other libraries' words for the same --------------------------------------------------------


def test_distances_of_torch() -> None:
    batch = make_batch((7, 11, 5, 4))
    x, y = batch["sketch"], batch["photo"]
    cosine = 1 - functional.cosine_similarity(x[:, None], y[None], dim=-1)
    expected = {
        "euclidean": torch.cdist(x, y),
        "sqeuclidean": torch.cdist(x, y) ** 2,
        "cosine": cosine,
    }
    for metric, d in expected.items():
        torch.testing.assert_close(reference.pairwise_distance(x, y, metric=metric), d)
        of_pairs = reference.rowwise_distance(x, y[:7], metric=metric)
        torch.testing.assert_close(of_pairs, d[:, :7].diagonal())


def test_triplet_margin_loss_of_torch() -> None:
    batch = make_batch((9, 9, 5, 0), labels=False, attributes=False)
    picks = reference.mine_batch_hard(**batch)
    sketch, photo = batch.values()
    expected = functional.triplet_margin_loss(
        sketch, photo[picks.positive], photo[picks.negative], margin=0.3, eps=0
    )
    actual = reference.attribute_triplet_loss(**batch, metric="euclidean")
    torch.testing.assert_close(actual, expected)


# --- Derivatives --------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("distance", [reference.pairwise_distance, reference.rowwise_distance])
def test_gradcheck_of_distances(distance: Any, metric: str) -> None:
    batch = make_batch((4, 4, 5, 0))
    inputs = batch["sketch"].requires_grad_(), batch["photo"].requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: distance(x, y, metric=metric), inputs)


@pytest.mark.parametrize(
    "case",
    all_pairs(
        **LOSS_OPTIONS,
        reduction=REDUCTIONS,
    ),
)
def test_gradcheck_of_the_loss(case: dict[str, Any]) -> None:
    batch = make_batch((3, 5, 3, 2))
    leaves = [batch[name].requires_grad_() for name in LOSS_INPUTS]

    def loss(*inputs: Tensor) -> Any:
        arguments = batch | dict(zip(LOSS_INPUTS, inputs, strict=True))
        return reference.attribute_triplet_loss(**arguments, **case, return_parts=True)[:-1]

    assert torch.autograd.gradcheck(loss, leaves)


# --- The same interface -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "pairwise_distance",
        "attribute_distance",
        "mine_batch_hard",
        "attribute_triplet_loss",
        "topk",
    ],
)
def test_takes_what_the_fast_functions_take(name: str) -> None:
    fast = inspect.signature(getattr(fx, name)).parameters
    slow = inspect.signature(getattr(reference, name)).parameters
    for parameter in fast.values():
        assert slow[parameter.name].default == parameter.default
        assert slow[parameter.name].kind == parameter.kind
