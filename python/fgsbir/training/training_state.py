"""Training state on disk after every epoch, from which a run resumes bit for bit.

A run that is killed at any moment and started again resumes after its last whole epoch
and reaches the same final weights, bit for bit on a CPU with the same number of threads.
"""

from __future__ import annotations

import io
import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Generator, nn

from ..atomic_files import write_atomically
from .fingerprint import refuse_other_task
from .optim import Stepper

STATE_NAME = "state.pt"


@dataclass
class TrainingState:
    """What :meth:`save` writes and :meth:`load` puts back.

    Attributes:
        network: what is trained.
        stepper: the optimizer, the schedule and the average of the weights.
        generator: of batches and augmentation.
        task: what the run was asked to do, plain values; a state of another task is refused.
        epoch: whole epochs done.
    """

    network: nn.Module
    stepper: Stepper
    generator: Generator
    task: dict[str, Any]
    epoch: int = 0

    def save(self, folder: Path) -> None:
        """Writes ``state.pt`` into the folder, the old one or the new one at every moment."""
        averaged = self.stepper.averaged
        content = {
            "task": json.dumps(self.task),
            "epoch": self.epoch,
            "network": self.network.state_dict(),
            "averaged": None if averaged is None else averaged.state_dict(),
            "optimizer": self.stepper.optimizer.state_dict(),
            "schedule": self.stepper.schedule.state_dict(),
            "generator": self.generator.get_state(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write_atomically(folder / STATE_NAME, buffer.getvalue())

    def load(self, folder: Path) -> None:
        """Goes on where the run in the folder stopped.

        Raises:
            ValueError: when the state there is damaged, or of another task.
        """
        path = folder / STATE_NAME
        try:
            content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            task = json.loads(content["task"])
        except (RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
            raise ValueError(
                f"{path}: damaged, or of another version; delete it to start anew ({error})"
            ) from error
        refuse_other_task(task, self.task, f"{path} is of an unfinished run")
        self.network.load_state_dict(content["network"])
        if self.stepper.averaged is not None:
            self.stepper.averaged.load_state_dict(content["averaged"])
        self.stepper.optimizer.load_state_dict(content["optimizer"])
        self.stepper.schedule.load_state_dict(content["schedule"])
        self.generator.set_state(content["generator"])
        torch.set_rng_state(content["random"])
        if torch.cuda.is_available():  # it may have been on fewer devices, or on none
            for device, random in enumerate(content["random_cuda"][: torch.cuda.device_count()]):
                torch.cuda.set_rng_state(random, device)
        self.epoch = content["epoch"]
