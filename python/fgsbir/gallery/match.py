"""Search results: the photos found, their distances and the attributes that agree or differ."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from operator import not_
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..data.names import printable
from ..models.retrieval import PREDICTED, Output
from .copies import is_same_photo
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
        firsts: list[int] = []
        rows = self.embedding.numpy()
        # Unit vectors as near as copies are about as far from any other.
        window = 4 * SAME**0.5 * (1 + self._attribute_weight)
        for place in range(len(self)):
            start = bisect_left(firsts, self.r[place] - window, key=lambda first: self.r[first])
            near = np.square(rows[firsts[start:]] - rows[place]).sum(1) <= SAME
            for i in np.flatnonzero(near):
                if is_same_photo(self.paths[place], self.paths[firsts[start + i]]):
                    groups[start + i].append(place)
                    break
            else:
                groups.append([place])
                firsts.append(place)
        return groups

    def match(self, places: Sequence[int], names: Sequence[str]) -> Match:
        """The photo at some places: the first copy that is there, and where the others are."""
        first, *copies = places
        if copies:
            first, *copies = sorted(
                places, key=lambda place: (not self.paths[place].is_file(), self.numbers[place])
            )
        return Match(
            index=int(self.numbers[first]),
            path=self.paths[first],
            distance=float(self.r[first]),
            embedding_distance=float(self.d[first]),
            attribute_distance=float(self.big_d[first]),
            attributes=dict(zip(names, self.probabilities[first].tolist(), strict=True)),
            agree=tuple(compress(names, self.same[first])),
            differ=tuple(compress(names, map(not_, self.same[first]))),
            copies=tuple(self.paths[place] for place in copies),
        )
