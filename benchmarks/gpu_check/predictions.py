"""Predicted GPU times of the kernels, worked out before any had run.

Counted in the machine code for sm_90a and in a replay of the mining epilogue on the benchmark's own
inputs, for 132 multiprocessors at 1.8 GHz. docs/unproven-on-gpu.md says how.
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
    Prediction(MINING, "bfloat16", 16384, "0.0", 350, 600),
    Prediction(MINING, "bfloat16", 16384, "0.5", 1300, 2500),
    Prediction(MINING, "float32", 16384, "0.0", 1250, 2000),
    Prediction(MINING, "float32", 16384, "0.5", 2000, 4000),
    Prediction(LOSS, "bfloat16", 16384, "0.5", 1400, 2600),
    Prediction(LOSS, "float32", 16384, "0.5", 2100, 4100),
    Prediction(LOSS, "bfloat16", 65536, "0.5", 20000, 41000),
    Prediction(LOSS, "float32", 65536, "0.5", 32000, 65000),
    Prediction(LOSS, "float32", 128, "0.5", 28, 42),
)
