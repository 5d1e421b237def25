"""Time of `fx.topk` by embeddings and attributes, beside embeddings alone, on the CPU.

    python -m benchmarks.studies.topk_attributes --out benchmarks/results/speed/topk-attributes.json

A million photos of 256 dimensions and 20 attributes, in float32 and bfloat16; all searches of one
row take turns. `designs` are those of `benchmarks.studies.gallery_search`, whose photos scatter
around a design as those of products do: most are too far for their attributes to matter, and these
are not looked at. `uniform` is the worst case: all photos are about as far, and all attributes are
read. `read` is the sum of all embeddings by torch, which is bound by memory.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch

import fgsbir_ext as fx
from fgsbir.models import Output

from ..harness.machine import publish
from ..harness.measure import elapsed
from .gallery_search import WEIGHTS, designs, uniform

KEPT = 10
TURNS = {1: 31, 8: 15, 1000: 5}
"""By how many queries are asked at once."""
GALLERIES = {"designs": designs, "uniform": uniform}
TYPES = (torch.float32, torch.bfloat16)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--photos", type=int, default=1_000_000)
    parser.add_argument("--note", default="", help="what else the machine was doing")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    torch.manual_seed(0)
    report: dict[str, Any] = {
        "command": f"python -m benchmarks.studies.topk_attributes --photos {options.photos}",
        "photos": options.photos,
        "threads": torch.get_num_threads(),
        "searches": [],
    }
    for name, make in GALLERIES.items():
        rows, asked = make(options.photos, max(TURNS))
        queries = Output(*(torch.cat(parts) for parts in zip(*asked, strict=True)))
        for dtype in TYPES:
            photos = Output(*(part.to(dtype) for part in rows.output))
            for count, turns in TURNS.items():
                some = Output(*(part[:count].to(dtype) for part in queries))
                described = {"gallery": name, "dtype": str(dtype).split(".")[1], "queries": count}
                report["searches"].append(described | time_searches(some, photos, turns))
    publish(report, options.note, options.out)


def time_searches(queries: Output, photos: Output, turns: int) -> dict[str, float]:
    """Median milliseconds of a search by each weight, and of reading the embeddings."""
    works = {"read": partial(torch.sum, photos.embedding)} | {
        f"attribute_weight {mu:g}": partial(
            fx.topk,
            queries.embedding,
            photos.embedding,
            KEPT,
            query_logits=queries.logits,
            gallery_logits=photos.logits,
            attribute_weight=mu,
        )
        for mu in WEIGHTS
    }
    seconds: dict[str, list[float]] = defaultdict(list)
    for turn in range(turns + 1):
        for name, work in works.items():
            taken = elapsed(work, "cpu")
            if turn > 0:  # the first was to warm up
                seconds[name].append(taken)
    return {f"{name}, median ms": 1e3 * median(values) for name, values in seconds.items()}


if __name__ == "__main__":
    main()
