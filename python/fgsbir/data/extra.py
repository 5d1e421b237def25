"""Further training data: more sketches of the photos, and photos that nobody sketched."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..config import ExtraData
from .dataset import SketchPhotoSet
from .edges import PhotoEdges
from .image_folders import list_all_images
from .images import SIZE, Chained, ImageFiles, Mirrored

# Of the benchmark's train shoes: their extra sketches show other shoes.
MISDRAWN = (111, 273, 290)
_NAME = re.compile(r"(\d+)_\d+")


def with_extra(sets: Sequence[SketchPhotoSet], extra: ExtraData) -> list[SketchPhotoSet]:
    """The sets to train on: the given ones with more sketches, and one of photos alone.

    Raises:
        FileNotFoundError: A folder does not exist.
        ValueError: None of the sets is of train shoes; a folder has nothing that fits.
    """
    result = list(sets)
    if extra.extra_sketches is not None:
        if not any(map(_of_train_shoes, sets)):
            names = ", ".join(one.name for one in sets)
            raise ValueError(f"extra_sketches: are of the benchmark's train shoes, got {names}")
        result = [
            add_shoe_sketches(one, extra.extra_sketches) if _of_train_shoes(one) else one
            for one in sets
        ]
    if extra.extra_photos is not None:
        result.append(load_photos(extra.extra_photos, mirror=extra.mirror_extra_photos))
    return result


def _of_train_shoes(data: SketchPhotoSet) -> bool:
    return data.name.split(" ")[0] == "shoes/train"


def add_shoe_sketches(data: SketchPhotoSet, folder: str | Path) -> SketchPhotoSet:
    """Train shoes, or some of them, with further sketches behind their own.

    Args:
        data: of :func:`fgsbir.data.load_sbir`; of the sketches only those of its photos are taken.
        folder: images ``{label}_{number}.png``, each a sketch of the photo of that label. Those of
            111, 273 and 290 are left out: they show other shoes.

    Returns:
        The set; a further sketch has the attributes of its photo, since nobody annotated it.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: It has no sketch of any of the photos.
    """
    place = {int(label): i for i, label in enumerate(data.photo_labels) if label not in MISDRAWN}
    found = []
    for path in _images(Path(folder)):
        match = _NAME.fullmatch(path.stem)
        if match and int(match[1]) in place:
            found.append((int(match[1]), path))
    if not found:
        raise ValueError(f"{folder}: no sketch PHOTO_NUMBER.png of a photo of {data.name}")
    labels = [label for label, _ in found]
    attributes = data.sketch_attributes
    if attributes is not None and data.photo_attributes is not None:
        guessed = data.photo_attributes[[place[label] for label in labels]]
        attributes = np.concatenate([attributes, guessed])
    sketches = ImageFiles([path for _, path in found], mode=None)
    return replace(
        data,
        name=f"{data.name} with {len(found)} extra sketches",
        sketches=Chained([data.sketches, sketches]),
        sketch_labels=np.concatenate([data.sketch_labels, np.array(labels, dtype=np.int64)]),
        sketch_attributes=attributes,
    )


def load_photos(folder: str | Path, *, mirror: bool = False) -> SketchPhotoSet:
    """Photos alone as a set to train on: the edges of each stand in for its sketch.

    Augmentation bends the two apart. What is learnt is to tell one photo from all others by its
    lines, without attributes.

    Args:
        folder: image files; folders in it are not looked into.
        mirror: whether to flip all left to right, for photos that face the other way.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: It has fewer than two images.
    """
    files = _images(Path(folder))
    if len(files) < 2:
        raise ValueError(f"{folder}: expected at least two images, got {len(files)}")
    photos = ImageFiles(files, size=SIZE)
    shown = Mirrored(photos) if mirror else photos
    edges = PhotoEdges(shown)
    labels = np.arange(len(files))
    return SketchPhotoSet(Path(folder).resolve().name, edges, edges, shown, labels, labels)


def _images(folder: Path) -> list[Path]:
    return list_all_images(folder, deep=False).images
