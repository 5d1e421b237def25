"""Inputs of the benchmarks, the same for every baseline and for speed and memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Workload:
    """A batch of N sketches and M photos, or of N queries and a gallery of M: D dimensions.

    Attributes:
        n: Rows of the first set.
        d: Dimensions of an embedding.
        k: Attributes.
        dtype: Of embeddings and logits.
        device: "cpu" or "cuda".
        m: Rows of the second set; N unless given.
        shots: Rows that show one thing. With 1 row i shows photo i, which callers need not say.
    """

    n: int
    d: int = 256
    k: int = 21
    dtype: torch.dtype = torch.float32
    device: str = "cpu"
    m: int | None = None
    shots: int = 1

    @property
    def columns(self) -> int:
        return self.n if self.m is None else self.m

    @property
    def pairs(self) -> int:
        return self.n * self.columns

    @property
    def type_name(self) -> str:
        return str(self.dtype).removeprefix("torch.")

    def __str__(self) -> str:
        columns = "" if self.m is None else f"-M{self.m}"
        shots = "" if self.shots == 1 else f"-shots{self.shots}"
        return f"{self.device}-{self.type_name}-N{self.n}{columns}-D{self.d}{shots}"


@dataclass(frozen=True)
class Inputs:
    """Leaves that require gradients, and annotations."""

    sketch: Tensor  # (N, D) unit rows
    photo: Tensor  # (M, D) unit rows; the first N near their sketches
    sketch_logits: Tensor  # (N, K)
    photo_logits: Tensor  # (M, K)
    sketch_attributes: Tensor  # (N, K) int8
    photo_attributes: Tensor  # (M, K) int8
    sketch_labels: Tensor  # (N,) int64
    photo_labels: Tensor  # (M,) int64
    paired: bool  # whether photo i is the one positive of sketch i

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        return self.sketch, self.photo, self.sketch_logits, self.photo_logits

    def both(self, *kinds: str) -> dict[str, Tensor]:
        """``sketch_<kind>`` and ``photo_<kind>`` by name, of logits, attributes or labels."""
        names = (f"{side}_{kind}" for kind in kinds for side in ("sketch", "photo"))
        return {name: getattr(self, name) for name in names}

    def clear_gradients(self) -> None:
        for leaf in self.leaves:
            leaf.grad = None


def make_inputs(workload: Workload, seed: int = 0) -> Inputs:
    """Random embeddings as a trained network gives them: pairs close, a few attributes wrong."""
    generator = torch.Generator().manual_seed(seed)
    n, m = workload.n, workload.columns

    def normal(rows: int, columns: int) -> Tensor:
        return torch.randn(rows, columns, generator=generator)

    def shown_twice(first: Tensor) -> Tensor:
        """The second set before its noise: the first one's rows, then things seen nowhere else."""
        return torch.cat([first[:m], normal(max(m - n, 0), first.shape[1])])

    sketch = normal(n, workload.d)
    photo = shown_twice(sketch).add_(normal(m, workload.d), alpha=0.5)
    attributes = (normal(n, workload.k) > 0).to(torch.int8)
    shown = (shown_twice(attributes.float()) > 0).to(torch.int8)
    flipped = torch.rand(shown.shape, generator=generator) < 0.1

    def leaf(x: Tensor) -> Tensor:
        return x.to(workload.device, workload.dtype).requires_grad_()

    return Inputs(
        leaf(torch.nn.functional.normalize(sketch)),
        leaf(torch.nn.functional.normalize(photo)),
        leaf(normal(n, workload.k)),
        leaf(normal(m, workload.k)),
        attributes.to(workload.device),
        torch.where(flipped, 1 - shown, shown).to(workload.device),
        torch.arange(n, device=workload.device) // workload.shots,
        torch.arange(m, device=workload.device) // workload.shots,
        workload.shots == 1,
    )
