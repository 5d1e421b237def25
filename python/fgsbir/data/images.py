"""Images: their interface, files read when asked for, and views of others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .decoding import read_image

SIZE = 256
"""Pixels of the square that images are fitted into, as those of the QMUL benchmark are."""


class Images(Protocol):
    """Images of one kind: a stacked array, or anything that hands them out one at a time."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]: ...

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return (self[i] for i in range(len(self)))


class OfOneFile(Images):
    """Images that all lie in one file.

    Attributes:
        file: they lie in.
    """

    file: Path


class ImageFiles(Images):
    """Image files, decoded when asked for: see `read_image` for the arguments and errors."""

    def __init__(
        self, paths: Sequence[Path], *, mode: str | None = "RGB", size: int | None = None
    ) -> None:
        self.paths = tuple(paths)
        self.mode = mode
        self.size = size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        return read_image(self.paths[index], mode=self.mode, size=self.size)


class Chosen(Images):
    """Some images of a sequence, in a given order, fetched when asked for."""

    def __init__(self, source: Images, indices: NDArray[np.int64]) -> None:
        self.source = source
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        return self.source[int(self.indices[index])]


class Chained(Images):
    """The images of several sequences, one sequence after the other."""

    def __init__(self, parts: Sequence[Images]) -> None:
        self.parts = tuple(parts)

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        part, place = self.at(index)
        return part[place]

    def at(self, index: int) -> tuple[Images, int]:
        """The sequence that an image is of, and its number there."""
        place = range(len(self))[index]
        for part in self.parts:
            if place < len(part):
                break
            place -= len(part)
        return part, place


class Mirrored(Images):
    """Images flipped left to right."""

    def __init__(self, source: Images) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        return np.ascontiguousarray(self.source[index][:, ::-1])


def name_of(images: Images, index: int) -> str:
    """What to call an image in an error: its file, where it has one, or its number."""
    if isinstance(images, ImageFiles):
        return str(images.paths[index])
    if isinstance(images, Chosen):
        return name_of(images.source, int(images.indices[index]))
    if isinstance(images, Chained):
        return name_of(*images.at(index))
    if isinstance(images, OfOneFile):
        return f"{images.file}, drawing {index + 1}"
    return f"image {index}"


def choose(images: Images, indices: NDArray[np.int64]) -> Images:
    """``images[indices]``: a copy of a stacked array, a view of any other sequence."""
    return images[indices] if isinstance(images, np.ndarray) else Chosen(images, indices)
