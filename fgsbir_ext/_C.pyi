"""The compiled kernels; see csrc/bindings.cpp."""

from collections.abc import Sequence
from typing import Any, ClassVar

version: str
compiler: str
cuda_architectures: str
cuda_toolkit: str
why_no_cuda: str
TERMS: int
TRIPLET_DISTANCES: int

class Metric:
    __members__: ClassVar[dict[str, Metric]]

class AttributeMetric:
    __members__: ClassVar[dict[str, AttributeMetric]]

class Reduction:
    __members__: ClassVar[dict[str, Reduction]]

class MiningOptions:
    def __init__(self, metric: Metric, guidance: float, exclude_self: bool) -> None: ...

class SearchOptions:
    def __init__(
        self, k: int, attribute_weight: float, metric: Metric, attribute_metric: AttributeMetric
    ) -> None: ...

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

# Operations, of tensors and of sides; those of the CPU as "<operation>_<type>".
cpu: Any
cuda: Any  # in builds with CUDA only
