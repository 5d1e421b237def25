"""CuPy: array code on the GPU. It has no gradients, so mining and search alone.

Functions take the array module, so that their logic is tested with NumPy where there is no GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from ..workload import Inputs
from .base import GUIDANCE, TOP, Baseline, Prepare, Unsupported, Work


def mine(xp: Any, s: Any, p: Any, a: Any, b: Any, y: Any, z: Any) -> tuple[Any, Any]:
    """Picks, from embeddings, attributes and labels of sketches and of photos."""
    squared = (s * s).sum(1)[:, None] + (p * p).sum(1)[None] - 2 * s @ p.T
    a, b = a.astype(s.dtype), b.astype(s.dtype)
    h = (a @ (1 - b).T + (1 - a) @ b.T) / a.shape[1]
    same = y[:, None] == z[None]
    positive = xp.where(same, squared, -xp.inf).argmax(1)
    return positive, xp.where(same, xp.inf, squared + GUIDANCE * h).argmin(1)


def search(xp: Any, x: Any, y: Any) -> tuple[Any, Any]:
    squared = (x * x).sum(1)[:, None] + (y * y).sum(1)[None] - 2 * x @ y.T
    some = xp.argpartition(squared, TOP - 1, axis=1)[:, :TOP]
    values = xp.take_along_axis(squared, some, axis=1)
    order = values.argsort(1)
    return xp.take_along_axis(values, order, axis=1), xp.take_along_axis(some, order, axis=1)


def _on_the_gpu(function: Callable[..., Any], names: tuple[str, ...]) -> Prepare:
    def prepare(inputs: Inputs) -> Work:
        if inputs.sketch.dtype == torch.bfloat16:
            raise Unsupported("CuPy has no bfloat16")
        import cupy

        arrays = [cupy.from_dlpack(getattr(inputs, name).detach()) for name in names]
        return partial(function, cupy, *arrays)

    return prepare


EMBEDDINGS = ("sketch", "photo")
ANNOTATIONS = ("sketch_attributes", "photo_attributes", "sketch_labels", "photo_labels")

CUPY = Baseline(
    "CuPy",
    {
        "mining": _on_the_gpu(mine, EMBEDDINGS + ANNOTATIONS),
        "top-k": _on_the_gpu(search, EMBEDDINGS),
    },
    tier="peer",
    requires="cupy",
    package="cupy-cuda13x",
    devices=("cuda",),
    memory_from_torch=False,
)
