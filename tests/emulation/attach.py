"""Attachment of the emulated kernels to the CUDA backend, which then takes CPU tensors."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

from tests.emulation.build import NAME

_CPU = -1  # what tensors there have as the index of their device


def attach(path: Path) -> tuple[ModuleType, Any]:
    """A copy of fgsbir_ext._backends.cuda over the kernels built at ``path``, and their module.

    The module has besides: ``set_seed(seed)``, ``launches()``, ``launched_since(count)`` and
    ``products_of_warpgroups()``.
    """
    from fgsbir_ext import _C, _backends

    emulated = _load(f"{path.parent.name}.{NAME}", path)  # another build is another module
    source = Path(_backends.__file__).with_name("cuda.py")
    with mock.patch.object(_C, "cuda", emulated, create=True):
        backend: Any = _load("fgsbir_ext._backends.emulated_cuda", source)
    backend._current_device = lambda: _CPU
    backend._stream = lambda device: 0
    return backend, emulated


def launches_since(emulated: Any, first: int) -> list[tuple[str, Any]]:
    """Each grid that was run, from the ``first``-th on: its kernel's name, and how it was launched.

    A name is that of a profiler. A launch has ``grid_x``, ``grid_y``, ``threads``, ``shared`` (a
    block's dynamic shared memory in bytes) and ``parameters`` (the bytes of each).
    """
    symbols = subprocess.run(
        ["nm", "--demangle", "--defined-only", emulated.__file__],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    names = {}
    for line in symbols.splitlines():
        address, _, name = line.split(maxsplit=2)
        names[int(address, 16)] = name
    return [(names[launch.kernel], launch) for launch in emulated.launched_since(first)]


def _load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
