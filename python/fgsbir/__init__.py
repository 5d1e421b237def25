"""Fine-grained sketch-based image retrieval: find the one photo that a sketch shows.

Training, evaluation and retrieval on top of the losses of :mod:`fgsbir_ext`. Start with
``fgsbir quickstart`` on the command line; :mod:`fgsbir.training` and :mod:`fgsbir.evaluate` are the
same from Python, and :func:`load` opens what they leave. Importing this package loads none of them,
so it costs nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .models.checkpoint import Run

__all__ = ["load"]


def load(path: str | Path, device: str = "cpu") -> Run:
    """Opens a trained model: ``fgsbir.load("runs/shoes").model``.

    Args:
        path: the folder of ``fgsbir train``, or the file ``model.safetensors`` in it.
        device: where to put the weights.

    Returns:
        The model in eval mode, with its configuration and what is known of its data.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when the file is not one of ours, or is damaged.
    """
    from .models.checkpoint import load_run

    return load_run(path, device)
