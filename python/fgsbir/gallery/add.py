"""Adding photos to a gallery: only new ones, resuming where a killed run stopped."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from ..data.image_folders import kinds_of
from .calibrate import calibrate, read_sketches
from .encoder import Encoder
from .folder import Found, Photo, Skipped, find_photos
from .moves import known_as, notes_of_missing, take_over
from .read_files import read_files
from .store import Store

BATCH = 64  # photos between two writes: what a kill can cost
NOTE_ALIKE = "all photos look the same to the network, so none is nearer to a sketch than another"
NOTE_ONE = "there is one photo, which is found whatever is drawn"
NO_SKETCHES = "sketches: expected none with a model that learned from sketches in training"


@dataclass(frozen=True)
class Added:
    """What bringing a gallery up to date with a folder came to.

    Attributes:
        count: photos embedded, new ones and changed ones.
        unchanged: photos that were there already, by path, size and time of change.
        skipped: what could not be read, and why.
        removed: photos taken out, since their files are gone.
        notes: what else there is to know, a sentence each.
    """

    count: int
    unchanged: int
    skipped: list[Skipped]
    removed: int
    notes: tuple[str, ...] = ()


def add_photos(
    store: Store,
    encoder: Encoder,
    photos: str | Path,
    *,
    sketches: str | Path | None = None,
    progress: bool = False,
) -> Added:
    """Brings a gallery up to date with a folder; arguments and errors as of `Gallery.add`."""
    if sketches is not None and not store.manifest.calibrated:
        raise ValueError(NO_SKETCHES)
    drawn = None if sketches is None else read_sketches(sketches)
    with store.writing():
        found = find_photos(known_as(store, photos))
        taken_over = take_over(store, found)
        known = {photo.path: (number, photo) for number, photo in store.photos().items()}
        gone = [known[path][0] for path in _gone(known, found)]
        new = [photo for photo in found.photos if known.get(photo.path, (0, None))[1] != photo]
        store.remove([*gone, *(known[photo.path][0] for photo in new if photo.path in known)])
        store.include(found.top if found.top.is_dir() else found.top.parent)
        unreadable = _embed(store, encoder, new, progress)
        if store.manifest.calibrated:
            calibrate(store, encoder, drawn)
    return Added(
        count=len(new) - len(unreadable),
        unchanged=len(found.photos) - len(new),
        skipped=[*found.skipped, *unreadable, *(drawn.skipped if drawn else ())],
        removed=len(gone),
        notes=tuple(filter(None, (taken_over, *_notes(store, found)))),
    )


def _notes(store: Store, found: Found) -> Iterator[str]:
    if found.others:
        yield f"not read: {kinds_of(found.others)}"
    yield from notes_of_missing(store)
    if store.calibration is not None and store.calibration.alike:
        yield NOTE_ALIKE if len(store.calibration.sample) > 1 else NOTE_ONE


def _gone(known: Iterable[str], found: Found) -> list[str]:
    """Paths of the gallery that are no longer in the folder, as far as it could be looked into."""
    there = {photo.path for photo in found.photos}
    closed = tuple(os.path.join(skipped.path, "") for skipped in found.skipped)
    inside = os.path.join(found.top, "")
    return [
        path
        for path in known
        if path.startswith(inside) and path not in there and not path.startswith(closed)
    ]


def _embed(
    store: Store, encoder: Encoder, photos: Sequence[Photo], progress: bool
) -> list[Skipped]:
    """Embeds and stores photos, one batch after another; returns those that cannot be read."""
    skipped: list[Skipped] = []
    shown = progress and bool(photos)
    with tqdm(total=len(photos), desc="photos", unit="photo", disable=not shown) as bar:
        for start in range(0, len(photos), BATCH):
            batch = {photo.path: photo for photo in photos[start : start + BATCH]}
            inks, unreadable = read_files(encoder.photo_ink, list(batch))
            skipped += unreadable
            if inks:
                store.append([batch[path] for path in inks], encoder.embed(list(inks.values())))
            bar.update(len(batch))
    return skipped
