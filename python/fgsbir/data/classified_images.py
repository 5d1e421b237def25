"""Sketches sorted into classes, for pretraining: folders, Quick, Draw!, or packed bits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .image_folders import list_all_images
from .images import Chained, ImageFiles, Images, choose
from .names import in_a_line, one_form
from .quick_draw import SUFFIXES as DRAWINGS
from .quick_draw import class_of, open_drawings

SPLITS = frozenset({"train", "test", "val", "valid", "validation", "dev"})
SKETCHES = frozenset({"sketch", "sketches"})
BOTH = SKETCHES | {"photo", "photos"}
TRANSFORM = re.compile(r"tx_\d+")  # of Sketchy: its folders hold the same images, placed otherwise
MOST = 0.5  # share of the images that lie deeper, from which a folder's own are not its class


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


def open_classes(path: str | Path, *, per_class: int | None = None) -> ClassifiedSketches:
    """Opens sketches sorted into classes.

    Args:
        path: one of

            * a folder that holds one folder of images (of any depth) for each class, itself or in
              the only folder in it, and so on; folders named after splits, or as Sketchy's are, are
              put together;
            * a folder of files of Quick, Draw!, one for each class: ``cat.npy`` of bitmaps, or
              ``cat.ndjson`` of strokes;
            * an ``.npz`` file with ``bits`` (n, H, W / 8) uint8, rows of packed bits with 1 for
              ink, ``labels`` (n,) integers, and ``classes`` (C,) names.
        per_class: take so many of each class, evenly spread over it; None for all.

    Raises:
        FileNotFoundError: there is nothing there.
        ValueError: nothing of that form is there, there are fewer than two classes, or `per_class`
            is below 1.
    """
    path = Path(path)
    if per_class is not None and per_class < 1:
        raise ValueError(f"per_class: expected 1 or more, got {per_class}")
    if not path.exists():
        raise FileNotFoundError(f"no such file or folder: {path}")
    sketches = _open_folder(path) if path.is_dir() else _open_file(path)
    if len(sketches.classes) < 2:
        raise ValueError(
            f"{path}: expected at least two classes, one folder of images or one file of Quick, "
            f"Draw! each, found {len(sketches.classes)}"
        )
    return sketches if per_class is None else _thinned(sketches, per_class)


def _thinned(sketches: ClassifiedSketches, per_class: int) -> ClassifiedSketches:
    members = [np.flatnonzero(sketches.labels == label) for label in range(len(sketches.classes))]
    spread = [
        of_class[np.linspace(0, len(of_class), min(per_class, len(of_class)), False, dtype=int)]
        for of_class in members
    ]
    chosen = np.concatenate(spread).astype(np.int64)
    return replace(sketches, images=choose(sketches.images, chosen), labels=sketches.labels[chosen])


def _open_folder(path: Path) -> ClassifiedSketches:
    listing = list_all_images(path, also_read=DRAWINGS)
    drawings = [file for file in listing.others if file.suffix.lower() in DRAWINGS]
    members: dict[str, list[Images]] = {}
    folders = _class_folders(path, listing.images)
    for name in sorted({*folders, *map(class_of, drawings)}):
        files = folders.get(name, [])
        members[name] = [ImageFiles(files, mode=None)] if files else []
        members[name] += [open_drawings(file) for file in drawings if class_of(file) == name]
    counts = {name: sum(map(len, parts)) for name, parts in members.items()}
    classes = tuple(name for name, count in counts.items() if count)
    images = Chained([part for name in classes for part in members[name]])
    labels = np.repeat(np.arange(len(classes)), [counts[name] for name in classes])
    return ClassifiedSketches(path.resolve().name, images, labels.astype(np.int64), classes)


def _class_folders(top: Path, images: Sequence[Path]) -> dict[str, list[Path]]:
    """The images of each class, by name; those that lie in no folder are of none."""
    inside = [(image.relative_to(top).parts, image) for image in images]
    while True:
        inside = [(parts, image) for parts, image in inside if len(parts) > 1]
        heads = {parts[0].casefold() for parts, _ in inside}
        chosen = heads & SKETCHES if heads <= BOTH else heads  # which may lie beside photos
        if len(chosen) != 1 and not chosen <= SPLITS and not all(map(TRANSFORM.fullmatch, chosen)):
            break
        under = [(parts, image) for parts, image in inside if parts[0].casefold() in chosen]
        deeper = [(parts[1:], image) for parts, image in under if len(parts) > 2]
        is_one_of_several = len(chosen) > 1 or chosen <= SPLITS
        if not deeper or (not is_one_of_several and len(deeper) < MOST * len(under)):
            break
        inside = deeper
    classes: dict[str, list[Path]] = {}
    for parts, image in inside:
        classes.setdefault(one_form(parts[0]), []).append(image)
    return classes


def _open_file(path: Path) -> ClassifiedSketches:
    if path.suffix.lower() in DRAWINGS:
        raise ValueError(
            f"{path}: is of one class; give the folder of the files of two classes or more"
        )
    return _open_packed(path)


def _open_packed(path: Path) -> ClassifiedSketches:
    try:
        with np.load(path) as stored:
            bits, labels, classes = (stored[key] for key in ("bits", "labels", "classes"))
    except Exception as error:  # NumPy and zipfile report damage in many ways
        raise ValueError(
            f"{path}: expected a folder of classes, or an .npz file with bits, labels and classes "
            f"({in_a_line(error)})"
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
