"""``fgsbir index``: make a gallery of a folder of photos."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, UseAppendAction, arg

if TYPE_CHECKING:
    from ..gallery import Gallery


@dataclass(frozen=True)
class Index:
    """Embed a folder of photos into a gallery, for `fgsbir search` and `fgsbir serve`.

    The same command again goes on where it was stopped, and later takes in what is new or changed
    and takes out what is gone. Files are told apart by path, size and time of change.

    Without a model of your own, photos are compared by a network from ImageNet, which needs no
    training and no sketches (and pip install 'fgsbir-ext[pretrained]').

    Example: fgsbir index photos

    Example: fgsbir index photos --model runs/shoes --out shoes.gallery
    """

    photos: Annotated[Positional[Path | None], arg(metavar="PHOTOS")] = None
    """Folder of images, at any depth, or one image. May be left out beside --moved or --forget."""
    out: Path | None = None
    """Folder of the gallery; PHOTOS.gallery beside the photos unless given."""
    model: Path | None = None
    """Folder that fgsbir train wrote. Left out, a gallery that is there keeps its model."""
    sketches: Path | None = None
    """Folder of sketches of the kind of thing in the photos, to calibrate a network without
    training; which photo each shows need not be known. Left out, edge maps of the photos are
    used."""
    index: str | None = None
    """How to search: exact (the default), faiss for millions of photos, or milvus:URI for a
    database on other machines; see docs/gallery.md."""
    moved: UseAppendAction[tuple[tuple[Path, Path], ...]] = ()
    """A folder of the gallery that was moved, and where it is now; may be given more than once."""
    forget: UseAppendAction[tuple[Path, ...]] = ()
    """A folder whose photos leave the gallery; may be given more than once."""
    picture: Path | None = None
    """Also draw the gallery into this file, similar photos side by side."""
    device: str = "cpu"
    """Where to embed: cpu, cuda, cuda:1 ..."""

    def run(self) -> None:
        from ..data.names import printable
        from ..gallery import Gallery
        from ..gallery.folder import beside, find_photos
        from ..gallery.manifest import read_manifest

        out = self.out
        if self.photos is not None:
            find_photos(self.photos)  # before anything is made
            out = out or beside(self.photos)
        elif out is None or not (self.moved or self.forget):
            raise ValueError("PHOTOS: expected a folder; or --out GALLERY with --moved or --forget")
        if self.moved or self.forget:
            read_manifest(out)  # which is not made for that
        gallery = Gallery.create(
            self.model, out, sketches=self.sketches, index=self.index, device=self.device
        )
        if self.moved:
            gallery.move(dict(self.moved))
        for folder in self.forget:
            said = f"{gallery.forget(folder)} photos of {folder} forgotten"
            print(printable(said), file=sys.stderr)
        done = self._add(gallery, self.photos) if self.photos is not None else ""
        print(f"{out}: {len(gallery)} photos{done}")
        if not len(gallery):
            return
        if self.picture is not None:
            from ..gallery.figures import draw_map

            draw_map(gallery, self.picture)
        shown = shlex.quote(str(out))
        print(f"Next: fgsbir search {shown} sketch.png, or fgsbir serve {shown}")

    def _add(self, gallery: Gallery, photos: Path) -> str:
        """Brings the gallery up to date with the photos; returns what that came to."""
        from ..data.names import printable

        try:
            added = gallery.add(photos, sketches=self.sketches, progress=True)
        except KeyboardInterrupt:
            print("\nThe same command goes on from here.", file=sys.stderr)
            raise
        for skipped in added.skipped:
            print(f"skipped: {printable(skipped.reason)}", file=sys.stderr)
        for note in added.notes:
            print(f"note: {printable(note)}", file=sys.stderr)
        if not len(gallery):
            raise ValueError(f"{photos}: none of the images could be read")
        return (
            f" ({added.count} embedded, {added.unchanged} as they were, {added.removed} removed, "
            f"{len(added.skipped)} skipped)"
        )
