"""Backends of ``torch.ops.fgsbir``: one module per device type.

Each has one function per operation, whose arguments have been checked: tensors one by one, or as
two sides and options. It allocates the results with torch, launches, returns: no autograd, and on
CUDA no host synchronisation. C++ makes inputs dense.
"""

from __future__ import annotations

from types import ModuleType

from .. import _C
from . import cpu


def available() -> dict[str, ModuleType]:
    """The backend of each device type that this build has kernels for."""
    backends = {"cpu": cpu}
    if hasattr(_C, "cuda"):
        from . import cuda

        backends["cuda"] = cuda
    return backends
