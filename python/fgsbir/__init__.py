"""Fine-grained sketch-based image retrieval: find the one photo that a sketch shows.

Training, evaluation and retrieval on top of the losses of :mod:`fgsbir_ext`. Start with
``fgsbir quickstart`` on the command line; from Python, :func:`train` and :func:`evaluate` do the
same and :func:`load` opens what they leave. Each is imported when it is first used, so importing
this package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .evaluation.metrics import evaluate
    from .models.checkpoint import Run
    from .training.train import train

__all__ = ["evaluate", "load", "train"]

_MODULES = {"evaluate": ".evaluation.metrics", "train": ".training.train"}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


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
