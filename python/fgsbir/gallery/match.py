"""Search results: the photos found, their distances and the attributes that agree or differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..models.retrieval import PREDICTED, Output
from .folder import printable
from .inner_product import probabilities


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

    @property
    def name(self) -> str:
        """The file's name without its ending, as text that can be shown whatever its bytes are."""
        return printable(self.path.stem)


def best_matches(
    query: Output, found: Candidates, k: int, attribute_weight: float, names: Sequence[str]
) -> list[Match]:
    """The k candidates with the smallest r, nearest first, ties to the lowest number.

    Distances come from the rows themselves, in double precision, whatever an index worked with.
    """
    asked = probabilities(query)
    d = (found.embedding.double() - query.embedding.double()).square().sum(1)
    big_d = (found.probabilities.double() - asked.double()).square().sum(1)
    same = (found.probabilities > PREDICTED) == (asked > PREDICTED)
    r = d + attribute_weight * big_d
    order = np.lexsort((found.numbers, r.numpy()))[:k]
    return [
        Match(
            index=int(found.numbers[i]),
            path=Path(found.paths[i]),
            distance=float(r[i]),
            embedding_distance=float(d[i]),
            attribute_distance=float(big_d[i]),
            attributes=dict(zip(names, found.probabilities[i].tolist(), strict=True)),
            agree=tuple(compress(names, same[i].tolist())),
            differ=tuple(compress(names, (~same[i]).tolist())),
        )
        for i in order
    ]
