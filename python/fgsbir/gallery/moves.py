"""Folders of a gallery that were renamed, moved or lost, and links to them that moved on."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from .folder import Found, Photo
from .store import Store

MOST_LOST = 0.2
"""Share of the photos that a folder may have lost since it was renamed. More make it another one,
as the copy of a part of a folder on a disk that is not mounted."""


def known_as(store: Store, photos: str | Path) -> Path:
    """The path by which a gallery knows a folder or a photo: absolute, links in it kept.

    What a folder of the gallery is now, through whatever links, is that folder.
    """
    path = Path(os.path.abspath(photos))
    # Not Path.resolve(), which fails at links that lead in a circle.
    real = Path(os.path.realpath(path.parent if path.is_file() else path))
    real = real / path.name if path.is_file() else real
    for folder in store.manifest.folders:
        if real.is_relative_to(there := Path(os.path.realpath(folder))):
            return Path(folder) / real.relative_to(there)
    is_behind_a_link = any(path.is_relative_to(folder) for folder in store.manifest.folders)
    return real if is_behind_a_link else path


def take_over(store: Store, found: Found) -> str:
    """Recognises a folder of the gallery that was renamed or moved, by the photos in it.

    It is no longer where it was, and nearly all of its photos are in the new one by the same paths,
    sizes and times.

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
        lost = sum(_inside(photo, old) not in here for photo in photos)
        if lost <= MOST_LOST * len(photos):
            move(store, {old: found.top})
            return f"{old} is gone, and its photos lie in {found.top}: they were taken over"
    return ""


def notes_of_missing(store: Store) -> list[str]:
    """What to say of each folder that is gone with all its photos."""
    return [
        f"{folder} is gone, with {len(photos)} photos of the gallery; where it was moved, add "
        f"--moved {shlex.quote(folder)} NEW, else --forget {shlex.quote(folder)}"
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


def move(store: Store, moved: Mapping[Path | str, Path | str]) -> None:
    """Has the photos under folders lie under other ones, all at once.

    Those that the gallery has there already are kept as they are.

    Args:
        store: open for writing.
        moved: where what was in a folder is now.

    Raises:
        FileNotFoundError: there is no folder to move to.
        ValueError: the gallery has neither the one folder nor the other, or none of the photos is
            where it would be.
    """
    folders = store.manifest.folders
    renamed: dict[str, str] = {}
    for new in moved.values():
        if not os.path.isdir(new):
            raise FileNotFoundError(f"moved: no such folder: {new}")
    for old, new in moved.items():
        after = os.path.abspath(new)
        inside = {
            folder: os.path.normpath(os.path.join(after, os.path.relpath(folder, spelling)))
            for folder in folders
            for spelling in _spellings(store, old)
            if Path(folder).is_relative_to(spelling)
        }
        # Where it is there already, an earlier call has done it.
        if not inside and not any(Path(after).is_relative_to(folder) for folder in folders):
            listed = ", ".join(dict.fromkeys(folders)) or "none"
            raise ValueError(f"moved: {old} is no folder of the gallery; its folders are {listed}")
        if inside and not any(_is_there(store, inside)):
            raise ValueError(f"moved: none of the photos of {old} is in {new}")
        renamed |= inside
    before = store.photos()
    store.rename(renamed)
    by_path: dict[str, list[int]] = {}
    for number, photo in store.photos().items():
        by_path.setdefault(photo.path, []).append(number)
    for path, numbers in by_path.items():
        numbers.sort(key=lambda number: before[number].path != path)
    store.remove(number for numbers in by_path.values() for number in numbers[1:])


def _is_there(store: Store, renamed: Mapping[str, str]) -> Iterator[bool]:
    """Of each photo whether it is where it would be."""
    for photo in store.photos().values():
        for old, new in renamed.items():
            if _is_under(photo, old):
                yield os.path.exists(os.path.join(new, os.path.relpath(photo.path, old)))


def forget(store: Store, folder: str | Path) -> int:
    """Takes all photos under a folder out of a gallery, whether or not it is there.

    Args:
        store: open for writing.
        folder: any folder, one of the gallery's or one inside or around those.

    Returns:
        How many there were.
    """
    spellings = _spellings(store, folder)
    gone = [
        number
        for number, photo in store.photos().items()
        if any(_is_under(photo, path) for path in spellings)
    ]
    store.remove(gone)
    return len(gone)


def _spellings(store: Store, folder: str | Path) -> set[str]:
    """Paths by which a folder may be known that need not be there any more."""
    return {os.path.abspath(folder), os.path.realpath(folder), str(known_as(store, folder))}


def _is_under(photo: Photo, folder: str) -> bool:
    return photo.path.startswith(os.path.join(folder, ""))


def _inside(photo: Photo, folder: str) -> Photo:
    return photo._replace(path=os.path.relpath(photo.path, folder))
