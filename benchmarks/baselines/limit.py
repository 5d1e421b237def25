"""Matrix products of the batch, the yardstick of every ratio."""

from __future__ import annotations

import torch
from torch import Tensor

from ..workload import Inputs
from .base import OPERATIONS, Baseline, Unsupported, without_gradients

TILE_ROWS = 256


def bare_product(inputs: Inputs) -> Tensor:
    """S P^T in memory, in the type of the inputs, and no gradient: the yardstick of every ratio."""
    with torch.no_grad():
        return inputs.sketch @ inputs.photo.T


def product_in_tiles(inputs: Inputs) -> None:
    """The same products by the same BLAS into one small buffer, for who holds no matrix."""
    s, p = inputs.sketch, inputs.photo
    buffer = s.new_empty(min(TILE_ROWS, len(s)), len(p))
    for rows in s.split(TILE_ROWS):
        torch.mm(rows, p.T, out=buffer[: len(rows)])


def product_into_float32(inputs: Inputs) -> Tensor:
    """The bare product of 16-bit inputs with its sums as they are, in float32."""
    if inputs.sketch.dtype not in (torch.float16, torch.bfloat16):
        raise Unsupported("the bare product of float32 is it already")
    return torch.mm(inputs.sketch, inputs.photo.T, out_dtype=torch.float32)


BARE_PRODUCT = Baseline(
    "bare product",
    dict.fromkeys(OPERATIONS, without_gradients(bare_product)),
    tier="limit",
    line="--",
)
TILES = Baseline(
    "product in tiles",
    dict.fromkeys(OPERATIONS, without_gradients(product_in_tiles)),
    tier="limit",
    line=":",
)
INTO_FLOAT32 = Baseline(
    "product into float32",
    dict.fromkeys(OPERATIONS, without_gradients(product_into_float32)),
    tier="limit",
    devices=("cuda",),
)
