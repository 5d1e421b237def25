"""``fgsbir train``."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path

from tyro.conf import OmitArgPrefixes

from ..config import TrainConfig


@dataclass(frozen=True)
class Train:
    """Train a model on pairs of sketches and photos.

    The defaults shown are those of the --backbone given.

    Example: fgsbir train --data data/sbir_cvpr2016 --category shoes --out runs/shoes
    """

    data: str
    """Benchmark folder, folder of photos/ and sketches/, CSV file, or "synthetic"."""
    out: Path
    """Folder for the checkpoint (model.safetensors) and the log (log.jsonl)."""
    category: str | None = None
    """shoes or chairs, where the data has categories."""
    config: OmitArgPrefixes[TrainConfig] = field(default_factory=TrainConfig)

    def run(self) -> None:
        from ..data import open_dataset
        from ..train import train

        data = open_dataset(self.data, self.category, "train")
        train(data, self.config, self.out, category=self.category)
        score = ["fgsbir", "evaluate", str(self.out), "--data", self.data]
        if self.category:
            score += ["--category", self.category]
        print(f"Done. To score it on the test split: {shlex.join(score)}")
