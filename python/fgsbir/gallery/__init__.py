"""Galleries: a folder of photos, embedded once, searched by sketch.

from fgsbir.gallery import Gallery

gallery = Gallery.build("photos")  # or with model="runs/shoes", which fgsbir train left
for match in gallery.search("sketch.png", k=10):
    print(match.path, match.distance)
"""

from .add import Added
from .folder import Skipped
from .gallery import Gallery
from .match import Match

__all__ = ["Added", "Gallery", "Match", "Skipped"]
