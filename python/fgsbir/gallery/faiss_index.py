"""Approximate index in memory, an inverted file of faiss: for millions of photos.

Photos are rows whose inner product with a query's row ranks by r
(see :mod:`fgsbir.gallery.inner_product`), put into cells by k-means. Since the score is linear, a
cell's mean row scores what its photos score on average, and the cells with the best means are
looked into, whatever mu is. Cells hold rows as bytes, so more candidates than asked for are taken,
and ranked by their exact r.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import faiss
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..atomic_files import write_atomically
from ..models.retrieval import Output
from .exact_index import ExactIndex
from .inner_product import photo_rows, query_rows
from .match import Candidates
from .store import Rows, Store

TRAIN_ROWS = 64  # photos a cell that k-means looks at
FEWEST_ROWS = 39  # photos a cell that faiss asks for, or fewer cells
PROBED = 1 / 8  # share of the cells that a query looks into, measured: docs/gallery.md
FEWEST_PROBED = 8
OVERSAMPLE = 4  # candidates for each photo asked for
CELL_WEIGHT = 0.2  # the mu at which k-means measures; every other is served a little worse
LANES = 32  # columns are a multiple of it: faiss is ten times slower where they are not
BLOCK = 65536  # rows put into cells at a time
SEED = 0


class IvfIndex(ExactIndex):
    """The rows of the exact index, few of which are compared with a query."""

    def __init__(self, rows: Rows, cells: faiss.IndexIVF) -> None:
        super().__init__(rows)
        self.cells = cells

    @classmethod
    def open(cls, store: Store, uri: str) -> ExactIndex:
        """Reads a gallery and its cells; what the cells lack or have too much is mended.

        No cells can be made of no photos, so an empty gallery is searched exactly.
        """
        rows, file = store.read(), store.cells
        if not len(rows):
            return ExactIndex(rows)
        return cls(rows, up_to_date(_read(file) if file.is_file() else None, rows))

    def update(self, store: Store) -> None:
        """Writes the cells beside the gallery."""
        write_atomically(store.cells, faiss.serialize_index(self.cells).tobytes())

    def search(
        self, query: Output, k: int, attribute_weight: float, required: Mapping[int, bool]
    ) -> Candidates:
        """The k nearest by r, nearly always, among photos whose attributes are as required."""
        passing = self.passing(required) if required else None
        there = len(self) if passing is None else len(passing)
        wanted = min(OVERSAMPLE * k, there)
        if not wanted:
            return self.candidates(torch.empty(0, dtype=torch.int64))
        selector = None if passing is None else self._only(passing)
        asked = _padded(query_rows(query, attribute_weight))
        probed = max(FEWEST_PROBED, round(PROBED * self.cells.nlist))
        numbers = self._probe(asked, wanted, selector, probed)
        if len(numbers) < min(k, there):  # the cells looked into hold too few that pass
            numbers = self._probe(asked, wanted, selector, self.cells.nlist)
        return self.candidates(torch.from_numpy(np.searchsorted(self.rows.numbers, numbers)))

    def _probe(
        self, asked: NDArray[np.float32], count: int, selector: faiss.IDSelector | None, probed: int
    ) -> NDArray[np.int64]:
        """Numbers of the photos with the best scores in some cells."""
        parameters = faiss.SearchParametersIVF(sel=selector, nprobe=probed)
        _, numbers = self.cells.search(asked, count, params=parameters)
        found: NDArray[np.int64] = numbers[0][numbers[0] >= 0]
        return found

    def _only(self, positions: Tensor) -> faiss.IDSelector:
        mask = np.zeros(self.rows.numbers[-1] + 1, dtype=bool)
        mask[self.rows.numbers[positions.numpy()]] = True
        return faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))


def up_to_date(cells: faiss.IndexIVF | None, rows: Rows) -> faiss.IndexIVF:
    """The cells with just these rows in them; made anew where there are none, or far too few."""
    if cells is None or 2 * cells.nlist < _cell_count(len(rows)):
        cells = _train(rows)
    held = _held(cells)
    gone = np.setdiff1d(held, rows.numbers)
    if len(gone):
        cells.remove_ids(faiss.IDSelectorBatch(gone))
    means = _places(cells.quantizer.reconstruct_n(0, cells.nlist), rows)
    nearest = faiss.IndexFlatL2(means.shape[1])
    nearest.add(means)
    new = torch.from_numpy(np.flatnonzero(~np.isin(rows.numbers, held)))
    for part in new.split(BLOCK):
        vectors, numbers = _padded(photo_rows(rows.at(part))), rows.numbers[part.numpy()]
        cell = nearest.search(_places(vectors, rows), 1)[1]
        # add_with_ids would choose the cell by the inner product, as searches do.
        cells.add_core(
            len(part), faiss.swig_ptr(vectors), faiss.swig_ptr(numbers), faiss.swig_ptr(cell)
        )
    return cells


def _train(rows: Rows) -> faiss.IndexIVF:
    """Empty cells, by k-means over some of the photos."""
    count = _cell_count(len(rows))
    sample = np.random.default_rng(SEED).permutation(len(rows))[: TRAIN_ROWS * count]
    vectors = _padded(photo_rows(rows.at(torch.from_numpy(np.sort(sample)))))
    places = _places(vectors, rows)
    kmeans = faiss.Kmeans(places.shape[1], count, niter=10, seed=SEED, min_points_per_centroid=1)
    kmeans.train(places)
    cell = kmeans.index.search(places, 1)[1][:, 0]
    means = np.zeros((count, vectors.shape[1]))
    np.add.at(means, cell, vectors)
    means /= np.bincount(cell, minlength=count).clip(1)[:, None]
    coarse = faiss.IndexFlatIP(means.shape[1])
    coarse.add(means.astype(np.float32))
    cells = faiss.IndexIVFScalarQuantizer(
        coarse, coarse.d, count, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT, False
    )
    cells.train(vectors)
    return cells


def _padded(rows: Tensor) -> NDArray[np.float32]:
    """The rows, and zeros up to a multiple of LANES."""
    padded: NDArray[np.float32] = F.pad(rows, (0, -rows.shape[1] % LANES)).numpy()
    return padded


def _places(vectors: NDArray[np.float32], rows: Rows) -> NDArray[np.float32]:
    """[g, sqrt(CELL_WEIGHT) b] of [g, b, |b|^2, 0 ...]: what is near in here shares a cell."""
    d = rows.output.embedding.shape[1]
    k = 0 if rows.output.logits is None else rows.output.logits.shape[1]
    return np.concatenate([vectors[:, :d], CELL_WEIGHT**0.5 * vectors[:, d : d + k]], 1)


def _cell_count(photos: int) -> int:
    return max(1, min(round(photos**0.5), photos // FEWEST_ROWS))


def _held(cells: faiss.IndexIVF) -> NDArray[np.int64]:
    """Numbers of the photos in the cells."""
    lists = cells.invlists
    parts = [
        faiss.rev_swig_ptr(lists.get_ids(cell), lists.list_size(cell)).copy()
        for cell in range(cells.nlist)
        if lists.list_size(cell)
    ]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def _read(file: Path) -> faiss.IndexIVF:
    try:
        return faiss.deserialize_index(np.frombuffer(file.read_bytes(), dtype=np.uint8))
    except RuntimeError as error:
        raise ValueError(f"{file}: damaged; delete it, it is made anew") from error
