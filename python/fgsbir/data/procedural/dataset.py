"""Synthetic set of drawn shoes and chairs, for newcomers and for fast tests."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

import numpy as np
from numpy.typing import NDArray

from ..dataset import SketchPhotoSet
from ..edges import extract_edges
from ..images import SIZE
from ..layout import Layout
from .chairs import ATTRIBUTES as CHAIR_ATTRIBUTES
from .chairs import design_chair, draw_chair
from .colours import COLOUR_NUMBERS
from .design import FAMILY, Attributes, Design, distances, misremembered
from .geometry import Part, fitted
from .photo import render_photo
from .shoes import ATTRIBUTES as SHOE_ATTRIBUTES
from .shoes import design_shoe, draw_shoe
from .sketch import render_sketch

COUNTS = {"train": 400, "test": 200}
CANDIDATES = 10  # photos that a test sketch's triplets compare, as in the QMUL benchmark


@dataclass(frozen=True)
class Category:
    """How one kind of product is designed, described and drawn."""

    key: int  # in every seed of the category: never change it
    attributes: Attributes
    design: Callable[[np.random.Generator, np.random.Generator], Design]
    draw: Callable[[Design], list[Part]]


CATEGORIES = {
    "shoes": Category(0, SHOE_ATTRIBUTES, design_shoe, draw_shoe),
    "chairs": Category(1, CHAIR_ATTRIBUTES, design_chair, draw_chair),
}
SPLIT_KEYS = {"train": 0, "test": 1}
FAMILY_KEY, INSTANCE_KEY, PHOTO_KEY, SKETCH_KEY, TRIPLET_KEY = range(5)


def synthetic(
    category: str = "shoes",
    count: int | None = None,
    split: str = "train",
    seed: int = 0,
    size: int = SIZE,
) -> SketchPhotoSet:
    """Draw a set of pairs: a shaded photo, its edge map, and a hand sketch of the same product.

    Instances come in families of four that share all attributes and nearly the outline, and
    differ in fine details: attributes alone find a quarter at most. The same arguments give the
    same bytes. Instance i depends on category, split, seed and size, and not on the count; the
    splits have no instance in common.

    The test split has triplets: for each sketch, its own photo and the nine others nearest to it
    by their true parameters, every pair of them judged by that distance
    (`fgsbir.data.procedural.design.distances`). The train split has none.

    Args:
        category: ``"shoes"`` or ``"chairs"``.
        count: Number of pairs; 400 for train and 200 for test unless given.
        split: ``"train"`` or ``"test"``.
        seed: Any whole number from 0.
        size: Side of the pictures in pixels, from 32; drawn for 256.

    Raises:
        ValueError: An argument outside its range; names it.
    """
    if category not in CATEGORIES:
        raise ValueError(f"category must be one of {sorted(CATEGORIES)}, got {category!r}")
    if split not in SPLIT_KEYS:
        raise ValueError(f"split must be one of {sorted(SPLIT_KEYS)}, got {split!r}")
    count = COUNTS[split] if count is None else count
    for name, value, least in (("count", count, 1), ("seed", seed, 0), ("size", size, 32)):
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    kind = CATEGORIES[category]

    def rng(purpose: int, i: int) -> np.random.Generator:
        key = (kind.key, SPLIT_KEYS[split], purpose, i)
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))

    designs = [
        kind.design(rng(FAMILY_KEY, i // FAMILY), rng(INSTANCE_KEY, i)) for i in range(count)
    ]
    attributes = np.array(
        [[holds(design) for holds in kind.attributes.values()] for design in designs], dtype=np.int8
    )
    sketches = np.empty((count, size, size), dtype=np.uint8)
    edges = np.empty_like(sketches)
    photos = np.empty((count, size, size, 3), dtype=np.uint8)
    for i, design in enumerate(designs):
        photos[i] = render_photo(fitted(kind.draw(design)), size, rng(PHOTO_KEY, i))
        edges[i] = extract_edges(photos[i])
        hand = rng(SKETCH_KEY, i)
        recalled = fitted(kind.draw(misremembered(design, hand)))
        sketches[i] = render_sketch(recalled, size, hand)
    labels = np.arange(count, dtype=np.int64)
    return SketchPhotoSet(
        name=f"synthetic {category}/{split}",
        sketches=sketches,
        edges=edges,
        photos=photos,
        sketch_labels=labels,
        photo_labels=labels,
        sketch_attributes=attributes,
        photo_attributes=attributes,
        attribute_names=tuple(kind.attributes),
        triplets=_triplets(kind, designs, attributes) if split == "test" else None,
    )


def _triplets(
    kind: Category, designs: Sequence[Design], attributes: NDArray[np.int8]
) -> NDArray[np.int64]:
    apart = distances(designs, attributes, kind.draw, COLOUR_NUMBERS)
    nearest = np.argsort(apart, axis=1, kind="stable")[:, :CANDIDATES]
    rows = [
        (i, nearer, farther)
        for i, order in enumerate(nearest)
        for rank, nearer in enumerate(order)
        for farther in order[rank + 1 :]
        if apart[i, nearer] < apart[i, farther]
    ]
    return np.array(rows, dtype=np.int64).reshape(-1, 3)


def load_synthetic(
    name: str = "synthetic", category: str | None = None, split: str = "train"
) -> SketchPhotoSet:
    """Draw the synthetic set that a name asks for.

    Args:
        name: ``synthetic[:CATEGORY][?OPTION=N&...]`` with the options ``count``, ``seed`` and
            ``size`` of `synthetic`: ``"synthetic:shoes?seed=0&size=128"``.
        category: Where the name leaves it out; ``"shoes"`` if neither says.
        split: ``"train"`` or ``"test"``.

    Raises:
        ValueError: The name can't be understood, or asks for another category.
    """
    parsed = urlsplit(name)
    scheme, named = ("synthetic", parsed.path) if parsed.scheme else (parsed.path, "")
    if scheme != "synthetic":
        raise ValueError(f"expected synthetic[:CATEGORY][?OPTION=N], got {name!r}")
    if named and category not in (None, named):
        raise ValueError(f"{name!r} asks for {named}, but category is {category!r}")
    options: dict[str, int] = {}
    for key, value in parse_qsl(parsed.query, keep_blank_values=True):
        if key not in ("count", "seed", "size") or not value.isascii() or not value.isdigit():
            raise ValueError(
                f"{name!r}: expected count, seed or size as whole numbers, got {key}={value}"
            )
        options[key] = int(value)
    return synthetic(named or category or "shoes", split=split, **options)


SYNTHETIC = Layout(
    '"synthetic"',
    detect=lambda path: isinstance(path, str) and bool(re.match(r"synthetic($|[:?])", path)),
    load=lambda path, category, split: load_synthetic(str(path), category, split),
    has_categories=lambda path: not str(path).startswith("synthetic:"),
)
