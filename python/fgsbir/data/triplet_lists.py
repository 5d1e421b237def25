"""Triplet lists made ahead of training: by attributes, at random, or from human judgements.

A list is a CSV file with a header, one triplet a line::

    sketch,positive,negative
    0,0,17
    0,0,203

Numbers are places in the split that the list is for, from 0: of a sketch among its sketches, and of
two photos among its photos (:class:`fgsbir.data.SketchPhotoSet`). The positive of a generated
triplet shows what the sketch shows; of a person's verdict it is the photo judged nearer.

From the command line: ``fgsbir triplets --data DIR --by attributes --out triplets.csv``.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..atomic_files import write_atomically
from .dataset import SketchPhotoSet
from .instance_attributes import expected_difference, instance_attributes
from .names import quoted
from .sbir import majority
from .tables import read_table, read_whole

Source = Literal["attributes", "random", "people"]
COLUMNS = ("sketch", "positive", "negative")


def attribute_triplets(
    data: SketchPhotoSet,
    *,
    negatives: int = 20,
    hard_ratio: float = 0.5,
    hard_share: float = 0.1,
    seed: int = 0,
) -> NDArray[np.int64]:
    """Triplets whose negatives are chosen by how many attributes they share with the sketch.

    The photos of other instances are sorted by the share of attributes in which they differ from
    the sketch's instance (:func:`~fgsbir.data.instance_attributes.expected_difference`), ties at
    random. The nearest are the hard ones, all others the easy ones; a given part of the negatives
    comes from each.

    The attribute-driven triplets of Song et al. (BMVC 2016); the abstract gives neither ratio nor
    where hard ends, so the defaults are ours.

    Args:
        data: the split.
        negatives: how many for each sketch, or all there are if there are fewer.
        hard_ratio: part of them that is hard, in [0, 1].
        hard_share: part of the other photos that counts as hard, in (0, 1].
        seed: of the draws.

    Returns:
        (T, 3) rows (sketch, positive, negative), by sketch. The positive is a photo of the sketch's
        own instance, a random one of several.

    Raises:
        ValueError: for a value out of range, or without known attributes.
    """
    _check_counts(negatives, hard_ratio=hard_ratio, hard_share=hard_share)
    instances = np.union1d(data.sketch_labels, data.photo_labels)
    described = instance_attributes(data, instances)
    difference = expected_difference(described, described)
    place = {int(label): i for i, label in enumerate(instances)}
    of_photo = np.array([place[int(label)] for label in data.photo_labels])
    random = np.random.default_rng(seed)
    rows = []
    for sketch, positive, others in _anchors(data, random):
        far = difference[place[int(data.sketch_labels[sketch])], of_photo[others]]
        others = others[np.lexsort((random.random(len(others)), far))]
        first_easy = max(1, round(hard_share * len(others)))
        wanted = min(negatives, len(others))
        hard = min(round(hard_ratio * wanted), first_easy)
        # Where one kind has too few the other one fills up.
        hard = max(hard, wanted - (len(others) - first_easy))
        chosen = [
            *random.choice(others[:first_easy], hard, replace=False),
            *random.choice(others[first_easy:], wanted - hard, replace=False),
        ]
        rows += [(sketch, positive, negative) for negative in chosen]
    return _array(rows)


def random_triplets(
    data: SketchPhotoSet, *, negatives: int = 20, seed: int = 0
) -> NDArray[np.int64]:
    """Triplets whose negatives are photos of any other instance.

    Arguments, result and errors are those of :func:`attribute_triplets`.
    """
    _check_counts(negatives)
    random = np.random.default_rng(seed)
    rows = []
    for sketch, positive, others in _anchors(data, random):
        chosen = random.choice(others, min(negatives, len(others)), replace=False)
        rows += [(sketch, positive, negative) for negative in chosen]
    return _array(rows)


def human_triplets(
    data: SketchPhotoSet, *, votes: Literal["raw", "majority"] = "raw"
) -> NDArray[np.int64]:
    """The verdicts of people that a split comes with.

    Args:
        data: the split.
        votes: as they are, or one for each sketch and pair of photos, by majority.

    Raises:
        ValueError: when the split has none.
    """
    if data.triplets is None or not len(data.triplets):
        raise ValueError(f"{data.name}: has no triplets judged by people")
    return majority(data.triplets) if votes == "majority" else data.triplets


def write_triplets(path: str | Path, triplets: NDArray[np.int64]) -> None:
    """Writes (T, 3) triplets as CSV."""
    text = io.StringIO()
    np.savetxt(text, triplets, fmt="%d", delimiter=",", header=",".join(COLUMNS), comments="")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.getvalue().encode())


def read_triplets(path: str | Path, data: SketchPhotoSet) -> NDArray[np.int64]:
    """Reads (T, 3) triplets of a split from CSV.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: for the first line that is no triplet of the split; names file and line.
    """
    where_header, header, lines = read_table(Path(path), COLUMNS, COLUMNS)
    if extra := [column for column in header if column not in COLUMNS]:
        raise ValueError(
            f"{where_header}: unknown column {extra[0]!r}; known are {', '.join(COLUMNS)}"
        )
    sizes = dict(
        zip(COLUMNS, (len(data.sketches), len(data.photos), len(data.photos)), strict=True)
    )
    rows = []
    for where, line in lines:
        row = []
        for column, size in sizes.items():
            place = read_whole(line[column])
            if place is None or not 0 <= place < size:
                raise ValueError(
                    f"{where}: column {quoted(column)} must be a whole number from 0 to "
                    f"{size - 1}, the places in {data.name}, got {quoted(line[column])}"
                )
            row.append(place)
        if row[1] == row[2]:
            raise ValueError(f"{where}: positive and negative are the same photo, {row[1]}")
        rows.append(tuple(row))
    if not rows:
        raise ValueError(f"{path}: has no triplets")
    return _array(rows)


def _anchors(
    data: SketchPhotoSet, random: np.random.Generator
) -> list[tuple[int, int, NDArray[np.int64]]]:
    """Each sketch that has a photo, with one of its photos and all photos of other instances."""
    anchors = []
    for sketch, label in enumerate(data.sketch_labels):
        own = data.photo_labels == label
        if own.any() and not own.all():
            anchors.append((sketch, int(random.choice(np.flatnonzero(own))), np.flatnonzero(~own)))
    if not anchors:
        raise ValueError(f"{data.name}: no sketch has both a photo of its own and another one")
    return anchors


def _check_counts(negatives: int, **shares: float) -> None:
    if negatives < 1:
        raise ValueError(f"negatives: expected 1 or more, got {negatives}")
    for name, value in shares.items():
        least = value > 0 if name == "hard_share" else value >= 0
        if not (least and value <= 1):
            raise ValueError(f"{name}: expected a share up to 1, got {value}")


def _array(rows: Sequence[tuple[int, ...]]) -> NDArray[np.int64]:
    return np.array(rows, dtype=np.int64)
