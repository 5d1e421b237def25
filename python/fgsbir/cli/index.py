"""``fgsbir index``: make a gallery of a folder of photos."""

from __future__ import annotations

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

    Example: fgsbir index photos --model runs/shoes --out shoes.gallery
    """

    photos: Annotated[Positional[Path], arg(metavar="PHOTOS")]
    """Folder of images, at any depth, or one image."""
    out: Path
    """Folder of the gallery."""
    model: Path | None = None
    """Folder that fgsbir train wrote; may be left out where the gallery is there already."""
    index: str | None = None
    """How to search: exact (the default), faiss for millions of photos, or milvus:URI for a
    database on other machines; see docs/gallery.md."""
    picture: Path | None = None
    """Also draw the gallery into this file, similar photos side by side."""
    device: str = "cpu"
    """Where to embed: cpu, cuda, cuda:1 ..."""

    def run(self) -> None:
        from ..gallery import Gallery
        from ..gallery.folder import find_photos, printable

        find_photos(self.photos)  # before anything is made
        if self.model is None and not (self.out / "gallery.json").is_file():
            raise ValueError(f"{self.out}: no gallery yet; --model RUN makes one")
        model = self.model or self.out  # which holds a copy
        gallery = Gallery.create(model, self.out, index=self.index, device=self.device)
        try:
            added = gallery.add(self.photos, progress=True)
        except KeyboardInterrupt:
            print("\nThe same command goes on from here.", file=sys.stderr)
            raise
        for skipped in added.skipped:
            print(f"skipped: {printable(skipped.reason)}", file=sys.stderr)
        print(
            f"{self.out}: {len(gallery)} photos ({added.count} embedded, {added.unchanged} as they "
            f"were, {added.removed} removed, {len(added.skipped)} skipped)"
        )
        if not len(gallery):
            raise ValueError(f"{self.photos}: none of the images could be read")
        if self.picture is not None:
            from ..gallery.figures import draw_map

            draw_map(gallery, self.picture)
        print(f"Next: fgsbir search {self.out} sketch.png, or fgsbir serve {self.out}")
