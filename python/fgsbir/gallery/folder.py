"""Photos of a folder, and the size and time of change that tell versions of a file apart."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..data.images import SUFFIXES
from .manifest import FILE_NAME as MANIFEST_NAME


class Photo(NamedTuple):
    """A photo's file as it was when last looked at.

    Attributes:
        path: absolute.
        size: in bytes.
        mtime: time of the last change, in nanoseconds.
    """

    path: str
    size: int
    mtime: int


@dataclass(frozen=True)
class Skipped:
    """A file, or a folder, that could not be read."""

    path: Path
    reason: str


class Found(NamedTuple):
    """What lies under a folder.

    Attributes:
        top: the folder, absolute.
        photos: in the order of their paths.
        skipped: folders that could not be looked into.
    """

    top: Path
    photos: list[Photo]
    skipped: list[Skipped]


def find_photos(photos: str | Path) -> Found:
    """All image files under a folder, at any depth.

    An image is a file with one of the endings of `fgsbir.data.images.SUFFIXES`. What is hidden is
    left out (thumbnails, a Mac's ``._`` files), and so are galleries; links to folders are not
    followed.

    Args:
        photos: a folder, or one image file.

    Raises:
        FileNotFoundError: there is no such folder or file.
        ValueError: it holds no images.
    """
    top = Path(photos).resolve()
    if top.is_file():
        return Found(top, [_photo(str(top))], [])
    if not top.is_dir():
        raise FileNotFoundError(f"no such folder: {photos}")
    closed: list[OSError] = []
    found = [_photo(path) for path in sorted(_image_files(top, closed))]
    if not found:
        raise ValueError(f"{photos}: no images; looked for {', '.join(sorted(SUFFIXES))}")
    return Found(top, found, [Skipped(Path(e.filename), e.strerror or str(e)) for e in closed])


def beside(photos: str | Path) -> Path:
    """Where the gallery of a folder of photos, or of one photo, lies unless it is told.

    Raises:
        ValueError: beside the folder is no place.
    """
    top = Path(os.path.abspath(photos))  # a link's own place, not that of what it leads to
    if not top.name:
        raise ValueError(f"out: expected a folder for the gallery of {photos}, got none")
    return top.with_name(f"{top.name}.gallery")


def printable(text: str) -> str:
    """A file's name for people: what is no character, or would steer a terminal, is replaced."""
    # A byte that is no character is a lone surrogate in Python's names of files.
    odd = r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]"
    return re.sub(odd, "\N{REPLACEMENT CHARACTER}", text)


def _image_files(top: Path, closed: list[OSError]) -> Iterator[str]:
    for folder, inner, names in os.walk(top, onerror=closed.append):
        if MANIFEST_NAME in names:  # a gallery, where its page keeps small copies of the photos
            inner.clear()
            continue
        inner[:] = [name for name in inner if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES:
                yield os.path.join(folder, name)


def _photo(path: str) -> Photo:
    try:
        status = os.stat(path)
    except OSError:  # a dangling link, or removed since it was listed: reading it will say so
        return Photo(path, -1, -1)
    return Photo(path, status.st_size, status.st_mtime_ns)
