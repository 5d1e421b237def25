"""Shard file of a gallery: up to 256 photos, their embeddings, their logits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.torch import save
from torch import Tensor

from ..atomic_files import write_atomically
from ..tensor_files import read_metadata, read_tensors

FORMAT = "fgsbir-shard-1"
CAPACITY = 256
DAMAGED = "damaged; delete it and index the photos again"

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
    return _entries(path, read_metadata(path, FORMAT, damaged=DAMAGED))


def read_shard(path: Path) -> Shard:
    """Everything; errors as of :func:`read_entries`."""
    metadata, tensors = read_tensors(path, FORMAT, damaged=DAMAGED)
    entries = _entries(path, metadata)
    if any(tensor.shape[:1] != (len(entries),) for tensor in tensors.values()):
        raise ValueError(f"{path}: {DAMAGED} (as many rows as photos expected)")
    return Shard(entries, tensors)


def write_shard(path: Path, shard: Shard) -> None:
    """Replaces the file whole."""
    metadata = {"format": FORMAT, "photos": json.dumps(shard.entries)}
    contiguous = {name: tensor.contiguous() for name, tensor in shard.tensors.items()}
    write_atomically(path, save(contiguous, metadata))


def _entries(path: Path, metadata: dict[str, str]) -> list[Entry | None]:
    try:
        return [_entry(entry) for entry in json.loads(metadata["photos"])]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {DAMAGED} ({error})") from error


def _entry(read: Any) -> Entry | None:
    if read is None:
        return None
    folder, file, size, mtime = read
    if [type(value) for value in read] != [int, str, int, int]:
        raise TypeError(f"no entry of a photo: {read}")
    return folder, file, size, mtime
