"""``fgsbir index``: make a gallery of a folder of photos."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg


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

    photos: Annotated[Positional[Path], arg(metavar="PHOTOS")]
    """Folder of images, at any depth, or one image."""
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
    picture: Path | None = None
    """Also draw the gallery into this file, similar photos side by side."""
    device: str = "cpu"
    """Where to embed: cpu, cuda, cuda:1 ..."""

    def run(self) -> None:
        from ..gallery import Gallery
        from ..gallery.folder import beside, find_photos, printable

        find_photos(self.photos)  # before anything is made
        out = self.out or beside(self.photos)
        gallery = Gallery.create(
            self.model, out, sketches=self.sketches, index=self.index, device=self.device
        )
        try:
            added = gallery.add(self.photos, sketches=self.sketches, progress=True)
        except KeyboardInterrupt:
            print("\nThe same command goes on from here.", file=sys.stderr)
            raise
        for skipped in added.skipped:
            print(f"skipped: {printable(skipped.reason)}", file=sys.stderr)
        if added.note:
            print(f"note: {added.note}", file=sys.stderr)
        print(
            f"{out}: {len(gallery)} photos ({added.count} embedded, {added.unchanged} as they "
            f"were, {added.removed} removed, {len(added.skipped)} skipped)"
        )
        if not len(gallery):
            raise ValueError(f"{self.photos}: none of the images could be read")
        if self.picture is not None:
            from ..gallery.figures import draw_map

            draw_map(gallery, self.picture)
        shown = shlex.quote(str(out))
        print(f"Next: fgsbir search {shown} sketch.png, or fgsbir serve {shown}")
