"""The compiled kernels; see csrc/bindings.cpp."""

from collections.abc import Sequence
from typing import Any, ClassVar

version: str
compiler: str
cuda_architectures: str
cuda_toolkit: str
TERMS: int
TRIPLET_DISTANCES: int

class Metric:
    __members__: ClassVar[dict[str, Metric]]

class AttributeMetric:
    __members__: ClassVar[dict[str, AttributeMetric]]

class Reduction:
    __members__: ClassVar[dict[str, Reduction]]

class LossOptions:
    def __init__(
        self,
        metric: Metric,
        attribute_metric: AttributeMetric,
        margin: float | None,
        attribute_margin: float | None,
        lambdas: Sequence[float],
        reduction: Reduction,
    ) -> None: ...

# Kernels, as "<operation>_<type>", taking addresses and sizes.
cpu: Any
cuda: Any  # in builds with CUDA only
