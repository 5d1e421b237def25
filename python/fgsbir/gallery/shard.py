"""Shard file of a gallery: up to 256 photos, their embeddings, their logits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..atomic_files import write_atomically

FORMAT = "fgsbir-shard-1"
CAPACITY = 256

Entry = tuple[int, str, int, int]


class Shard(NamedTuple):
    """What a file holds.

    Attributes:
        entries: of each photo the number of its folder in gallery.json, its path in there, size
            and time of change; None for a photo that was removed.
        tensors: ``embedding`` (n, D) and, where the model predicts attributes, ``logits`` (n, K).
    """

    entries: list[Entry | None]
    tensors: dict[str, Tensor]


def read_entries(path: Path) -> list[Entry | None]:
    """The entries alone, which is fast.

    Raises:
        ValueError: the file is damaged, or is no shard; names it.
    """
    return _read(path, tensors=False).entries


def read_shard(path: Path) -> Shard:
    """Everything; errors as of :func:`read_entries`."""
    return _read(path, tensors=True)


def write_shard(path: Path, shard: Shard) -> None:
    """Replaces the file whole."""
    metadata = {"format": FORMAT, "photos": json.dumps(shard.entries)}
    contiguous = {name: tensor.contiguous() for name, tensor in shard.tensors.items()}
    write_atomically(path, save(contiguous, metadata))


def _read(path: Path, *, tensors: bool) -> Shard:
    try:
        with safe_open(path, framework="pt") as stored:
            metadata = stored.metadata() or {}
            rows = {name: stored.get_tensor(name) for name in stored.keys() if tensors}  # noqa: SIM118
    except SafetensorError as error:
        raise _damaged(path, error) from error
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path}: expected the format {FORMAT!r}, got {metadata.get('format')!r}")
    try:
        entries = [_entry(entry) for entry in json.loads(metadata["photos"])]
        if any(len(tensor) != len(entries) for tensor in rows.values()):
            raise ValueError("as many rows as photos expected")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise _damaged(path, error) from error
    return Shard(entries, rows)


def _entry(read: Any) -> Entry | None:
    if read is None:
        return None
    folder, file, size, mtime = read
    if [type(value) for value in read] != [int, str, int, int]:
        raise TypeError(f"no entry of a photo: {read}")
    return folder, file, size, mtime


def _damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path}: damaged; delete it and index the photos again ({error})")
