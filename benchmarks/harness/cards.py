"""Datasheet peaks of GPUs, and the lower bounds on time that they set."""

from __future__ import annotations

from dataclasses import dataclass

TERA = 1e12


@dataclass(frozen=True)
class Card:
    """A GPU: bytes a second of its memory, and dense FLOP a second by type."""

    name: str
    bandwidth: float
    bfloat16: float = 990 * TERA
    tf32: float = 495 * TERA
    float32: float = 67 * TERA

    def product_seconds(self, n: int, m: int, d: int, dtype: str) -> float:
        """The least time for all inner products to the accuracy of the type.

        For float32 that of CUDA cores, or of three TF32 products, whichever is less.
        """
        flops = 2 * n * m * d
        if dtype == "float32":
            return min(flops / self.float32, 3 * flops / self.tf32)
        return flops / self.bfloat16

    def matrix_seconds(self, n: int, m: int, d: int, dtype: str, item_bytes: int) -> float:
        """The least time for all inner products where they are written, too."""
        return max(self.product_seconds(n, m, d, dtype), n * m * item_bytes / self.bandwidth)


H100 = Card("H100", 3.35 * TERA)  # the SXM one
H200 = Card("H200", 4.8 * TERA)


def find_card(device_name: str | None) -> Card | None:
    """The card that CUDA calls by a name, or None if its peaks are not known here."""
    words = (device_name or "").split()
    if "MIG" in words:  # a part of a card
        return None
    if "H200" in words:
        return H200
    return H100 if "H100" in words and "HBM3" in words else None


def short_name(device_name: str | None) -> str:
    """A card in a row of a table."""
    card = find_card(device_name)
    return card.name if card else (device_name or "no GPU").removeprefix("NVIDIA ")
