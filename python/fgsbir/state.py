"""Everything that the rest of a training run depends on, on disk after every epoch.

A run that is killed at any moment and started again goes on from the end of its last whole epoch,
to the same final weights, bit for bit on a CPU with the same number of threads.
"""

from __future__ import annotations

import io
import os
import pickle
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Generator, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

FILE_NAME = "state.pt"


@dataclass
class TrainingState:
    """What :meth:`save` writes and :meth:`load` puts back.

    Attributes:
        modules: the network and whatever else holds weights, by name.
        optimizer: with its moments.
        schedule: of the learning rate.
        generator: of batches and augmentation.
        fingerprint: what the run was asked to do; a state of another one is refused.
        epoch: whole epochs done.
    """

    modules: dict[str, nn.Module]
    optimizer: Optimizer
    schedule: LRScheduler
    generator: Generator
    fingerprint: str
    epoch: int = 0

    def save(self, folder: Path) -> None:
        """Writes ``state.pt`` into the folder, the old one or the new one at every moment."""
        content = {
            "fingerprint": self.fingerprint,
            "epoch": self.epoch,
            "modules": {name: module.state_dict() for name, module in self.modules.items()},
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "generator": self.generator.get_state(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write_atomically(folder / FILE_NAME, buffer.getvalue())

    def load(self, folder: Path) -> bool:
        """Goes on where a run in the folder stopped; False where there is nothing to go on from.

        Raises:
            ValueError: when the state there is damaged, or of a run with other settings.
        """
        path = folder / FILE_NAME
        if not path.is_file():
            return False
        try:
            content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise ValueError(f"{path}: damaged, delete it to start anew ({error})") from error
        if content["fingerprint"] != self.fingerprint:
            raise ValueError(
                f"{path}: left by an unfinished run with other settings; finish that one, choose "
                "another --out, or delete the file to start anew"
            )
        for name, module in self.modules.items():
            module.load_state_dict(content["modules"][name])
        self.optimizer.load_state_dict(content["optimizer"])
        self.schedule.load_state_dict(content["schedule"])
        self.generator.set_state(content["generator"])
        torch.set_rng_state(content["random"])
        if torch.cuda.is_available():
            torch.cuda.set_rng_state_all(content["random_cuda"])
        self.epoch = content["epoch"]
        return True


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces a file: a reader, and a run that was killed, sees the old one or the new one."""
    # In the same folder, since a rename is atomic only within one file system.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
