"""Expected GPU times of the kernels: those of an H200, a tenth less to a tenth more.

Measured with driver 580, CUDA 13.0 and torch 2.11 at commit 7ae8a1b; the times of 3564b94, in
benchmarks/results/speed/gpu_check-H200, lie within them. An H100 has the same multiprocessors and
slower memory. docs/gpu.md says what was predicted before.
"""

from __future__ import annotations

from dataclasses import dataclass

from .names import LOSS, MINING


@dataclass(frozen=True)
class Prediction:
    """Microseconds on the device of an operation at N = M, D = 256, by the default engine."""

    operation: str
    dtype: str
    n: int
    guidance: str
    low: float
    high: float

    @property
    def title(self) -> str:
        operation = "loss" if self.operation == LOSS else self.operation
        return f"{operation} {self.dtype} {self.n} guided {self.guidance}"


PREDICTIONS = (
    Prediction(MINING, "bfloat16", 16384, "0.0", 293, 359),
    Prediction(MINING, "bfloat16", 16384, "0.5", 358, 438),
    Prediction(MINING, "float32", 16384, "0.0", 2470, 3020),
    Prediction(MINING, "float32", 16384, "0.5", 2540, 3110),
    Prediction(LOSS, "bfloat16", 16384, "0.5", 482, 590),
    Prediction(LOSS, "float32", 16384, "0.5", 2660, 3260),
    Prediction(LOSS, "bfloat16", 65536, "0.5", 5630, 6880),
    Prediction(LOSS, "float32", 65536, "0.5", 39600, 48400),
    Prediction(LOSS, "float32", 128, "0.5", 37, 46),
)
