"""pytest plugin: the operations on CPU tensors run the CUDA kernels, on the host emulation.

    pytest -p emulation.plugin tests/test_mine_batch_hard.py

``FGSBIR_EMULATION_MODULE`` names the built module; without it the emulation is built first.
``FGSBIR_EMULATION_SEED`` orders threads and blocks (default 0).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from emulation.build import build, load


def install(path: Path) -> None:
    """Registers fgsbir_ext.backends.cuda, over the emulated kernels, for the CPU."""
    from fgsbir_ext import _C, ops

    emulated = load(path)
    emulated.set_seed(int(os.environ.get("FGSBIR_EMULATION_SEED", "0")))
    _C.cuda = emulated
    from fgsbir_ext.backends import cuda

    @contextmanager
    def no_stream(device: torch.device) -> Iterator[int]:
        yield 0

    cuda._kernels = emulated
    cuda._current_stream = no_stream
    library = torch.library.Library("fgsbir", "IMPL")
    for name in ops.OPERATIONS:
        library.impl(name, getattr(cuda, name), "CPU", allow_override=True)
    _keep.append(library)


_keep: list[torch.library.Library] = []


def pytest_configure(config: pytest.Config) -> None:
    given = os.environ.get("FGSBIR_EMULATION_MODULE")
    install(Path(given) if given else build())
