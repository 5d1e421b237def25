"""Launches to verify, recorded from the library's own code on emulated CUDA."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from benchmarks.kernel_report.blocks import short_name
from fgsbir_ext.types import ChosenTriplets, LossOptions, MiningOptions, SearchOptions, Side
from tests.support.cases import LAMBDAS
from tests.support.engines import ENGINES
from tests.support.paths import ROOT
from tests.verification.counters import Choice, Counting

Epilogue = Literal["scan", "weigh"]  # of mining: mine_scan.cuh or mine_weigh.cuh
_DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}


@dataclass(frozen=True)
class Launch:
    """A launch of a kernel: blocks along x and y, threads and bytes of shared memory of a block."""

    operation: str
    shape: str
    dtype: str
    engine: str
    kernel: str
    grid: tuple[int, int]
    threads: int
    shared: int
    parameters: tuple[bytes, ...]
    epilogue: Epilogue | None
    quick: bool
    branches: bool
    counters: Choice = "kept"
    count: int = 0

    @property
    def counting(self) -> Counting:
        """Who adds to which counter: those of a tile are shared by the threads of a row.

        See csrc/cuda/layout.cuh for these, and counters.py for the lanes that sort references.
        """
        shared = ("TensorTile", 0b1000_0011), ("Tile", 0b1111), ("gradients_of_anchors", 1)
        sharers = next((bits for kernel, bits in shared if kernel in self.kernel), 0)
        return Counting(sharers, self.counters, self.count)

    @property
    def source(self) -> str:
        """The file of csrc/cuda that has the kernel."""
        if self.kernel.startswith("prepare"):
            return "prepare"
        mining = ("mine_tiles", "closest_attributes", "write_triplets")
        if self.kernel.startswith(mining):
            return "mine_batch_hard"
        backward = ("gradients_of_anchors", "gradients_of_photos")
        return self.operation + ("_backward" if self.kernel.startswith(backward) else "")


@dataclass(frozen=True)
class Case:
    """A call of an operation, and which of its kernels it is to show.

    ``shape`` is (N, M, D, K), ``guidance`` and ``weighted`` are of attributes. ``misaligned``: rows
    are no multiples of 16 bytes. ``epilogue``: what mining does with the products, which its blocks
    decide by a vote of their threads. ``blocks``: how many of a grid's are verified. ``quick``: the
    types that are in the quick set, which CI verifies. ``branches``: those of which each branch
    that data decide may be taken both ways. ``counters``: which lanes choose which, and ``count``:
    what a pool of candidates holds (counters.py).
    """

    operation: str
    kernel: str
    shape: tuple[int, int, int, int]
    dtypes: tuple[str, ...] = ("float32",)
    engines: tuple[str, ...] = ("cuda_cores",)
    metric: Any = "euclidean"
    guidance: float = 0.0
    weighted: bool = False
    k: int = 5
    attribute_metric: Any = "cross_entropy"
    reduction: Any = "mean"
    misaligned: bool = False
    epilogue: Epilogue | None = None
    blocks: tuple[int, int] | None = None
    quick: tuple[str, ...] = ()
    branches: tuple[str, ...] = ()
    counters: Choice = "kept"
    count: int = 0

    def label(self) -> str:
        """The shape and what else matters to the way through the kernel."""
        n, m, d, k = self.shape
        words = [f"{n} x {m}" + (f" x {d}" if d else "") + (f", K = {k}" if k else "")]
        words += [self.metric] if self.metric != "euclidean" else []
        words += [f"guidance {self.guidance:g}"] if self.guidance else []
        words += ["weights"] if self.weighted else []
        words += [f"k = {self.k}"] if self.operation == "topk" else []
        words += [f"{self.count} in each pool"] if self.count else []
        words += ["no reduction"] if self.reduction == "none" else []
        words += [self.epilogue] if self.epilogue else []
        words += ["misaligned"] if self.misaligned else []
        words += [f"counters {self.counters}"] if self.counters != "kept" else []
        return ", ".join(words)


_ALL = ("float32", "float64", "float16", "bfloat16")
_COMPUTE = ("float32", "float64")
_SINGLE = ("float32", "float16")
_ONE = ("float32",)
_HALF = ("float16",)
_16_BITS = ("float16", "bfloat16")
_MMA: tuple[str, ...] = ("tensor_cores",)
_WGMMA: tuple[str, ...] = ("warpgroups",)

_distance = partial(Case, "pairwise_distance")
_mining = partial(Case, "mine_batch_hard")
_scan = partial(_mining, "mine_tiles", epilogue="scan", blocks=(1, 1))
_weigh = partial(_mining, "mine_tiles", epilogue="weigh", blocks=(1, 1))
_infinite: dict[str, Any] = {"guidance": float("inf")}
_weighted: dict[str, Any] = {"guidance": 0.5, "weighted": True}
_search = partial(Case, "topk")
_loss = partial(Case, "attribute_triplet_loss")

# Sketches are many where few photos are to be one split, and large tiles to be worthwhile.
CASES: tuple[Case, ...] = (
    _distance("prepare_rows", (9, 5, 37, 0), _ALL, metric="cosine", quick=_ALL),
    _mining("prepare_rows", (9, 5, 37, 21), _ALL, **_weighted, quick=_ALL, branches=_ONE),
    Case("attribute_distance", "attribute_distance_kernel", (20, 70, 0, 37), quick=_ONE),
    Case("attribute_distance", "attribute_distance_kernel", (20, 70, 0, 8), weighted=True),
    _distance("distances<", (64, 64, 40, 0), _ALL, quick=_ONE),
    _distance("distances<", (50, 70, 17, 0), _ALL, metric="cosine", quick=_COMPUTE, branches=_ONE),
    _distance("gradients<", (50, 40, 70, 0)),
    _distance("gradients", (50, 40, 17, 0), _ALL, metric="cosine", quick=_ONE, branches=_ONE),
    _distance("distances_from", (64, 64, 72, 0), _SINGLE, _MMA, quick=_HALF, branches=_HALF),
    _distance("distances_from", (50, 64, 17, 0), _SINGLE, _MMA, misaligned=True),
    _distance("distances_from", (2048, 2048, 72, 0), _SINGLE, _MMA, blocks=(1, 1)),
    _distance("distances_from", (2048, 2048, 72, 0), _16_BITS, _WGMMA, blocks=(1, 1)),
    _weigh((30, 30, 17, 0), _ONE, quick=_ONE, branches=_ONE),
    _weigh((512, 40, 17, 0), _COMPUTE),
    _weigh((512, 40, 17, 21), guidance=0.5),
    _weigh((512, 40, 17, 21), **_infinite),
    _weigh((512, 40, 17, 21), **_weighted),
    _weigh((8192, 70, 17, 0), ("float64",)),
    _scan((512, 40, 8, 0), quick=_ONE, branches=_ONE),
    _scan((512, 40, 17, 0), _SINGLE),
    _scan((512, 40, 17, 21), guidance=0.5),
    _scan((512, 40, 17, 21), **_infinite),
    _scan((8192, 70, 17, 0), _ONE),
    _scan((16384, 70, 17, 0), _ONE),
    _mining("mine_tiles", (50, 70, 40, 0), _ONE, epilogue="scan"),
    _weigh((512, 70, 40, 0), _HALF, _MMA),
    _scan((512, 40, 40, 0), _HALF, _MMA, quick=_HALF, branches=_HALF),
    _scan((512, 70, 40, 0), _SINGLE, _MMA),
    _scan((512, 70, 17, 0), _HALF, _MMA, misaligned=True),
    _scan((512, 70, 40, 21), _HALF, _MMA, guidance=0.5),
    _scan((512, 40, 40, 21), _HALF, _MMA, **_infinite),
    _weigh((512, 40, 40, 21), _HALF, _MMA, **_weighted),
    _scan((32768, 64, 40, 0), _ONE, _MMA),
    _scan((32768, 128, 40, 0), _HALF, _MMA),
    _scan((16384, 140, 72, 0), _16_BITS, _WGMMA),
    _mining("closest_attributes", (5, 70, 8, 21), _COMPUTE, **_infinite, quick=_ONE, branches=_ONE),
    _mining("closest_attributes", (5, 70, 8, 37), _COMPUTE, **_infinite, weighted=True),
    _mining("write_triplets", (20, 70, 8, 0), _COMPUTE, quick=_ONE),
    _search("write_predictions", (9, 70, 8, 5), _ALL, quick=_COMPUTE),
    # Row 8 of a tile, in tensor cores' row 16, has candidates of a warp that another one reads.
    _search("search_tiles", (9, 70, 40, 0), _ALL, count=8, branches=_ONE),
    _search("search_tiles", (33, 70, 8, 0), ("float64",), count=8),
    _search("search_tiles", (9, 70, 8, 5), _COMPUTE, count=8),
    _search("search_tiles", (2, 210, 8, 0), _ONE, k=200, count=48),
    _search("search_tiles", (2, 70, 8, 0), _ONE, count=256),
    _search("search_tiles", (17, 70, 40, 0), _HALF, _MMA, count=8, quick=_HALF),
    _search("search_tiles", (17, 70, 72, 0), _SINGLE, _MMA, count=8),
    _search("search_tiles", (17, 70, 40, 5), _SINGLE, _MMA, count=8),
    _search("search_tiles", (17, 70, 8, 0), _HALF, _MMA, count=256),
    _search("merge_splits", (2, 70, 8, 0), _ALL, quick=_COMPUTE, branches=_ONE),
    _search("merge_splits", (2, 700, 8, 5), _ALL),
    _loss("loss_of_anchors", (9, 70, 37, 21), _ALL, quick=_ONE, branches=_ONE),
    _loss("loss_of_anchors", (9, 70, 37, 21), _ALL, metric="cosine", reduction="none"),
    _loss("reduce_terms", (70, 70, 8, 5), _COMPUTE, quick=_ONE),
    # The last blocks of a launch sort references.
    _loss("gradients_of_anchors", (9, 70, 37, 21), _ALL, blocks=(2, 1), quick=_ONE, branches=_ONE),
    _loss("gradients_of_anchors", (9, 70, 37, 21), _ONE, quick=_ONE),
    _loss("gradients_of_anchors", (9, 70, 300, 21), _ONE, metric="cosine"),
    _loss("gradients_of_anchors", (9, 520, 37, 21), _ONE),
    _loss("gradients_of_anchors", (256, 70, 1, 0), _ONE, counters="passed on", quick=_ONE),
    _loss("gradients_of_photos", (9, 7, 37, 21), _ALL, quick=_ONE, branches=_ONE),
    _loss("gradients_of_photos", (9, 7, 300, 21), _ONE, metric="cosine"),
)


def _tensor(rows: int, columns: int, dtype: torch.dtype, misaligned: bool = False) -> Tensor:
    """Its values are of no matter; it lies at a multiple of 64 bytes, or beside one."""
    whole = torch.zeros(rows * columns + 1, dtype=dtype)
    return whole[1:].view(rows, columns) if misaligned else whole[:-1].view(rows, columns)


def _sides(case: Case, dtype: torch.dtype) -> tuple[Side, Side]:
    n, m, d, k = case.shape

    def side(rows: int) -> Side:
        attributes = torch.zeros(rows, k, dtype=torch.int8) if k else None
        return Side(
            _tensor(rows, d, dtype, case.misaligned),
            _tensor(rows, k, dtype) if k else None,
            attributes,
            torch.zeros(rows, dtype=torch.int64),
        )

    return side(n), side(m)


def _call(case: Case, dtype: torch.dtype, backend: Any) -> None:
    """Call the operation."""
    x, y = _sides(case, dtype)
    n, _, _, k = case.shape
    weights = torch.ones(k, dtype=torch.float64) if case.weighted else None
    if case.operation == "pairwise_distance":
        distance = backend.pairwise_distance(x.embedding, y.embedding, case.metric)
        backend.pairwise_distance_backward(
            distance.clone(), distance, x.embedding, y.embedding, case.metric
        )
    elif case.operation == "attribute_distance":
        backend.attribute_distance(x.attributes, y.attributes, weights)
    elif case.operation == "mine_batch_hard":
        backend.mine_batch_hard(x, y, weights, MiningOptions(case.metric, case.guidance))
    elif case.operation == "topk":
        weight = 0.5 if k else 0.0
        options = SearchOptions(case.k, weight, case.metric, case.attribute_metric)
        backend.topk(x._replace(attributes=None), y._replace(attributes=None), options)
    else:
        settings = LossOptions(
            0.3,
            0.2,
            case.metric,
            case.attribute_metric,
            *[1.0] * len(LAMBDAS),
            case.guidance,
            case.reduction,
        )
        total, _, _, saved = backend.attribute_triplet_loss(x, y, weights, settings)
        photos = torch.stack([torch.zeros(n, dtype=torch.int64), torch.ones(n, dtype=torch.int64)])
        chosen = ChosenTriplets(photos, torch.ones_like(saved))
        backend.attribute_triplet_loss_backward(
            torch.ones_like(total), None, x, y, chosen, settings
        )


def record(engine: str, cases: tuple[Case, ...]) -> Iterator[Launch]:
    """The launches of cases by this process, whose environment allows the engine.

    Of equal launches by one call the first alone.
    """
    from tests.emulation.attach import attach, launches_since
    from tests.emulation.build import build

    backend, emulated = attach(build())
    emulated.set_runs(False)
    for case in cases:
        for dtype in case.dtypes if engine in case.engines else ():
            first = emulated.launches()
            seen = set()
            _call(case, _DTYPES[dtype], backend)
            for symbol, launch in launches_since(emulated, first):
                name = short_name(symbol)
                grid = (launch.grid_x, launch.grid_y)
                if not name.startswith(case.kernel) or (name, grid) in seen:
                    continue
                seen.add((name, grid))
                if case.blocks is not None:
                    grid = (min(grid[0], case.blocks[0]), min(grid[1], case.blocks[1]))
                yield Launch(
                    case.operation,
                    case.label(),
                    dtype,
                    engine,
                    name,
                    grid,
                    launch.threads,
                    launch.shared,
                    tuple(launch.parameters),
                    case.epilogue,
                    dtype in case.quick,
                    dtype in case.branches,
                    case.counters,
                    case.count,
                )
            if not seen:
                raise ValueError(f"{case.operation} launches no kernel named {case.kernel}")


def launches(engine: str, cases: tuple[Case, ...] = CASES) -> list[Launch]:
    """The launches of cases, recorded by another process: an engine is allowed for good."""
    command = [sys.executable, "-m", __spec__.name, engine]
    environment = os.environ | {"FGSBIR_TENSOR_CORES": ENGINES[engine].switch}
    result = subprocess.run(
        command,
        input=json.dumps([asdict(case) for case in cases]),
        capture_output=True,
        text=True,
        env=environment,
        cwd=ROOT,
    )
    if result.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}:\n{result.stdout}{result.stderr}")
    return [_from_json(launch) for launch in json.loads(result.stdout)]


def _to_json(launch: Launch) -> dict[str, Any]:
    return asdict(launch) | {"parameters": [p.hex() for p in launch.parameters]}


def _from_json(read: dict[str, Any]) -> Launch:
    parameters = tuple(bytes.fromhex(p) for p in read["parameters"])
    return Launch(**read | {"parameters": parameters, "grid": tuple(read["grid"])})


if __name__ == "__main__":
    engine = sys.argv[1]
    cases = tuple(Case(**case) for case in json.load(sys.stdin))
    print(json.dumps([_to_json(launch) for launch in record(engine, cases)]))
