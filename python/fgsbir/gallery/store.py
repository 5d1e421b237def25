"""Storage of a gallery on disk.

    gallery.json                what it is, the hash of its model, the folders of its photos
    model.safetensors           a copy of the model
    calibration.safetensors     of a model that was not trained to compare sketches and photos
    shards/000000.safetensors   embeddings and logits of 256 photos, their files in the metadata

Every file is replaced whole, so a process that is killed at any moment leaves a gallery that is
complete up to its last batch. Photo i of shard s has the number 256 s + i for as long as its file
stays as it is; the number of a removed photo is not used again.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..atomic_files import exclusive, write_atomically
from ..models.checkpoint import FILE_NAME as MODEL_NAME
from ..models.checkpoint import Run
from ..models.retrieval import Output
from .calibration import FILE_NAME as CALIBRATION_NAME
from .calibration import Calibration, read_calibration
from .folder import Photo
from .manifest import FILE_NAME as MANIFEST_NAME
from .manifest import Manifest, read_manifest
from .shard import CAPACITY, Entry, Shard, read_entries, read_shard, write_shard

SHARDS = "shards"


@dataclass(frozen=True)
class Rows:
    """Everything about N photos that a search in memory needs.

    Attributes:
        numbers: (N,) ascending.
        paths: N absolute paths.
        output: embeddings (N, D) and logits (N, K).
    """

    numbers: NDArray[np.int64]
    paths: list[str]
    output: Output

    def __len__(self) -> int:
        return len(self.numbers)

    def at(self, positions: Tensor) -> Output:
        """The rows at some positions."""
        logits = self.output.logits
        return Output(
            self.output.embedding[positions], None if logits is None else logits[positions]
        )


class Store:
    """The files of a gallery. Any number of processes may read; one at a time may write."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.manifest = read_manifest(self.folder)
        self.calibration = read_calibration(self.folder, self.manifest.id)

    @classmethod
    def create(
        cls,
        folder: str | Path,
        checkpoint: bytes,
        run: Run,
        index: str | None = None,
        *,
        source: str = "the one given",
    ) -> Store:
        """The gallery in a folder, made if there is none; resumes where another was killed.

        Args:
            folder: of the gallery.
            checkpoint: content of the model's file, which is copied.
            run: what is in that file.
            index: how to search it; None leaves that as it is.
            source: what to call the model in an error.

        Raises:
            FileExistsError: the folder holds other things.
            ValueError: the folder holds a gallery of another model.
        """
        folder, digest = Path(folder), hashlib.sha256(checkpoint).hexdigest()
        if not (folder / MANIFEST_NAME).is_file():
            names = list(run.data.attribute_names)
            manifest = Manifest(
                digest,
                run.model.embedding_dim,
                names,
                index or "exact",
                calibrated=run.model.head == "cells",
            )
            with exclusive(folder):
                _begin(folder, manifest)
        store = cls(folder)
        if store.manifest.model != digest:
            raise ValueError(
                f"{folder}: was made with another model than {source}; choose another folder, or "
                "delete this one to start anew"
            )
        if not store.model.is_file():
            with exclusive(folder):
                write_atomically(store.model, checkpoint)
        (folder / SHARDS).mkdir(exist_ok=True)
        if index not in (None, store.manifest.index):
            with store.writing():
                store.manifest.index = index
                store.manifest.write(folder)
        return store

    @property
    def model(self) -> Path:
        """The copy of the checkpoint."""
        return self.folder / MODEL_NAME

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keeps other writers out, and clears away what a killed one left half-written.

        Raises:
            ValueError: another process is writing.
        """
        shards = self.folder / SHARDS
        own = (MANIFEST_NAME, MODEL_NAME, CALIBRATION_NAME)
        with exclusive(self.folder, *own), exclusive(shards, "*.safetensors"):
            self.manifest = read_manifest(self.folder)
            self.calibration = read_calibration(self.folder, self.manifest.id)
            yield

    def photos(self) -> dict[int, Photo]:
        """The files of all photos, by number, ascending."""
        return {
            CAPACITY * shard + i: self._photo(entry)
            for shard in self.shards()
            for i, entry in enumerate(read_entries(self.shard_path(shard)))
            if entry is not None
        }

    def read(self) -> Rows:
        """Everything that a search needs, in memory: 4 (D + K) bytes a photo, and its path.

        Raises:
            ValueError: a damaged file; or a gallery that lacks its calibration, since indexing was
                stopped before its end.
        """
        photos = self.photos()
        numbers = np.fromiter(photos, np.int64, len(photos))
        width = self.calibration.embedding_dim if self.calibration else self.manifest.embedding_dim
        embedding = torch.empty(len(photos), width)
        logits = torch.empty(len(photos), len(self.manifest.attributes))
        shards, starts = np.unique(numbers // CAPACITY, return_index=True)
        for shard, start, here in zip(shards, starts, np.split(numbers, starts)[1:], strict=True):
            slots = torch.from_numpy(here % CAPACITY)
            tensors = self._tensors(shard)
            # One allocation: parts put together at the end would take twice the memory.
            embedding[start : start + len(slots)] = self._searched(tensors["embedding"][slots])
            if self.manifest.attributes:
                logits[start : start + len(slots)] = tensors["logits"][slots]
        paths = [photo.path for photo in photos.values()]
        return Rows(numbers, paths, Output(embedding, logits if self.manifest.attributes else None))

    @property
    def cells(self) -> Path:
        """Where the faiss index keeps its cells; those of another calibration are no use."""
        digest = "" if self.calibration is None else f"-{self.calibration.digest[:16]}"
        return self.folder / f"ivf{digest}.faiss"

    def embeddings(self, numbers: Sequence[int]) -> Tensor:
        """(N, D) of some photos, as they are stored, in float32."""
        rows: dict[int, Tensor] = {}
        for shard in {number // CAPACITY for number in numbers}:
            here = [number for number in numbers if number // CAPACITY == shard]
            slots = torch.tensor([number % CAPACITY for number in here])
            rows |= zip(here, self._tensors(shard)["embedding"][slots].float(), strict=True)
        return torch.stack([rows[number] for number in numbers])

    def recalibrate(self, calibration: Calibration) -> None:
        """Replaces the calibration, and removes what was made with another."""
        calibration.write(self.folder, self.manifest.id)
        self.calibration = calibration
        for cells in self.folder.glob("ivf-*.faiss"):
            if cells != self.cells:
                cells.unlink(missing_ok=True)

    def append(self, photos: Sequence[Photo], output: Output) -> None:
        """Adds photos; when this returns they are on disk."""
        shards = self.shards()
        at = shards[-1] if shards else 0
        last = read_shard(self.shard_path(at)) if shards else Shard([], {})
        # Calibration makes few numbers of many, each of which matters little.
        stored = torch.float16 if self.manifest.calibrated else torch.float32
        new = {"embedding": output.embedding.to(stored)}
        if output.logits is not None:
            new["logits"] = output.logits
        entries = last.entries + [self._entry(photo) for photo in photos]
        rows = {
            name: torch.cat([last.tensors[name], tensor]) if last.tensors else tensor
            for name, tensor in new.items()
        }
        for start in range(0, len(entries), CAPACITY):
            part = slice(start, start + CAPACITY)
            shard = Shard(entries[part], {name: tensor[part] for name, tensor in rows.items()})
            write_shard(self.shard_path(at + start // CAPACITY), shard)

    def remove(self, numbers: Iterable[int]) -> None:
        """Takes photos out; their numbers are not used again."""
        by_shard = defaultdict(set)
        for number in numbers:
            by_shard[number // CAPACITY].add(number % CAPACITY)
        for at, gone in by_shard.items():
            entries, tensors = read_shard(self.shard_path(at))
            left = [None if i in gone else entry for i, entry in enumerate(entries)]
            write_shard(self.shard_path(at), Shard(left, tensors))

    def include(self, folder: Path) -> None:
        """Makes a folder known, so that photos under it can be appended."""
        if not any(folder.is_relative_to(known) for known in self.manifest.folders):
            self.manifest.folders.append(str(folder))
            self.manifest.write(self.folder)

    def rename(self, renamed: Mapping[str, str]) -> None:
        """Makes known that what was in some of the folders is in others now."""
        folders = self.manifest.folders
        self.manifest.folders = [renamed.get(folder, folder) for folder in folders]
        self.manifest.write(self.folder)

    def path_of(self, folder: int, path: str) -> str:
        """The absolute path of what an entry calls `path` in one of the folders."""
        if not 0 <= folder < len(self.manifest.folders):
            raise ValueError(f"{self.folder / MANIFEST_NAME}: `folders` lacks number {folder}")
        return os.path.join(self.manifest.folders[folder], path)

    def shards(self) -> list[int]:
        """Their numbers, ascending."""
        files = (self.folder / SHARDS).glob("*.safetensors")
        return sorted(int(file.stem) for file in files if file.stem.isdecimal())

    def shard_path(self, shard: int) -> Path:
        """The file of a shard."""
        return self.folder / SHARDS / f"{shard:06d}.safetensors"

    def _searched(self, stored: Tensor) -> Tensor:
        """What is searched, of (N, D) stored embeddings of photos: unit rows."""
        if not self.manifest.calibrated:
            return stored
        if self.calibration is None:
            raise ValueError(
                f"{self.folder}: lacks {CALIBRATION_NAME}, as after indexing that was stopped "
                "before its end; the same `fgsbir index` makes it"
            )
        return self.calibration.of_photos(stored)

    def _tensors(self, shard: int) -> dict[str, Tensor]:
        path = self.shard_path(shard)
        tensors = read_shard(path).tensors
        widths = {"embedding": self.manifest.embedding_dim, "logits": len(self.manifest.attributes)}
        found = {name: tensor.shape[1] for name, tensor in tensors.items() if tensor.ndim == 2}
        if found != {name: width for name, width in widths.items() if width}:
            raise ValueError(
                f"{path}: expected columns as in {MANIFEST_NAME}, {widths}, got {found}"
            )
        return tensors

    def _entry(self, photo: Photo) -> Entry:
        for i, folder in enumerate(self.manifest.folders):
            if photo.path.startswith(os.path.join(folder, "")):
                return i, os.path.relpath(photo.path, folder), photo.size, photo.mtime
        raise ValueError(f"{photo.path}: in none of the folders of {self.folder}")

    def _photo(self, entry: Entry) -> Photo:
        folder, path, size, mtime = entry
        return Photo(self.path_of(folder, path), size, mtime)


def _begin(folder: Path, manifest: Manifest) -> None:
    """Writes what a new gallery says of itself, if no other process has by now."""
    if (folder / MANIFEST_NAME).is_file():
        return
    if any(not path.name.startswith(".") for path in folder.iterdir()):
        raise FileExistsError(f"{folder}: holds other things and is not a gallery")
    manifest.write(folder)
