"""Resumable run of epochs: the same call starts it, or resumes it after a kill."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch.distributed as dist
from tqdm import tqdm

from fgsbir_ext.collectives import count_ranks

from ..atomic_files import exclusive
from ..models.checkpoint import read_facts
from .distributed import is_main
from .fingerprint import refuse_other_task
from .run_log import LOG_NAME, TENSORBOARD_NAME, RunLog
from .training_state import STATE_NAME, TrainingState


def run_to_the_end(
    state: TrainingState,
    epochs: int,
    one_epoch: Callable[[], dict[str, Any]],
    save: Callable[[int], Path],
    checkpoint: Path,
    *,
    save_every: int,
    overwrite: bool,
    tensorboard: bool,
    progress: bool,
) -> bool:
    """Runs what is left of a run, and leaves its log and its checkpoint in a folder.

    Of several processes that train together the first one writes.

    Args:
        state: as it is before the first epoch.
        epochs: how many in all.
        one_epoch: does the next epoch and returns its figures.
        save: writes the checkpoint after so many epochs.
        checkpoint: the file that it writes, in the run's folder.
        save_every: epochs between two checkpoints; the last epoch always leaves one.
        overwrite: remove what is in the folder first.
        tensorboard: whether to write TensorBoard's files too.
        progress: whether to write on stderr.

    Returns:
        False when the folder holds the finished run already, and nothing was done.

    Raises:
        ValueError: when the folder holds a run of another task, or another process writes there.
    """
    folder = checkpoint.parent
    with exclusive(folder, checkpoint.name, STATE_NAME, LOG_NAME) if is_main() else nullcontext():
        if overwrite and is_main():
            _clear(folder, checkpoint)
        _wait_for_all()
        if (folder / STATE_NAME).is_file():
            state.load(folder)
            if progress and is_main():
                tqdm.write(f"{folder}: resuming after epoch {state.epoch}", file=sys.stderr)
        elif _finished(checkpoint, state.task):
            if progress and is_main():
                tqdm.write(f"{folder}: finished already", file=sys.stderr)
            return False
        _wait_for_all()
        if not is_main():
            while state.epoch < epochs:
                one_epoch()
                state.epoch += 1
            return True
        # What is written goes from log to state to checkpoint, and the state goes last of all: so
        # a run may be killed between any two of these.
        with RunLog(folder, state.epoch, progress=progress, tensorboard=tensorboard) as log:
            while state.epoch < epochs:
                log.write({"epoch": state.epoch + 1, **one_epoch()})
                state.epoch += 1
                state.save(folder)
                if state.epoch % save_every == 0 and state.epoch < epochs:
                    save(state.epoch)
        save(epochs)
        (folder / STATE_NAME).unlink()
    return True


def _finished(path: Path, task: dict[str, Any]) -> bool:
    """Whether a checkpoint of a run is what a task leads to.

    Args:
        path: the file; there may be none.
        task: what is asked for, as in the file's facts but for the epoch.

    Raises:
        ValueError: when it is the finished result of another task, or no checkpoint.
    """
    if not path.is_file():
        return False
    found = read_facts(path)
    epoch = found.pop("epoch", 0)
    if found and epoch < found["config"]["optim"]["epochs"]:
        return False
    refuse_other_task(found, task, f"{path} is of a finished run")
    return True


def _clear(folder: Path, checkpoint: Path) -> None:
    """Removes an earlier run: the state first, so that what is left is never gone on with."""
    for path in (folder / STATE_NAME, checkpoint, folder / LOG_NAME):
        path.unlink(missing_ok=True)
    if (folder / TENSORBOARD_NAME).is_dir():
        shutil.rmtree(folder / TENSORBOARD_NAME)


def _wait_for_all() -> None:
    if count_ranks() > 1:
        dist.barrier()
