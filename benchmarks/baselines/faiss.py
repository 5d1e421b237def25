"""faiss: exhaustive search in a flat index, built beforehand.

By inner product and with BLAS at any number of queries, the fastest of its four ways here; by
default it takes BLAS from 128,000 queries on. On unit vectors the nearest by inner product are the
nearest by distance.
"""

from __future__ import annotations

from typing import Any

import torch

from ..workload import Inputs
from .base import TOP, Baseline, Unsupported, Work


def _search(inputs: Inputs) -> Work:
    if inputs.sketch.dtype != torch.float32:
        raise Unsupported(f"faiss takes float32, not {inputs.sketch.dtype}")
    import faiss

    queries, gallery = (x.detach().numpy() for x in inputs.leaves[:2])
    faiss.omp_set_num_threads(torch.get_num_threads())
    # Its default is no matrix product for so few queries; wider pieces of it gain a little more.
    faiss.cvar.distance_compute_blas_threshold = 1
    faiss.cvar.distance_compute_blas_database_bs = 4096
    index = faiss.IndexFlatIP(gallery.shape[1])
    index.add(gallery)

    def search() -> tuple[Any, Any]:
        similarities, indices = index.search(queries, TOP)
        return 2 - 2 * similarities, indices

    return search


FAISS = Baseline(
    "faiss flat",
    {"top-k": _search},
    tier="peer",
    requires="faiss",
    package="faiss-cpu",
    devices=("cpu",),
)
