"""Retrieval models: backbones, their heads, what they read and their checkpoints."""

from .registry import build_model
from .retrieval import Output, RetrievalModel

__all__ = ["Output", "RetrievalModel", "build_model"]
