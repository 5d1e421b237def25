"""Sketches sorted into classes, for pretraining: a folder a class, or TU-Berlin as packed bits."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .images import SUFFIXES, ImageFiles, Images


@dataclass(frozen=True)
class ClassifiedSketches:
    """Line images of C classes.

    Attributes:
        name: for messages and logs.
        images: n images uint8, of anything that `fgsbir.sketches.read_sketch` takes.
        labels: (n,) int64 in [0, C).
        classes: the C names.
    """

    name: str
    images: Images
    labels: NDArray[np.int64]
    classes: tuple[str, ...]


class PackedImages(Images):
    """Images of one bit a pixel, 1 for ink: (n, H, W / 8) uint8, unpacked when asked for."""

    def __init__(self, bits: NDArray[np.uint8]) -> None:
        self.bits = bits

    def __len__(self) -> int:
        return len(self.bits)

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        return 255 * (1 - np.unpackbits(self.bits[index], axis=-1))


def open_classes(path: str | Path) -> ClassifiedSketches:
    """Opens sketches sorted into classes.

    Args:
        path: a folder that holds one folder of images (of any depth) for each class, or an
            ``.npz`` file with ``bits`` (n, H, W / 8) uint8, rows of packed bits with 1 for ink,
            ``labels`` (n,) integers, and ``classes`` (C,) names.

    Raises:
        FileNotFoundError: there is nothing there.
        ValueError: nothing of that form is there, or there are fewer than two classes.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no such file or folder: {path}")
    sketches = _open_folder(path) if path.is_dir() else _open_packed(path)
    if len(sketches.classes) < 2:
        raise ValueError(
            f"{path}: expected at least two classes, one folder of images each, found "
            f"{len(sketches.classes)}"
        )
    return sketches


def _open_folder(path: Path) -> ClassifiedSketches:
    members = {
        folder.name: sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
        for folder in sorted(path.iterdir())
        if folder.is_dir()
    }
    members = {name: files for name, files in members.items() if files}
    labels = np.repeat(np.arange(len(members)), [len(files) for files in members.values()])
    files = [file for folder in members.values() for file in folder]
    return ClassifiedSketches(
        path.name, ImageFiles(files, mode=None), labels.astype(np.int64), tuple(members)
    )


def _open_packed(path: Path) -> ClassifiedSketches:
    try:
        with np.load(path) as stored:
            bits, labels, classes = (stored[key] for key in ("bits", "labels", "classes"))
    except (KeyError, ValueError, OSError, TypeError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path}: expected a folder of classes, or an .npz file with bits, labels and classes "
            f"({error})"
        ) from error
    labels = labels.astype(np.int64)
    if bits.ndim != 3 or bits.dtype != np.uint8 or labels.shape != (len(bits),):
        raise ValueError(
            f"{path}: expected bits (n, H, W / 8) uint8 and labels (n,), got {bits.dtype} "
            f"{bits.shape} and {labels.shape}"
        )
    if len(labels) and not (labels.min() >= 0 and labels.max() < len(classes)):
        raise ValueError(f"{path}: expected labels in [0, {len(classes)})")
    return ClassifiedSketches(
        path.stem, PackedImages(bits), labels, tuple(str(name) for name in classes)
    )
