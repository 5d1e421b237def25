"""Run log: the figures of every epoch as JSON lines, as text, and for TensorBoard."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from tqdm import tqdm

from ..atomic_files import write_atomically

LOG_NAME = "log.jsonl"
TENSORBOARD_NAME = "tensorboard"


class RunLog:
    """The log of a run, from its first epoch or from where it goes on.

    Args:
        folder: where ``log.jsonl`` is.
        epochs: whole epochs done so far; lines of later ones, which a killed run may have left,
            are dropped.
        progress: whether to write a line of figures per epoch on stderr.
        tensorboard: whether to write the figures as scalars of TensorBoard too.

    Raises:
        ValueError: when TensorBoard is asked for and not installed.
    """

    def __init__(self, folder: Path, epochs: int, *, progress: bool, tensorboard: bool) -> None:
        self.progress = progress
        self._writer = _tensorboard(folder / TENSORBOARD_NAME, epochs) if tensorboard else None
        path = folder / LOG_NAME
        kept = _lines_until(path, epochs) if epochs else []
        write_atomically(path, b"".join(kept))
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()
        if self._writer is not None:
            self._writer.close()

    def write(self, record: dict[str, Any]) -> None:
        """Adds the figures of one epoch, ``record["epoch"]``."""
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        scalars = dict(_scalars(record))
        if self._writer is not None:
            for name, value in scalars.items():
                self._writer.add_scalar(name, value, record["epoch"])
            self._writer.flush()
        if self.progress:
            shown = {k: v for k, v in scalars.items() if "attributes/" not in k}
            figures = "  ".join(f"{name} {value:.4g}" for name, value in shown.items())
            tqdm.write(f"epoch {record['epoch']:3d}  {figures}", file=sys.stderr)


def _lines_until(path: Path, epoch: int) -> list[bytes]:
    """Whole lines of a log, of epochs up to the given one."""
    kept = []
    for line in path.read_bytes().splitlines(keepends=True) if path.is_file() else []:
        try:
            if json.loads(line)["epoch"] <= epoch and line.endswith(b"\n"):
                kept.append(line)
        except ValueError:  # half a line: the run was killed while it wrote
            break
    return kept


def _scalars(record: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """The floating figures of a record by name, ``held_out/acc@1`` for nested ones."""
    for name, value in record.items():
        if isinstance(value, dict):
            yield from _scalars(value, f"{prefix}{name}/")
        elif isinstance(value, float):
            yield prefix + name, value


def _tensorboard(folder: Path, epochs: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError as error:
        raise ValueError(
            f"tensorboard: {error.name} is missing: pip install 'fgsbir-ext[tensorboard]'"
        ) from error
    # What a killed run wrote beyond its last whole epoch disappears from the plots.
    return SummaryWriter(folder, purge_step=epochs + 1 if epochs else None)
