"""Baselines of the benchmarks: PyTorch and other libraries, with this library beside them.

Every baseline gets the same :class:`~benchmarks.workload.Inputs`. The library of a baseline is
imported when it is used, so that one that is not installed does not matter to the others.
"""

from .base import OPERATIONS, Baseline, Operation, Unsupported, forward_backward
from .cupy import CUPY
from .faiss import FAISS
from .keops import KEOPS
from .limit import BARE_PRODUCT, INTO_FLOAT32, TILES, bare_product
from .metric_learning import METRIC_LEARNING
from .ours import OURS, fgsbir_ext
from .pytorch import COMPILED, PLAIN, TILED, TUNED, plain_pytorch

BASELINES: dict[str, Baseline] = {
    baseline.name: baseline
    for baseline in (
        OURS,
        PLAIN,
        TUNED,
        TILED,
        COMPILED,
        METRIC_LEARNING,
        KEOPS,
        CUPY,
        FAISS,
        TILES,
        INTO_FLOAT32,
        BARE_PRODUCT,
    )
}

__all__ = [
    "BASELINES",
    "OPERATIONS",
    "Baseline",
    "Operation",
    "Unsupported",
    "bare_product",
    "fgsbir_ext",
    "forward_backward",
    "plain_pytorch",
]
