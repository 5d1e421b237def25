"""Operations under torch.autocast: mixed types are widened, distances stay in float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import fgsbir_ext as fx
from tests.support.cases import make_batch
from tests.support.compare import assert_same_bits, loss_and_gradients

NARROW = ("photo", "photo_logits")  # say, from a linear layer; the others from a normalisation


def loss(batch: dict[str, Tensor]) -> Any:
    values, triplets = loss_and_gradients(fx.attribute_triplet_loss, batch, attribute_guidance=0.5)
    return *values.values(), *triplets


def distance(batch: dict[str, Tensor]) -> Any:
    x, y = (batch[name].detach().requires_grad_() for name in ("sketch", "photo"))
    d = fx.pairwise_distance(x, y, metric="euclidean")
    return d.detach(), *torch.autograd.grad(d.sum(), (x, y))


def mine(batch: dict[str, Tensor]) -> Any:
    inputs = {name: x for name, x in batch.items() if "logits" not in name}
    return fx.mine_batch_hard(**inputs, attribute_guidance=0.5)


def search(batch: dict[str, Tensor]) -> Any:
    logits = {"query_logits": batch["sketch_logits"], "gallery_logits": batch["photo_logits"]}
    return fx.topk(batch["sketch"], batch["photo"], 9, **logits, attribute_weight=0.5)


every_operation = pytest.mark.parametrize("compute", [loss, distance, mine, search])


@every_operation
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_one_type_is_computed_as_without(
    device: str, compute: Callable[..., Any], dtype: torch.dtype
) -> None:
    """Autocast must not reach the products inside, whose memory has the type of the results."""
    batch = make_batch((65, 300, 33, 21), dtype=dtype, device=device)
    expected = compute(batch)
    with torch.autocast(device, dtype=torch.bfloat16):
        assert_same_bits(compute(batch), expected)


@every_operation
def test_mixed_types_are_taken_to_the_widest(device: str, compute: Callable[..., Any]) -> None:
    batch = make_batch((65, 300, 33, 21), dtype=torch.float32, device=device)
    mixed = batch | {name: batch[name].bfloat16() for name in NARROW}
    widened = batch | {name: mixed[name].float() for name in NARROW}
    with torch.autocast(device, dtype=torch.bfloat16):
        actual = compute(mixed)
    for result, expected in zip(actual, compute(widened), strict=True):
        assert_same_bits(result, expected.to(result.dtype))


@every_operation
def test_mixed_types_raise_without_autocast(device: str, compute: Callable[..., Any]) -> None:
    batch = make_batch(dtype=torch.float32, device=device)
    with pytest.raises(TypeError, match=r"must have the type of \w+, float32, got bfloat16"):
        compute(batch | {name: batch[name].bfloat16() for name in NARROW})
