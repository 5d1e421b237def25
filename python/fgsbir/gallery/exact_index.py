"""Exact index in memory, searched by the library's own top-k."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

import fgsbir_ext as fx

from ..models.retrieval import PREDICTED, Output
from .indexes import Index
from .inner_product import probabilities
from .match import Candidates
from .store import Rows, Store

CHUNK = 65536  # rows copied at a time where attributes leave some out


class ExactIndex(Index):
    """All rows of a gallery, every one compared with every query."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    @classmethod
    def open(cls, store: Store, uri: str) -> ExactIndex:
        """Reads a gallery into memory."""
        return cls(store.read())

    def update(self, store: Store) -> None:
        """Does nothing: all of the index is in memory."""

    def __len__(self) -> int:
        return len(self.rows)

    def numbers(self, count: int) -> list[int]:
        """The `count` lowest numbers of photos, ascending; fewer where there are fewer."""
        lowest: list[int] = self.rows.numbers[:count].tolist()
        return lowest

    def path(self, number: int) -> str:
        """Where photo `number` lies; IndexError when there is none."""
        at = int(np.searchsorted(self.rows.numbers, number))
        if at == len(self) or self.rows.numbers[at] != number:
            raise IndexError(f"no photo has the number {number}")
        return self.rows.paths[at]

    def search(
        self, query: Output, k: int, attribute_weight: float, required: Mapping[int, bool]
    ) -> Candidates:
        """The k nearest by r = d + mu D among photos whose attributes are as required."""
        if not required:
            return self.candidates(_nearest(query, self.rows.output, k, attribute_weight))
        passing = self.passing(required)
        # The k nearest are among the k nearest of every chunk.
        nearest = [
            part[_nearest(query, self.rows.at(part), k, attribute_weight)]
            for part in passing.split(CHUNK)
        ]
        return self.candidates(torch.cat(nearest))

    def passing(self, required: Mapping[int, bool]) -> Tensor:
        """Positions of the photos whose predicted attributes are on, or off, as required."""
        logits = self.rows.output.logits
        assert logits is not None  # or there were no attribute to require
        on = torch.ones(len(self), dtype=torch.bool)
        for attribute, wanted in required.items():
            on &= (logits[:, attribute].sigmoid() > PREDICTED) == wanted
        return on.nonzero().squeeze(1)

    def candidates(self, positions: Tensor) -> Candidates:
        """The rows at some positions."""
        output = self.rows.at(positions)
        paths = [self.rows.paths[i] for i in positions.tolist()]
        numbers = self.rows.numbers[positions.numpy()]
        return Candidates(numbers, paths, output.embedding, probabilities(output))


def _nearest(query: Output, photos: Output, k: int, attribute_weight: float) -> Tensor:
    """Positions of the min(k, N) nearest of N photos."""
    _, indices = fx.topk(
        query.embedding,
        photos.embedding,
        min(k, len(photos.embedding)),
        query_logits=query.logits,
        gallery_logits=photos.logits,
        attribute_weight=attribute_weight,
    )
    return indices[0]
