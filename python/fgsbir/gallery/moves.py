"""Folders of a gallery that were renamed, moved or lost, and links to them that moved on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from .folder import Found, Photo
from .store import Store

Known = Mapping[int, Photo]


def known_as(store: Store, photos: str | Path) -> Path:
    """The path by which a gallery knows a folder or a photo: absolute, links in it kept.

    What a folder of the gallery is now, through whatever links, is that folder.
    """
    path = Path(os.path.abspath(photos))
    real = path.parent.resolve() / path.name if path.is_file() else path.resolve()
    for folder in store.manifest.folders:
        if real.is_relative_to(there := Path(folder).resolve()):
            return Path(folder) / real.relative_to(there)
    is_behind_a_link = any(path.is_relative_to(folder) for folder in store.manifest.folders)
    return real if is_behind_a_link else path


def take_over(store: Store, found: Found) -> str:
    """Recognises a folder of the gallery that was renamed or moved, by the photos in it.

    It is no longer where it was, and half of its photos or more are in the new one by the same
    paths, sizes and times.

    Args:
        store: open for writing.
        found: what lies in a folder.

    Returns:
        A note of it; empty where there is no such folder.
    """
    if any(found.top.is_relative_to(folder) for folder in store.manifest.folders):
        return ""
    here = {_inside(photo, str(found.top)) for photo in found.photos}
    for old, photos in missing(store).items():
        there = [_inside(photo, old) for photo in photos]
        if 2 * sum(photo in here for photo in there) >= len(there):
            move(store, old, found.top)
            return f"{old} is gone, and its photos lie in {found.top}: they were taken over"
    return ""


def notes_of_missing(store: Store) -> list[str]:
    """What to say of each folder that is gone with all its photos."""
    return [
        f"{folder} is gone, with {len(photos)} photos of the gallery; where it was moved, add "
        f"--moved {folder} NEW, else --forget {folder}"
        for folder, photos in missing(store).items()
    ]


def missing(store: Store) -> dict[str, list[Photo]]:
    """The folders with photos in the gallery that are no longer there, and those photos."""
    gone = [folder for folder in store.manifest.folders if not os.path.isdir(folder)]
    if not gone:
        return {}
    photos = store.photos().values()
    under = {folder: [p for p in photos if _is_under(p, folder)] for folder in gone}
    return {folder: those for folder, those in under.items() if those}


def move(store: Store, old: str | Path, new: str | Path) -> None:
    """Has the photos of one of the gallery's folders lie in another one.

    Those that the gallery has there already are kept as they are.

    Args:
        store: open for writing.
        old: as the gallery knows it, or a path that leads there.
        new: where its photos are now.

    Raises:
        FileNotFoundError: there is no folder `new`.
        ValueError: the gallery has neither a folder `old` nor one `new`.
    """
    if not os.path.isdir(new):
        raise FileNotFoundError(f"moved: no such folder: {new}")
    before = {str(folder) for folder in _spellings(old)} & set(store.manifest.folders)
    after = Path(os.path.abspath(new))
    if not before:
        if any(after.is_relative_to(folder) for folder in store.manifest.folders):
            return  # of an earlier call
        listed = ", ".join(store.manifest.folders) or "none"
        raise ValueError(f"moved: {old} is no folder of the gallery; its folders are {listed}")
    folder = min(before)
    photos = store.photos()
    own = [number for number, photo in photos.items() if _is_under(photo, folder)]
    others = {photo.path for photo in photos.values() if not _is_under(photo, folder)}
    twice = [n for n in own if str(after / os.path.relpath(photos[n].path, folder)) in others]
    store.remove(twice)
    store.rename(folder, after)


def forget(store: Store, folder: str | Path) -> int:
    """Takes all photos under a folder out of a gallery, whether or not it is there.

    Args:
        store: open for writing.
        folder: any folder, one of the gallery's or one inside or around those.

    Returns:
        How many there were.
    """
    spellings = _spellings(folder)
    gone = [
        number
        for number, photo in store.photos().items()
        if any(_is_under(photo, str(path)) for path in spellings)
    ]
    store.remove(gone)
    return len(gone)


def _spellings(folder: str | Path) -> Iterable[Path]:
    """Paths by which a folder may be known that need not be there any more."""
    path = Path(os.path.abspath(folder))
    return {path, path.resolve()}


def _is_under(photo: Photo, folder: str) -> bool:
    return photo.path.startswith(os.path.join(folder, ""))


def _inside(photo: Photo, folder: str) -> Photo:
    return photo._replace(path=os.path.relpath(photo.path, folder))
