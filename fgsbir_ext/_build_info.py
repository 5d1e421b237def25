"""Build information: version, compiler, CUDA architectures."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

if find_spec("._C", __package__) is None:
    raise ImportError(
        f"fgsbir_ext: {Path(__file__).parent} has no kernels built for Python "
        f"{sys.version_info[0]}.{sys.version_info[1]}. If it is a checkout that hides the "
        "installed package, start Python in another folder (or with -I, which also ignores "
        "PYTHONPATH); to use the checkout itself: pip install -e ."
    )

from . import _C


class BuildInfo(NamedTuple):
    """How the kernels were built.

    Attributes:
        version: Of the package.
        compiler: Of the C++ kernels.
        cuda: Whether CUDA kernels are built in.
        cuda_architectures: What they were built for, as CMake names it; empty without.
        cuda_toolkit: Version of the CUDA compiler, "13.0.88"; None without.
        why_no_cuda: What the build lacked for CUDA kernels; None with them.
        cuda_driver: Highest CUDA version of this machine's driver, "13.0"; None without a driver.
    """

    version: str
    compiler: str
    cuda: bool
    cuda_architectures: tuple[str, ...]
    cuda_toolkit: str | None
    why_no_cuda: str | None
    cuda_driver: str | None


def build_info() -> BuildInfo:
    """Version, whether CUDA kernels are built in, architectures, toolkit and driver versions."""
    cuda = hasattr(_C, "cuda")
    driver = _C.cuda.driver_version() if cuda else 0
    return BuildInfo(
        version=_C.version,
        compiler=_C.compiler,
        cuda=cuda,
        cuda_architectures=tuple(filter(None, _C.cuda_architectures.split(","))),
        cuda_toolkit=_C.cuda_toolkit or None,
        why_no_cuda=_C.why_no_cuda or None,
        cuda_driver=f"{driver // 1000}.{driver % 1000 // 10}" if driver else None,
    )
