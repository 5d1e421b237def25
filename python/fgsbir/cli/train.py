"""``fgsbir train``: train a retrieval model."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path

from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes

from ..config import ExtraData, TrainConfig


@dataclass(frozen=True)
class Train:
    """Train a model on pairs of sketches and photos.

    The defaults shown are those of the --backbone given.

    Example: fgsbir train --data data/sbir_cvpr2016 --category shoes --out runs/shoes
    """

    data: str
    """Benchmark folder, folder of photos/ and sketches/, CSV file, or "synthetic"."""
    out: Path
    """Folder for the checkpoint (model.safetensors) and the log (log.jsonl). A run that was killed
    resumes after its last whole epoch when the same command is given again."""
    category: str | None = None
    """shoes or chairs, where the data has categories; shoes+chairs for one model of both."""
    triplets: Path | None = None
    """File of fgsbir triplets to train on, in place of triplets mined in the batch."""
    features: Path | None = None
    """Folder of what frozen layers give (--frozen-views), which runs may share; left out, features
    in --out."""
    overwrite: FlagCreatePairsOff[bool] = False
    """Start anew, and replace what an earlier run left in the folder."""
    tensorboard: FlagCreatePairsOff[bool] = False
    """Also write the figures of the log for TensorBoard, into the folder's tensorboard/."""
    extra: OmitArgPrefixes[ExtraData] = field(default_factory=ExtraData)
    config: OmitArgPrefixes[TrainConfig] = field(default_factory=TrainConfig)

    def run(self) -> None:
        from ..data import open_datasets, with_extra
        from ..data.triplet_lists import read_triplets
        from ..training.distributed import is_main, process_group
        from ..training.train import train

        data = open_datasets(self.data, self.category, "train")
        listed = None
        if self.triplets is not None:
            listed = read_triplets(self.triplets, data[0])
        data = with_extra(data, self.extra)
        with process_group(self.config.device):
            train(
                data,
                self.config,
                self.out,
                category=self.category,
                triplets=listed,
                features=self.features,
                overwrite=self.overwrite,
                tensorboard=self.tensorboard,
            )
            if not is_main():
                return
        score = ["fgsbir", "evaluate", str(self.out), "--data", self.data]
        if self.category:
            score += ["--category", self.category]
        print(f"Done. To score it on the test split: {shlex.join(score)}")
