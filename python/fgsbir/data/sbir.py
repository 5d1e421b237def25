"""Loader of the QMUL Shoe and Chair benchmark ("Sketch Me That Shoe", CVPR 2016, cleaned release).

Known faults of the release, and what `load_sbir` does about each:

* Shoes, sketch attributes of the test rows are out of order: they are given as unknown.
* A grey border of 1-2 pixels around every edge map: cleared to white.
* Chairs, test photo 263 is train photo 13 again: the test split stays as published, and pair 13
  is left out of training unless ``keep_leaked=True``.
* Train triplets are three raw votes per pair of photos, which may contradict each other: given
  raw, or settled by majority with ``votes="majority"``.
* Extra shoe sketches of photos 111, 273 and 290 show other shoes: `add_shoe_sketches` leaves them
  out.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .dataset import SketchPhotoSet
from .images import SIZE, ImageFiles
from .layout import Layout

RELEASE = "sbir_cvpr2016"
BORDER = 2

# First and last file number of each split.
NUMBERS = {
    "shoes": {"train": (1, 304), "test": (305, 419)},
    "chairs": {"train": (1, 200), "test": (201, 297)},
}
LEAKED = {"shoes": (), "chairs": (13,)}

# The release does not name its columns. These meanings were inferred by comparing the columns
# with other annotations of the same photos.
ATTRIBUTE_NAMES = {
    "shoes": (
        "round toe",
        "open toe",
        "side ornament",
        "vamp ornament or lace",
        "flat heel",
        "low heel",
        "high heel",
        "pillar heel",
        "cone heel",
        "slender heel",
        "thick heel",
        "shaft ornament",
        "backless",
        "ankle strap",
        "low shaft",
        "mid boot",
        "high boot",
        "vamp coverage high",
        "vamp coverage middle",
        "vamp coverage low",
        "unknown 20",
    ),
    "chairs": (
        "no back",
        "detached back",
        "attached back",
        "high back",
        "low back",
        "armrest",
        "round seat",
        "castors",
        "pedestal",
        "two legs or sled",
        "three legs",
        "four legs",
        "other legs",
        "unknown 13",
        "unknown 14",
    ),
}


def load_sbir(
    root: str | Path,
    category: str,
    split: str = "train",
    *,
    votes: Literal["raw", "majority"] = "raw",
    keep_leaked: bool = False,
) -> SketchPhotoSet:
    """Read one split of the benchmark.

    Labels are the file numbers of the release. Photos and sketches are decoded when asked for,
    edge maps are held in memory.

    Args:
        root: The folder that holds ``shoes/`` and ``chairs/``.
        category: ``"shoes"`` or ``"chairs"``.
        split: ``"train"`` (shoes 304 pairs, chairs 199) or ``"test"`` (115 and 97).
        votes: Train triplets as ``"raw"`` votes, or one ``"majority"`` verdict per pair of photos.
        keep_leaked: Keep the train pairs whose photo is also a test photo.

    Raises:
        ValueError: Unknown category, split or votes; files that don't have the release's shape.
        FileNotFoundError: A file of the release is missing; says which.
    """
    if category not in NUMBERS:
        raise ValueError(f"category must be one of {sorted(NUMBERS)}, got {category!r}")
    if split not in NUMBERS[category]:
        raise ValueError(f"split must be 'train' or 'test', got {split!r}")
    if votes not in ("raw", "majority"):
        raise ValueError(f"votes must be 'raw' or 'majority', got {votes!r}")
    folder = Path(root) / category
    first, last = NUMBERS[category][split]
    numbers = np.arange(first, last + 1)
    photos = [folder / split / "images" / f"{n}.jpg" for n in numbers]
    sketches = [folder / split / "sketches" / f"{n}.png" for n in numbers]
    sketch_attributes = _attributes(folder, "sketch", category)[numbers - 1]
    photo_attributes = _attributes(folder, "image", category)[numbers - 1]
    if (category, split) == ("shoes", "test"):
        sketch_attributes = np.full_like(sketch_attributes, -1)
    _check_present([*photos, *sketches])
    triplets = _triplets(folder, category, split, len(numbers))
    benchmark = SketchPhotoSet(
        name=f"{category}/{split}",
        sketches=ImageFiles(sketches, mode="L", size=SIZE),
        edges=_edges(folder / f"{category}_edge_db_{split}.mat", len(numbers)),
        photos=ImageFiles(photos, size=SIZE),
        sketch_labels=numbers.astype(np.int64),
        photo_labels=numbers.astype(np.int64),
        sketch_attributes=sketch_attributes,
        photo_attributes=photo_attributes,
        attribute_names=ATTRIBUTE_NAMES[category],
        triplets=majority(triplets) if votes == "majority" else triplets,
    )
    leaked = LEAKED[category]
    if split == "train" and leaked and not keep_leaked:
        kept = ~np.isin(numbers, leaked)
        return benchmark.take(kept, kept)
    return benchmark


def majority(triplets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Settle votes (V, 3) on the same sketch and pair of photos; even votes are dropped.

    Returns:
        (T, 3), sorted by sketch, then photos, T <= V.
    """
    low, high = triplets[:, 1:].min(axis=1), triplets[:, 1:].max(axis=1)
    questions = np.column_stack([triplets[:, 0], low, high])
    asked, which = np.unique(questions, axis=0, return_inverse=True)
    balance = np.zeros(len(asked), dtype=np.int64)
    np.add.at(balance, which.ravel(), np.where(triplets[:, 1] == low, 1, -1))
    settled = np.where((balance < 0)[:, None], asked[:, [0, 2, 1]], asked)
    return settled[balance != 0].astype(np.int64)


