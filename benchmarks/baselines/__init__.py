"""What computes the operations besides this library, each as its own users would write it.

Every rival gets the same :class:`~benchmarks.workload.Inputs`. What a rival needs is imported when
it is used, so that those that are not installed stand in no one's way.
"""

from .base import OPERATIONS, Operation, Rival, Unsupported, forward_backward
from .cupy import CUPY
from .faiss import FAISS
from .keops import KEOPS
from .limit import BARE_PRODUCT, INTO_FLOAT32, TILES, bare_product
from .metric_learning import METRIC_LEARNING
from .ours import OURS, fgsbir_ext
from .pytorch import COMPILED, PLAIN, TILED, TUNED, plain_pytorch

RIVALS: dict[str, Rival] = {
    rival.name: rival
    for rival in (
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
    "OPERATIONS",
    "RIVALS",
    "Operation",
    "Rival",
    "Unsupported",
    "bare_product",
    "fgsbir_ext",
    "forward_backward",
    "plain_pytorch",
]
