"""Tests of the loss as a ``torch.nn.Module``, and of its keywords."""

from __future__ import annotations

import copy
import inspect
import io
from collections.abc import Callable
from typing import Any, get_args, get_type_hints

import pytest
import torch

import fgsbir_ext as fx
from fgsbir_ext import _C
from fgsbir_ext.types import (
    AttributeMetric,
    LossArguments,
    LossOptions,
    LossSettings,
    Metric,
    Reduction,
)
from tests.support.cases import both, make_batch
from tests.support.compare import assert_same_bits

OPTIONS = {
    "margin": "soft",
    "attribute_margin": 0.1,
    "metric": "cosine",
    "attribute_metric": "cross_entropy",
    "lambda_a": 0.5,
    "lambda_s": 2.0,
    "lambda_pos": 0.0,
    "lambda_neg": 0.25,
    "attribute_guidance": 0.7,
    "attribute_weights": [1.0, 0.0, 3.0],
    "reduction": "none",
}


def test_same_as_the_function(device: str) -> None:
    batch = make_batch(device=device)
    loss = fx.AttributeTripletLoss(**OPTIONS).to(device)
    assert_same_bits(loss(**batch), fx.attribute_triplet_loss(**batch, **OPTIONS))
    parts = fx.AttributeTripletLoss(**OPTIONS, return_parts=True).to(device)(**batch)
    assert isinstance(parts, fx.LossParts)
    assert isinstance(parts.triplets, fx.Triplets)
    assert_same_bits(parts, fx.attribute_triplet_loss(**batch, **OPTIONS, return_parts=True))


def test_takes_the_arguments_and_defaults_of_the_function() -> None:
    of_function = inspect.signature(fx.attribute_triplet_loss).parameters
    of_init = dict(inspect.signature(fx.AttributeTripletLoss).parameters)
    of_call = dict(inspect.signature(fx.AttributeTripletLoss.forward).parameters)
    del of_call["self"]
    assert list(of_function) == [*of_call, *of_init]
    by_position = [x.name for x in of_function.values() if x.kind is not x.KEYWORD_ONLY]
    assert by_position == ["sketch", "photo"]
    for name, parameter in (of_call | of_init).items():
        assert parameter.default == of_function[name].default
        assert parameter.kind == of_function[name].kind


def test_weights_follow_the_module_and_stay_out_of_its_state() -> None:
    loss = fx.AttributeTripletLoss(attribute_weights=[1, 2])
    assert loss.to("meta").attribute_weights.device.type == "meta"
    assert not loss.state_dict()
    assert not list(loss.parameters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_conversion_of_the_module(dtype: torch.dtype) -> None:
    """As part of a network that is converted as a whole; these weights are exact in any type."""
    batch = make_batch()
    loss = fx.AttributeTripletLoss(**OPTIONS)
    expected = loss(**batch)
    assert_same_bits(loss.to(dtype)(**batch), expected)


def test_copies() -> None:
    batch = make_batch()
    loss = fx.AttributeTripletLoss(**OPTIONS)
    file = io.BytesIO()
    torch.save(loss, file)
    file.seek(0)
    for other in (copy.deepcopy(loss), torch.load(file, weights_only=False)):
        assert_same_bits(other(**batch), loss(**batch))


def test_repr_names_the_options() -> None:
    text = repr(fx.AttributeTripletLoss(**OPTIONS))
    for name, value in OPTIONS.items():
        if name != "attribute_weights":
            assert f"{name}={value!r}" in text


def test_trains(device: str) -> None:
    """Two linear maps learn to rank their pairs first and to predict their attributes."""
    torch.manual_seed(0)
    ids, k = 16, 4
    seen = torch.randn(ids, 12)
    attributes = (seen @ torch.randn(12, k)).gt(0).to(device)
    domains = [(seen @ torch.randn(12, 12)).to(device) for _ in range(2)]
    layers = torch.nn.ModuleList(torch.nn.Linear(12, 8 + k) for _ in domains).to(device)
    loss = fx.AttributeTripletLoss(metric="cosine")
    optimizer = torch.optim.Adam(layers.parameters(), lr=0.05)
    losses = []
    for _ in range(80):
        out = [layer(x) for layer, x in zip(layers, domains, strict=True)]
        sketch, photo = (x[:, :8] for x in out)
        logits = [x[:, 8:] for x in out]
        known = both(logits=logits, attributes=(attributes, attributes))
        total = loss(sketch, photo, **known)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        losses.append(total.item())
    assert losses[-1] < 0.2 * losses[0]
    _, nearest = fx.topk(sketch, photo, 1, metric="cosine")
    assert (nearest.squeeze(1).cpu() == torch.arange(ids)).float().mean() > 0.9


@pytest.mark.parametrize(
    "function",
    [
        fx.attribute_triplet_loss,
        fx.AttributeTripletLoss.__init__,
        fx.DistributedAttributeTripletLoss.__init__,
        fx.reference.attribute_triplet_loss,
    ],
)
def test_annotations_can_be_evaluated(function: Callable[..., Any]) -> None:
    assert "return_parts" in get_type_hints(function)


def test_keywords_of_the_type_checker_are_those_of_the_functions() -> None:
    of_module = set(inspect.signature(fx.AttributeTripletLoss).parameters)
    of_function = set(inspect.signature(fx.attribute_triplet_loss).parameters)
    assert set(LossSettings.__annotations__) == of_module - {"return_parts"}
    tensors = {"sketch", "photo", "return_parts"}
    assert set(get_type_hints(LossArguments)) == of_function - tensors
    assert set(LossOptions._fields) <= of_module


def test_choices_have_their_names_in_c() -> None:
    for choice, of_type in {"Metric": Metric, "AttributeMetric": AttributeMetric}.items():
        assert tuple(getattr(_C, choice).__members__) == get_args(of_type)
    assert set(_C.Reduction.__members__) == set(get_args(Reduction))
    assert len(fx.LossParts._fields) == 2 + _C.TERMS
