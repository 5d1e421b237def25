"""Search in a large gallery: exact by fx.topk beside approximate by the cells of faiss.

    python -m benchmarks.studies.gallery_search --photos 1000000 --out gallery-search.json

Photos are made up, in a mixture as embeddings of products form one: a hundred variants of a design
scatter around it, in the 64 leading directions of a spectrum that decays, plus a little of every
direction; their attributes go with the design. Queries lie near a photo, as a sketch does. With
`--mixture none` embeddings are uniform on the sphere, where nothing is near anything: no index
that looks at a part can be right there, and none needs to be.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from fgsbir.gallery.exact_index import ExactIndex
from fgsbir.gallery.faiss_index import IvfIndex, up_to_date
from fgsbir.gallery.match import Ranking
from fgsbir.gallery.store import Rows
from fgsbir.models import Output

from ..harness.machine import publish

D, K, LATENT, VARIANTS = 256, 20, 64, 100
WEIGHTS = (0.0, 0.2, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--photos", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--mixture", choices=("designs", "none"), default="designs")
    parser.add_argument("--note", default="", help="what else the machine was doing")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    torch.manual_seed(0)
    make = designs if options.mixture == "designs" else uniform
    rows, queries = make(options.photos, options.queries)
    exact = ExactIndex(rows)
    started = time.perf_counter()
    ivf = IvfIndex(rows, up_to_date(None, rows))
    built = time.perf_counter() - started
    report = {
        "command": f"python -m benchmarks.studies.gallery_search --photos {options.photos} "
        f"--queries {options.queries} --mixture {options.mixture}",
        "photos": options.photos,
        "embedding_dim": D,
        "attributes": K,
        "queries": options.queries,
        "mixture": options.mixture,
        "rows_mib": sum(part.nbytes for part in rows.output) / 2**20,
        "cells": ivf.cells.nlist,
        "cells_build_seconds": built,
        "cells_mib": len(faiss.serialize_index(ivf.cells)) / 2**20,
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10,
        "searches": [compare(exact, ivf, queries, mu) for mu in WEIGHTS],
        "threads": torch.get_num_threads(),
    }
    publish(report, options.note, options.out)


def designs(photos: int, queries: int) -> tuple[Rows, list[Output]]:
    """Photos around designs, and queries each near one of them."""
    spectrum = torch.arange(1, LATENT + 1).pow(-0.5)
    centres = torch.randn(max(1, photos // VARIANTS), LATENT) * spectrum
    lift = torch.randn(LATENT, D) / D**0.5
    describe = 3 * torch.randn(LATENT, K) / LATENT**0.5

    def embed(latent: Tensor) -> Tensor:
        return normalize((latent @ lift).add_(torch.randn(len(latent), D), alpha=0.3 / D**0.5))

    def logits(latent: Tensor) -> Tensor:
        return 4 * (latent @ describe) + torch.randn(len(latent), K)

    embedding, predicted = torch.empty(photos, D), torch.empty(photos, K)
    drawn = torch.randint(len(centres), (photos,)).split(65536)
    at = 0
    for design in drawn:
        latent = centres[design] + 0.5 * torch.randn(len(design), LATENT) * spectrum
        embedding[at : at + len(design)] = embed(latent)
        predicted[at : at + len(design)] = logits(latent)
        at += len(design)
    chosen = latent[torch.randint(len(latent), (queries,))]
    seen = chosen + 0.25 * torch.randn_like(chosen) * spectrum
    return _rows(embedding, predicted), _split(embed(seen), logits(seen))


def uniform(photos: int, queries: int) -> tuple[Rows, list[Output]]:
    """Everything uniform on the sphere, attributes independent of it."""
    embedding = normalize(torch.randn(photos, D))
    seen = normalize(torch.randn(queries, D))
    return _rows(embedding, torch.randn(photos, K)), _split(seen, torch.randn(queries, K))


def compare(
    exact: ExactIndex, ivf: IvfIndex, queries: list[Output], mu: float, k: int = 10
) -> dict[str, Any]:
    """Median milliseconds a query of both, and recall@k of the approximate one."""
    seconds: dict[str, list[float]] = {"exact": [], "ivf": []}
    found: list[dict[str, set[int]]] = []
    for query in queries:
        numbers = {}
        for name, index in (("exact", exact), ("ivf", ivf)):
            started = time.perf_counter()
            candidates = index.search(query, k, mu, {})
            ranking = Ranking(query, candidates, mu)
            names = [str(i) for i in range(K)]
            matches = [ranking.match(one, names) for one in ranking.each()[:k]]
            seconds[name].append(time.perf_counter() - started)
            numbers[name] = {match.index for match in matches}
        found.append(numbers)
    recall = np.mean([len(one["exact"] & one["ivf"]) / k for one in found])
    return {
        "attribute_weight": mu,
        **{f"{name}_median_ms": 1e3 * float(np.median(s)) for name, s in seconds.items()},
        **{f"{name}_p95_ms": 1e3 * float(np.quantile(s, 0.95)) for name, s in seconds.items()},
        f"recall@{k}": float(recall),
    }


def _rows(embedding: Tensor, logits: Tensor) -> Rows:
    paths = [f"{i}.jpg" for i in range(len(embedding))]
    return Rows(np.arange(len(embedding)), paths, Output(embedding, logits))


def _split(embedding: Tensor, logits: Tensor) -> list[Output]:
    return [Output(embedding[i : i + 1], logits[i : i + 1]) for i in range(len(embedding))]


if __name__ == "__main__":
    main()