def _check_present(paths: list[Path]) -> None:
    missing = [path for path in paths if not path.is_file()]
    if missing:
        more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise FileNotFoundError(f"the QMUL release lacks {missing[0]}{more}")


def _mat(path: Path, keys: tuple[str, ...], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    from scipy.io import loadmat

    _check_present([path])
    content = loadmat(path)
    for key in keys:
        if key in content:
            if content[key].shape != shape:
                raise ValueError(f"{path}: {key} is {content[key].shape}, expected {shape}")
            return content[key]
    raise ValueError(f"{path}: has none of the keys {keys}")


def _edges(path: Path, count: int) -> NDArray[np.uint8]:
    edges = np.full((count, SIZE, SIZE), 255, dtype=np.uint8)
    inside = (slice(None), slice(BORDER, -BORDER), slice(BORDER, -BORDER))
    edges[inside] = _mat(path, ("data",), edges.shape)[inside]
    return edges


def _attributes(folder: Path, domain: str, category: str) -> NDArray[np.int8]:
    path = folder / "annotation" / f"{domain}_label.mat"
    shape = (NUMBERS[category]["test"][1], len(ATTRIBUTE_NAMES[category]))
    return _mat(path, ("label", "labels"), shape).astype(np.int8)


def _triplets(folder: Path, category: str, split: str, count: int) -> NDArray[np.int64]:
    path = folder / "annotation" / f"{category}_annotation.json"
    _check_present([path])
    votes = json.loads(path.read_text(encoding="utf-8"))[split]["triplets"]
    rows = [(i, nearer, farther) for i, pairs in enumerate(votes) for nearer, farther in pairs]
    triplets = np.array(rows, dtype=np.int64).reshape(-1, 3)
    if triplets.min(initial=0) < 0 or triplets.max(initial=0) >= count:
        raise ValueError(f"{path}: {split} triplets speak of photos outside 0..{count - 1}")
    return triplets


def _roots(path: str | Path) -> list[tuple[Path, list[str]]]:
    """The folders at a path that hold categories, each with those that it holds."""
    folders = (Path(path), Path(path) / RELEASE)
    held = [(root, [name for name in NUMBERS if _is_category(root / name)]) for root in folders]
    return [(root, names) for root, names in held if names]


def _is_category(folder: Path) -> bool:
    return (folder / "annotation").is_dir() and (folder / "train" / "images").is_dir()


def _has_categories(path: str | Path) -> bool:
    return bool(_roots(path))


def _detect(path: str | Path) -> bool:
    return _has_categories(path) or (Path(path).name in NUMBERS and _is_category(Path(path)))


def _load(path: str | Path, category: str | None, split: str) -> SketchPhotoSet:
    for root, names in _roots(path):
        if category is None or category not in names:
            raise ValueError(f"{root} holds {names}: choose a category, got {category!r}")
        return load_sbir(root, category, split)
    folder = Path(path)
    if category not in (None, folder.name):
        raise ValueError(f"{path} holds {folder.name}, but category is {category!r}")
    return load_sbir(folder.parent, folder.name, split)


QMUL = Layout(
    f"the QMUL benchmark (shoes/train/images, also under {RELEASE}/)",
    _detect,
    _load,
    _has_categories,
)
