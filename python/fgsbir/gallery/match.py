"""Search results: the photos found, their distances and the attributes that agree or differ."""

from __future__ import annotations

import filecmp
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..data.names import printable
from ..models.retrieval import PREDICTED, Output
from .inner_product import probabilities

SAME = 1e-7
"""Squared distance up to which two embeddings are of the same picture, but for rounding."""


class Candidates(NamedTuple):
    """Photos that an index proposes for a query, in any order.

    Attributes:
        numbers: (C,) of the photos in the gallery.
        paths: C absolute paths.
        embedding: (C, D).
        probabilities: (C, K) of attributes; K = 0 where the model predicts none.
    """

    numbers: NDArray[np.int64]
    paths: Sequence[str]
    embedding: Tensor
    probabilities: Tensor


@dataclass(frozen=True)
class Match:
    """A photo found for a sketch.

    Attributes:
        index: number of the photo, its own for as long as it is in the gallery.
        path: absolute.
        distance: r = d + mu D, which ranks.
        embedding_distance: d, squared Euclidean, in [0, 4].
        attribute_distance: D, squared Euclidean between the probabilities of K attributes, in
            [0, K]; 0 where the model predicts none.
        copies: absolute paths of other files with the same photo in them.
        attributes: predicted probability of each attribute in the photo.
        agree: attributes that are predicted in both or in neither.
        differ: the others.
    """

    index: int
    path: Path
    distance: float
    embedding_distance: float
    attribute_distance: float
    attributes: dict[str, float]
    agree: tuple[str, ...]
    differ: tuple[str, ...]
    copies: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        """The file's name without its ending, as text that can be shown whatever its bytes are."""
        return printable(self.path.stem)


class Ranking:
    """Candidates for a query, nearest first, ties by the lowest number.

    Distances come from the rows themselves, in double precision, whatever an index worked with.
    """

    def __init__(self, query: Output, found: Candidates, attribute_weight: float) -> None:
        self._attribute_weight = attribute_weight
        asked = probabilities(query)
        d = (found.embedding.double() - query.embedding.double()).square().sum(1)
        big_d = (found.probabilities.double() - asked.double()).square().sum(1)
        r = (d + attribute_weight * big_d).numpy()
        order = np.lexsort((found.numbers, r))
        self.r, self.d, self.big_d = r[order], d.numpy()[order], big_d.numpy()[order]
        self.numbers = found.numbers[order]
        self.paths = [Path(found.paths[i]) for i in order]
        self.embedding = found.embedding[order]
        self.probabilities = found.probabilities[order]
        self.same = ((self.probabilities > PREDICTED) == (asked > PREDICTED)).tolist()

    def __len__(self) -> int:
        return len(self.numbers)

    def each(self) -> list[list[int]]:
        """Places of the candidates, each on its own."""
        return [[place] for place in range(len(self))]

    def by_photo(self) -> list[list[int]]:
        """Places of the candidates, the copies of one photo together, in the order of the first."""
        groups: list[list[int]] = []
        by_size: dict[int | None, list[list[int]]] = {None: []}
        for place, path in enumerate(self.paths):
            size = _size(path)
            alike = by_size.setdefault(size, [])
            # A file that is gone may have been of any size.
            asked = groups if size is None else [*by_size[None], *alike]
            group = self._group_of(place, asked)
            if group is None:
                group = []
                groups.append(group)
                alike.append(group)
            group.append(place)
        return groups

    def match(self, places: Sequence[int], names: Sequence[str]) -> Match:
        """The photo at some places: the first copy that is there, and where the others are."""
        first, *copies = places
        if copies:
            first, *copies = sorted(
                places, key=lambda place: (_size(self.paths[place]) is None, self.numbers[place])
            )
        return Match(
            index=int(self.numbers[first]),
            path=self.paths[first],
            distance=float(self.r[first]),
            embedding_distance=float(self.d[first]),
            attribute_distance=float(self.big_d[first]),
            attributes=dict(zip(names, self.probabilities[first].tolist(), strict=True)),
            agree=tuple(compress(names, self.same[first])),
            differ=tuple(name for name, same in zip(names, self.same[first], strict=True)
                         if not same),
            copies=tuple(self.paths[place] for place in copies),
        )  # fmt: skip

    def _group_of(self, place: int, groups: Sequence[list[int]]) -> list[int] | None:
        """That of the groups whose photo is the one at a place."""
        # Unit vectors as near as that are about as far from any other.
        window = 4 * SAME**0.5 * (1 + self._attribute_weight)
        for group in reversed(groups):
            if self.r[place] - self.r[group[0]] <= window and self._is_copy(place, group[0]):
                return group
        return None

    def _is_copy(self, a: int, b: int) -> bool:
        apart = (self.embedding[a].double() - self.embedding[b].double()).square().sum()
        if float(apart) > SAME:
            return False
        try:
            return filecmp.cmp(self.paths[a], self.paths[b], shallow=False)
        except OSError:  # one of them is gone
            return True


def _size(file: Path) -> int | None:
    """In bytes; None of a file that is gone."""
    try:
        return file.stat().st_size if file.is_file() else None
    except OSError:
        return None
