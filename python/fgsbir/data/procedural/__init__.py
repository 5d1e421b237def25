"""Procedural shoes and chairs, drawn from parameters as photos and as hand sketches."""

from .dataset import load_synthetic, synthetic

__all__ = ["load_synthetic", "synthetic"]
