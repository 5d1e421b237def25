"""Interface of a layout: one way in which sets of sketches and photos are stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .dataset import SketchPhotoSet


def never(path: str | Path) -> bool:
    """False: a category may be chosen of no path of the layout."""
    return False


class Layout(NamedTuple):
    """How to recognise a layout and to read it. A path is as the user gave it.

    Attributes:
        described: What an error calls it.
        detect: Whether a path is of this layout; False where nothing is there.
        load: One split of a path that was detected, by category and split; raises a ValueError for
            a category that the path does not have.
        has_categories: Whether a category may be chosen of a path that was detected.
    """

    described: str
    detect: Callable[[str | Path], bool]
    load: Callable[[str | Path, str | None, str], SketchPhotoSet]
    has_categories: Callable[[str | Path], bool] = never
