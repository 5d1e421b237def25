"""Photos of a folder, and the size and time of change that tell versions of a file apart."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..data.image_folders import kinds_of, list_images
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
        others: files that are no images which are read.
    """

    top: Path
    photos: list[Photo]
    skipped: list[Skipped]
    others: list[Path]


def find_photos(photos: str | Path) -> Found:
    """All image files under a folder, at any depth.

    What is hidden is left out (thumbnails, a Mac's ``._`` files), and so are galleries; links to
    folders are not followed.

    Args:
        photos: a folder, or one image file.

    Raises:
        FileNotFoundError: there is no such folder or file.
        ValueError: it holds no images.
    """
    top = Path(os.path.abspath(photos))  # where it is a link, the link's own path
    if top.is_file():
        return Found(top, [_photo(top)], [], [])
    if not top.is_dir():
        raise FileNotFoundError(f"no such folder: {photos}")
    # A gallery's page keeps small copies of the photos in it.
    found = list_images(top, is_left_out=lambda names: MANIFEST_NAME in names)
    if not found.images and found.closed:
        raise found.closed[0]
    if not found.images:
        there = f"; there are {kinds_of(found.others)}" if found.others else ""
        raise ValueError(f"{photos}: no images of a kind that is read here{there}")
    closed = [Skipped(Path(e.filename), f"{e.filename}: {e.strerror}") for e in found.closed]
    return Found(top, [_photo(image) for image in found.images], closed, found.others)


def beside(photos: str | Path) -> Path:
    """Where the gallery of a folder of photos, or of one photo, lies unless it is told.

    Raises:
        ValueError: beside the folder is no place.
    """
    top = Path(os.path.abspath(photos))  # a link's own place, not that of what it leads to
    if not top.name:
        raise ValueError(f"out: expected a folder for the gallery of {photos}, got none")
    return top.with_name(f"{top.name}.gallery")


def _photo(path: Path) -> Photo:
    try:
        status = os.stat(path)
    except OSError:  # a dangling link, or removed since it was listed: reading it will say so
        return Photo(str(path), -1, -1)
    return Photo(str(path), status.st_size, status.st_mtime_ns)
