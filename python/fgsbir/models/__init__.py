"""Retrieval models: backbones, heads, preprocessing and checkpoints."""

from .registry import build_model
from .retrieval import Output, RetrievalModel

__all__ = ["Output", "RetrievalModel", "build_model"]
