"""Opening of a split by its path, whatever its layout."""

from __future__ import annotations

from pathlib import Path

from .dataset import SketchPhotoSet
from .layout import Layout
from .pair_files import CSV_FILE, PAIR_FOLDER
from .procedural.dataset import SYNTHETIC
from .sbir import QMUL

LAYOUTS: tuple[Layout, ...] = (CSV_FILE, SYNTHETIC, PAIR_FOLDER, QMUL)
"""All layouts; the first that detects a path opens it."""


def open_dataset(
    path: str | Path,
    category: str | None = None,
    split: str = "train",
    *,
    default_category: str | None = None,
) -> SketchPhotoSet:
    """Open one split of a set of sketches and photos.

    Args:
        path: One of

            * the QMUL benchmark: the folder that holds ``shoes/`` and ``chairs/``, a folder that
              holds ``sbir_cvpr2016/``, or the folder of one category (`fgsbir.data.load_sbir`);
            * a CSV file, or a folder with ``photos/`` and ``sketches/``, of one's own pairs
              (`fgsbir.data.load_csv`, `fgsbir.data.load_folder`);
            * ``"synthetic"``, with options as ``"synthetic:shoes?seed=0&count=200&size=256"``
              (`fgsbir.data.load_synthetic`); a folder of that name is ``"./synthetic"``.
        category: ``"shoes"`` or ``"chairs"``; own pairs have no categories.
        split: ``"train"`` or ``"test"``.
        default_category: The category where the data has some and none was chosen.

    Raises:
        FileNotFoundError: The path, or a file that the set needs, does not exist.
        ValueError: Nothing known is there, or it is wrong; says what was looked for.
    """
    layout = _layout_of(path)
    chosen = category or (default_category if layout.has_categories(path) else None)
    return layout.load(path, chosen, split)


def open_datasets(
    path: str | Path,
    category: str | None = None,
    split: str = "train",
    *,
    default_category: str | None = None,
) -> list[SketchPhotoSet]:
    """Open one split of one category or, as in ``"shoes+chairs"``, of several.

    Arguments and errors are those of `open_dataset`.
    """
    chosen = category or default_category
    if chosen is None or "+" not in chosen:
        return [open_dataset(path, category, split, default_category=default_category)]
    names = chosen.split("+")
    if len(set(names)) < len(names):
        raise ValueError(f"category: {chosen!r} names one of them twice")
    if category is None and not _layout_of(path).has_categories(path):
        return [open_dataset(path, None, split)]
    return [open_dataset(path, name, split) for name in names]


def _layout_of(path: str | Path) -> Layout:
    for layout in LAYOUTS:
        if layout.detect(path):
            return layout
    if not Path(path).exists():
        raise FileNotFoundError(f"no such file or folder: {path}")
    expected = ", or ".join(layout.described for layout in LAYOUTS)
    raise ValueError(f"{path}: nothing known here; expected {expected}")
