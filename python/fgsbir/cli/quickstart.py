"""``fgsbir quickstart``: train and score on the synthetic set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Quickstart:
    """Train on synthetic shoes, score the result and draw it: a few minutes, nothing to download.

    Example: fgsbir quickstart --out runs/quickstart
    """

    out: Path = Path("runs/quickstart")
    """Folder for the model, the log and the picture."""
    epochs: int = 40
    """Passes over the training pairs."""
    seed: int = 0
    """Of the data, the weights and the batches."""

    def run(self) -> None:
        from ..quickstart import quickstart

        quickstart(self.out, epochs=self.epochs, seed=self.seed)
