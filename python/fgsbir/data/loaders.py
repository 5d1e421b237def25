"""Opening of a split by its path, whatever its layout."""

from __future__ import annotations

import re
from pathlib import Path

from .dataset import SketchPhotoSet
from .pair_files import is_pair_folder, load_csv, load_folder
from .procedural import load_synthetic
from .sbir import NUMBERS, load_sbir

QMUL = "sbir_cvpr2016"
SYNTHETIC = re.compile(r"synthetic($|[:?])")


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
    if isinstance(path, str) and SYNTHETIC.match(path):
        named = path.startswith("synthetic:")
        return load_synthetic(path, category or (None if named else default_category), split)
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no such file or folder: {path}")
    if path.is_file():
        _refuse_category(path, category)
        if path.suffix.lower() != ".csv":
            raise ValueError(f"{path}: expected a .csv file or a folder")
        return load_csv(path, split)
    if is_pair_folder(path):
        _refuse_category(path, category)
        return load_folder(path, split)
    for root in (path, path / QMUL):
        held = [name for name in NUMBERS if _is_qmul_category(root / name)]
        if held:
            chosen = category or default_category
            if chosen not in held:
                raise ValueError(f"{root} holds {held}: choose a category, got {chosen!r}")
            return load_sbir(root, chosen, split)
    if path.name in NUMBERS and _is_qmul_category(path):
        if category not in (None, path.name):
            raise ValueError(f"{path} holds {path.name}, but category is {category!r}")
        return load_sbir(path.parent, path.name, split)
    raise ValueError(
        f"{path}: nothing known here. Looked for the QMUL benchmark (shoes/train/images, also "
        f"under {QMUL}/) and for a folder of pairs (photos/ and sketches/, also under train/ and "
        f"test/)."
    )


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
    if category is None and not _has_categories(path):
        return [open_dataset(path, None, split)]
    return [open_dataset(path, name, split) for name in names]


def _has_categories(path: str | Path) -> bool:
    """Whether a category may be chosen: neither own pairs nor a path that says which itself."""
    if isinstance(path, str) and SYNTHETIC.match(path):
        return not path.startswith("synthetic:")
    folder = Path(path)
    return any(_is_qmul_category(r / name) for r in (folder, folder / QMUL) for name in NUMBERS)


def _is_qmul_category(folder: Path) -> bool:
    return (folder / "annotation").is_dir() and (folder / "train" / "images").is_dir()


def _refuse_category(path: Path, category: str | None) -> None:
    if category is not None:
        raise ValueError(f"{path}: own pairs have no categories; leave out {category!r}")
