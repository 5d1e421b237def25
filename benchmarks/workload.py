"""The inputs that every rival gets, the same for speed and for memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Workload:
    """A batch of N sketches and N photos, i showing i: D dimensions, K attributes."""

    n: int
    d: int = 256
    k: int = 21
    dtype: torch.dtype = torch.float32
    device: str = "cpu"

    def __str__(self) -> str:
        return f"{self.device}-{str(self.dtype).removeprefix('torch.')}-N{self.n}-D{self.d}"


@dataclass(frozen=True)
class Inputs:
    """Leaves that require gradients, and annotations."""

    sketch: Tensor  # (N, D) unit rows
    photo: Tensor  # (N, D) unit rows near their sketches
    sketch_logits: Tensor  # (N, K)
    photo_logits: Tensor  # (N, K)
    sketch_attributes: Tensor  # (N, K) int8
    photo_attributes: Tensor  # (N, K) int8
    labels: Tensor  # (N,) int64

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        return self.sketch, self.photo, self.sketch_logits, self.photo_logits

    def clear_gradients(self) -> None:
        for leaf in self.leaves:
            leaf.grad = None


def make_inputs(workload: Workload, seed: int = 0) -> Inputs:
    """Random embeddings as a trained network gives them: pairs close, a few attributes wrong."""
    generator = torch.Generator().manual_seed(seed)

    def normal(columns: int) -> Tensor:
        return torch.randn(workload.n, columns, generator=generator)

    sketch = normal(workload.d)
    photo = sketch + 0.5 * normal(workload.d)
    attributes = (normal(workload.k) > 0).to(torch.int8)
    flipped = torch.rand(attributes.shape, generator=generator) < 0.1

    def leaf(x: Tensor) -> Tensor:
        return x.to(workload.device, workload.dtype).requires_grad_()

    return Inputs(
        leaf(torch.nn.functional.normalize(sketch)),
        leaf(torch.nn.functional.normalize(photo)),
        leaf(normal(workload.k)),
        leaf(normal(workload.k)),
        attributes.to(workload.device),
        torch.where(flipped, 1 - attributes, attributes).to(workload.device),
        torch.arange(workload.n, device=workload.device),
    )
