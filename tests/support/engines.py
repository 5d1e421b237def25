"""Engines of inner products on CUDA, as csrc/cuda/engine.h lists them."""

from __future__ import annotations

from typing import NamedTuple

import torch

HALF = (torch.bfloat16, torch.float16)


class Engine(NamedTuple):
    """An engine.

    Attributes:
        name: Of its value in C++.
        switch: Value of FGSBIR_TENSOR_CORES that allows none after it.
        kernels: Pattern of the names of kernels with its tiles, the large ones where it has two.
        types: Those that it multiplies.
        hopper: Whether it runs on Hopper alone.
        longest: Depths near which its rows become too long to stay in shared memory.
    """

    name: str
    switch: str
    kernels: str
    types: tuple[torch.dtype, ...]
    hopper: bool = False
    longest: tuple[int, ...] = ()


CUDA_CORES = Engine(
    "cuda_cores",
    "0",
    r"^(?!.*(Tensor|Warpgroup)Tile).*\bTile<|^distances<",
    (torch.float32, torch.float64, *HALF),
)
TENSOR_CORES = Engine(
    "tensor_cores", "mma", r"\bTensorTile<\w+, 128, (128|64)>", (torch.float32, *HALF)
)
WARPGROUPS = Engine(
    "warpgroups", "wgmma", r"\bWarpgroupTile<", HALF, hopper=True, longest=(256, 264)
)

ENGINES = {engine.name: engine for engine in (CUDA_CORES, TENSOR_CORES, WARPGROUPS)}
"""By name, the later the faster."""


def engine_for(dtype: torch.dtype, *, hopper: bool, switch: str | None = None) -> Engine:
    """The last engine that has a type, that the chip runs and that the switch allows."""
    allowed = []
    for engine in ENGINES.values():
        allowed.append(engine)
        if engine.switch == switch:
            break
    return [e for e in allowed if dtype in e.types and (hopper or not e.hopper)][-1]
