"""faiss: exhaustive search in a flat index, built beforehand."""

from __future__ import annotations

from functools import partial

import torch

from ..workload import Inputs
from .base import TOP, Rival, Unsupported, Work


def _search(inputs: Inputs) -> Work:
    if inputs.sketch.dtype != torch.float32:
        raise Unsupported(f"faiss takes float32, not {inputs.sketch.dtype}")
    import faiss

    queries, gallery = (x.detach().numpy() for x in inputs.leaves[:2])
    faiss.omp_set_num_threads(torch.get_num_threads())
    index = faiss.IndexFlatL2(gallery.shape[1])
    index.add(gallery)
    return partial(index.search, queries, TOP)


FAISS = Rival("faiss flat", {"top-k": _search}, requires="faiss", devices=("cpu",))
