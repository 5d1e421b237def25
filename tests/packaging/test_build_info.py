"""Build information."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import fgsbir_ext as fx


def test_fields() -> None:
    info = fx.build_info()
    assert info.version == fx.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", info.version)
    assert re.fullmatch(r"\S+ \d+(\.\d+)*.*", info.compiler)
    assert isinstance(info.cuda_architectures, tuple)


def test_cuda_fields_come_together() -> None:
    info = fx.build_info()
    assert bool(info.cuda_toolkit) == bool(info.cuda_architectures) == info.cuda
    assert bool(info.why_no_cuda) != info.cuda
    if info.cuda:
        assert re.fullmatch(r"\d+\.\d+(\.\d+)?", info.cuda_toolkit)
    if info.cuda_driver is not None:
        assert re.fullmatch(r"\d+\.\d+", info.cuda_driver)


def test_version_is_that_of_the_installed_package() -> None:
    try:
        installed = metadata.version("fgsbir-ext")
    except metadata.PackageNotFoundError:
        pytest.skip("run from the source tree: no package is installed")
    assert fx.__version__ == installed


def test_a_checkout_without_kernels_says_that_it_hides_what_is_installed(tmp_path: Path) -> None:
    package = Path(fx.__file__).parent
    shutil.copytree(package, tmp_path / "fgsbir_ext", ignore=shutil.ignore_patterns("_C*"))
    command = [
        sys.executable,
        "-c",
        "import sys; from importlib.machinery import *\n"
        "sys.meta_path = [BuiltinImporter, FrozenImporter, PathFinder]  # none of an editable one\n"
        "import fgsbir_ext",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    error = done.stderr.splitlines()[-1]
    assert error.startswith(f"ImportError: fgsbir_ext: {tmp_path / 'fgsbir_ext'} has no kernels")
    assert "pip install -e ." in error


def test_public_names() -> None:
    assert sorted(fx.__all__) == fx.__all__
    for name in fx.__all__:
        assert getattr(fx, name).__doc__ or name == "__version__"
