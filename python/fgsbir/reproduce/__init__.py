"""Reproduction of the paper's table: every row trained, scored and reported."""

from .runner import reproduce
from .spec import Task

__all__ = ["Task", "reproduce"]
