"""Fixtures of the emulated CUDA kernels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.emulation.attach import attach
from tests.emulation.build import built_or_skip


@pytest.fixture(scope="session")
def module_path() -> Path:
    """The built module of the emulated kernels."""
    return built_or_skip()


@pytest.fixture(scope="session")
def emulation(module_path: Path) -> tuple[Any, Any]:
    """The CUDA backend over emulated kernels, and the kernels' module."""
    return attach(module_path)
