"""Names shared by the steps and the summary; importable before the library is built."""

from __future__ import annotations

import os

LOSS, MINING = "loss forward + backward", "mining"
GUIDANCES = (0.5, 0.0, float("inf"))

OURS, GRAPH = "fgsbir_ext", "fgsbir_ext in a graph"
PRODUCT, INTO_FLOAT32 = "bare product", "product into float32"
PLAIN, TUNED, COMPILED = "plain PyTorch", "tuned PyTorch", "torch.compile"

SWITCH = "FGSBIR_TENSOR_CORES"
DEFAULT = "default"
ENGINES = {"mma": "mma", "cuda-cores": "0"}  # values of the switch, by the names in results


def engine() -> str:
    """The name of the engine that the environment asks for."""
    value = os.environ.get(SWITCH)
    return next((name for name, switch in ENGINES.items() if switch == value), DEFAULT)
