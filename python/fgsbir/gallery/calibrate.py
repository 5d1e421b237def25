"""Bringing the calibration of a gallery up to date with its photos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ..sketches import SketchReading, read_sketch
from .calibration import Calibration, choose_sample, key_of, make_calibration
from .encoder import Encoder
from .folder import Photo, Skipped, find_photos
from .read_files import read_files
from .store import Store


class UserSketches(NamedTuple):
    """Sketches of a folder, to calibrate with.

    Attributes:
        read: those that can be read, one at least.
        skipped: those that cannot.
    """

    read: list[SketchReading]
    skipped: list[Skipped]


def read_sketches(folder: str | Path) -> UserSketches:
    """Reads as many sketches of a folder as a calibration takes.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: none of its images is a sketch.
    """
    found = dict(enumerate(find_photos(folder).photos))
    files = [found[i].path for i in choose_sample(found)]
    read, skipped = read_files(lambda file: read_sketch(Path(file)), files)
    if not read:
        raise ValueError(f"{folder}: none of the images is a sketch that can be read")
    return UserSketches(list(read.values()), skipped)


def calibrate(store: Store, encoder: Encoder, sketches: UserSketches | None = None) -> None:
    """Makes the calibration of a gallery anew where its photos or its sketches have changed.

    Args:
        store: open for writing.
        encoder: of the gallery's model.
        sketches: to calibrate with from now on; None to go on with those of an earlier call, or
            with edge maps of photos where there were none.

    Raises:
        ValueError: there is no calibration yet, and none of the photos can be read any more.
    """
    photos, old = store.photos(), store.calibration
    numbers = choose_sample(photos)
    sample = [key_of(photos[number]) for number in numbers]
    if not sample or (sketches is None and old is not None and list(old.sample) == sample):
        return
    edges: dict[str, Tensor] = {}
    if sketches is not None:
        drawn = encoder.embed([encoder.sketch_ink(read) for read in sketches.read]).embedding
    elif old is not None and not old.edges_of:
        drawn = old.sketches
    else:
        edges = _edge_maps(encoder, [photos[number] for number in numbers], old)
        if not edges and old is not None:
            return  # a disk that is not mounted, say
        if not edges:
            raise ValueError(f"{store.folder}: none of its photos can be read any more")
        drawn = torch.stack(list(edges.values()))
    store.recalibrate(
        make_calibration(
            sample,
            store.embeddings(numbers),
            drawn,
            encoder.model.map_channels,
            edges_of=list(edges),
        )
    )


def _edge_maps(
    encoder: Encoder, sample: Sequence[Photo], old: Calibration | None
) -> dict[str, Tensor]:
    """Embeddings (D,) of the edge maps of a sample, by key, of those photos that can be read."""
    known = {} if old is None else dict(zip(old.edges_of, old.sketches, strict=True))
    keys = {photo.path: key_of(photo) for photo in sample}
    new = [path for path, key in keys.items() if key not in known]
    inks, _ = read_files(encoder.edge_ink, new)
    if inks:
        rows = encoder.embed(list(inks.values())).embedding
        known |= {keys[path]: row for path, row in zip(inks, rows, strict=True)}
    return {key: known[key] for key in keys.values() if key in known}
