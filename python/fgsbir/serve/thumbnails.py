"""Thumbnails of the gallery's photos, made once and kept on disk."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from ..atomic_files import write_atomically
from ..data.decoding import decode, to_array

if TYPE_CHECKING:
    from ..gallery import Gallery

THUMBNAIL_SIDE = 320
LARGE_SIDE = 960
QUALITY = 85
PREPARED = 20_000  # photos, 200 MB of thumbnails; others get theirs when first asked for

log = logging.getLogger("fgsbir.serve")


class Thumbnails:
    """JPEG copies of photos, at most `THUMBNAIL_SIDE` or `LARGE_SIDE` pixels on a side.

    Only the small ones are kept, about 10 KB each, in files named after what the photo's own file
    looked like: a photo that changes gets a new one. Thread-safe.
    """

    def __init__(self, folder: Path | None, workers: int) -> None:
        """Without a folder none are kept.

        Of requests, `workers` unpack at a time: a photo may take hundreds of megabytes.
        """
        self.folder = folder
        self._unpacking = threading.Semaphore(workers + 1)  # one for the thread in the background

    def version(self, photo: Path) -> str:
        """A short text that changes whenever the photo's file does.

        Raises:
            OSError: The photo is gone.
        """
        state = photo.stat()
        if not stat.S_ISREG(state.st_mode):  # to open a pipe would wait for whoever writes into it
            raise FileNotFoundError(f"no such file: {photo}")
        facts = f"{photo}\0{state.st_mtime_ns}\0{state.st_size}\0{THUMBNAIL_SIDE}\0{QUALITY}"
        return hashlib.sha256(facts.encode(errors="surrogateescape")).hexdigest()[:20]

    def small(self, photo: Path) -> bytes:
        """The thumbnail of a photo.

        Raises:
            OSError: The photo is gone.
            ValueError: It can't be decoded.
        """
        file = self._file(photo)
        if file is None:
            return self._jpeg(photo, THUMBNAIL_SIDE)
        try:
            return file.read_bytes()
        except OSError:  # not made yet, mostly
            content = self._jpeg(photo, THUMBNAIL_SIDE)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, content)
        except OSError as error:  # a full disk keeps no thumbnails, but shows photos
            log.warning("no thumbnail kept: %s", error)
        return content

    def large(self, photo: Path) -> bytes:
        """A copy to look at closely; errors as those of `small`."""
        return self._jpeg(photo, LARGE_SIDE)

    @contextmanager
    def prepared_in_background(self, gallery: Gallery) -> Iterator[None]:
        """Makes those of the first `PREPARED` photos in a thread, which ends with the context."""
        stop = threading.Event()
        thread = threading.Thread(target=self._prepare, args=(gallery, stop), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _prepare(self, gallery: Gallery, stop: threading.Event) -> None:
        if sys.platform == "linux":  # the priority of this thread alone: searches go first
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        for index in gallery.numbers(PREPARED):
            if stop.is_set():
                return
            try:
                photo = gallery.photo_path(index)
                if (file := self._file(photo)) is not None and not file.exists():
                    self.small(photo)
            except (IndexError, OSError, ValueError) as error:  # IndexError: removed by now
                log.warning("no thumbnail of photo %d: %s", index, error)

    def _jpeg(self, photo: Path, side: int) -> bytes:
        with self._unpacking:
            return _jpeg(photo, side)

    def _file(self, photo: Path) -> Path | None:
        version = self.version(photo)
        return None if self.folder is None else self.folder / version[:2] / f"{version}.jpg"


def _jpeg(path: Path, side: int) -> bytes:
    def decoded(photo: Image.Image) -> Image.Image:
        photo.draft("RGB", (2 * side, 2 * side))  # of a JPEG no more than is needed
        return Image.fromarray(to_array(photo))

    try:
        image = decode(path, decoded)
    except FileNotFoundError:
        raise
    except Exception as error:  # Pillow's plugins report damage in many ways
        raise ValueError(f"cannot decode image: {path} ({error})") from error
    image.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    content = io.BytesIO()
    image.save(content, "JPEG", quality=QUALITY)
    return content.getvalue()
