"""Image files of a folder: which are looked at, which are left out, and which are of no use."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from .names import printable

# Of the formats that Pillow knows by name, those that need another program, or are not decoded.
UNDECODED = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})
# What systems leave in folders, beside names that begin with a dot.
SYSTEM_NAMES = frozenset(
    {
        "__macosx",
        "@eadir",
        "#recycle",
        "@recycle",
        "$recycle.bin",
        "system volume information",
        "lost+found",
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
    }
)
NAMED = 5  # kinds of files that are not read, before the rest is summed up


class Listing(NamedTuple):
    """What was found in a folder.

    Attributes:
        images: in the order of their paths.
        others: visible files that are no images which are read, in that order.
        closed: errors of folders that could not be looked into.
    """

    images: list[Path]
    others: list[Path]
    closed: list[OSError]


def image_suffixes() -> frozenset[str]:
    """Endings, in lower case, of the files that Pillow reads as it is installed here."""
    Image.init()
    return frozenset(
        suffix
        for suffix, kind in Image.registered_extensions().items()
        if kind in Image.OPEN and kind not in UNDECODED
    )


def is_hidden(name: str) -> bool:
    """Whether a file or a folder of this name is not the user's own: hidden, or the system's."""
    return name.startswith(".") or name.casefold() in SYSTEM_NAMES


def list_images(
    folder: Path,
    *,
    deep: bool = True,
    follow: bool = False,
    is_left_out: Callable[[Sequence[str]], bool] = lambda names: False,
) -> Listing:
    """The image files of a folder, without what is hidden.

    Args:
        folder: to look into.
        deep: whether to look into the folders in it, too.
        follow: whether to follow links to folders; none is looked into twice.
        is_left_out: by the names of the files in a folder, whether to pass over all of it.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder: {folder}")
    closed: list[OSError] = []
    suffixes = image_suffixes()
    images: list[Path] = []
    others: list[Path] = []
    for file in sorted(_visible_files(folder, deep, follow, is_left_out, closed)):
        is_image = os.path.splitext(file)[1].lower() in suffixes
        (images if is_image else others).append(Path(file))
    return Listing(images, others, closed)


def kinds_of(files: Sequence[Path]) -> str:
    """How many files there are of each ending, in words; empty for none."""
    counts = Counter(file.suffix.lower() for file in files).most_common()
    shown = [f"{count} {printable(suffix) or 'without an ending'}" for suffix, count in counts]
    if len(shown) > NAMED:
        rest = sum(count for _, count in counts[NAMED:])
        shown[NAMED:] = [f"{rest} of other kinds"]
    return ", ".join(shown)


def list_all_images(folder: Path, *, deep: bool = True, also_read: Collection[str] = ()) -> Listing:
    """The same of a folder to learn from: links are followed, and what is not read is warned of.

    Args:
        folder, deep: as of `list_images`.
        also_read: endings of other files that are read.

    Raises:
        OSError: a folder cannot be looked into, or is not there; names it.
    """
    listing = list_images(folder, deep=deep, follow=True)
    for error in listing.closed:
        raise error
    left_out = [file for file in listing.others if file.suffix.lower() not in also_read]
    if left_out:
        warnings.warn(f"{folder}: not read: {kinds_of(left_out)}", stacklevel=3)
    return listing


def _visible_files(
    top: Path,
    deep: bool,
    follow: bool,
    is_left_out: Callable[[Sequence[str]], bool],
    closed: list[OSError],
) -> Iterator[str]:
    seen: set[str] = set()
    for folder, inner, names in os.walk(top, onerror=closed.append, followlinks=follow):
        real = os.path.realpath(folder) if follow else folder
        if real in seen or is_left_out(names):
            inner.clear()
            continue
        seen.add(real)
        inner[:] = [name for name in inner if deep and not is_hidden(name)]
        yield from (os.path.join(folder, name) for name in names if not is_hidden(name))
