"""pytest plugin: the operations on CPU tensors run the CUDA kernels, on the host emulation.

    python -m pytest -p tests.emulation.plugin tests/ops/test_mine_batch_hard.py

``FGSBIR_EMULATION_MODULE`` names a built module; without it the emulation is built first.
``FGSBIR_EMULATION_SEED`` orders threads and blocks (default 0).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from torch import library

from tests.emulation.attach import attach
from tests.emulation.build import MODULE_VARIABLE, build

emulated: Any = None
"""The module of the registered kernels."""

_keep: list[library.Library] = []


def register() -> None:
    """Makes the emulated kernels those of the CPU, for the life of the process."""
    from fgsbir_ext import _ops

    global emulated
    given = os.environ.get(MODULE_VARIABLE)
    backend, emulated = attach(Path(given) if given else build())
    emulated.set_seed(int(os.environ.get("FGSBIR_EMULATION_SEED", "0")))
    kernels = library.Library("fgsbir", "IMPL")
    _ops.register(backend, "cpu", kernels, allow_override=True)
    _keep.append(kernels)


def pytest_configure(config: pytest.Config) -> None:
    register()


def pytest_report_header() -> str:
    return "fgsbir_ext: operations on CPU tensors run the emulated CUDA kernels"
