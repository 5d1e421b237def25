"""``fgsbir pretrain``: train a backbone as a classifier of sketches."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes

from ..config import PretrainConfig


@dataclass(frozen=True)
class Pretrain:
    """Train the backbone of a model to name what sketches show, for `fgsbir train --init`.

    The defaults shown are those of the --backbone given.

    Example: fgsbir pretrain --data tu_berlin.npz --backbone sketchanet --out runs/tu-berlin
    """

    data: str
    """Folder with one folder of images a class, folder of the files of Quick, Draw!, or an .npz
    file of packed bits (docs/data.md)."""
    out: Path
    """Folder for the backbone (trunk.safetensors) and the log (log.jsonl). A run that was killed
    resumes after its last whole epoch when the same command is given again."""
    per_class: int | None = None
    """Learn from so many sketches of each class, evenly spread over it; all unless given."""
    overwrite: FlagCreatePairsOff[bool] = False
    """Start anew, and replace what an earlier run left in the folder."""
    tensorboard: FlagCreatePairsOff[bool] = False
    """Also write the figures of the log for TensorBoard, into the folder's tensorboard/."""
    config: OmitArgPrefixes[PretrainConfig] = field(default_factory=PretrainConfig)

    def run(self) -> None:
        from ..data.classified_images import open_classes
        from ..training.pretrain import pretrain

        pretrain(
            open_classes(self.data, per_class=self.per_class),
            self.config,
            self.out,
            overwrite=self.overwrite,
            tensorboard=self.tensorboard,
        )
        print(f"Done. To go on from here: fgsbir train --init {self.out} ...")
