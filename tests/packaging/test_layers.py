"""Layers: imports run down only, as the import-linter contracts in pyproject.toml say."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

pytest.importorskip("importlinter")


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """What import-linter says of the packages below a folder, never of those installed."""
    paths = os.pathsep.join([str(folder), str(folder / "python")])
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", command, "--no-cache", "--no-logo"],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths},
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The packages and their contracts, to be changed."""
    for package in ("fgsbir_ext", "python/fgsbir", "benchmarks"):
        ignored = shutil.ignore_patterns("*.so", "__pycache__", "static", "results")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_imports_run_down(copy: Path) -> None:
    done = lint(copy)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("file", "line", "said"),
    [
        ("python/fgsbir/models/resnet.py", "from ..training import optim", "fgsbir.training"),
        ("python/fgsbir/data/pairs.py", "from .loaders import open_dataset", "cycles"),
        ("python/fgsbir/gallery/add.py", "def f():\n    from ..cli import main", "fgsbir.cli"),
        ("python/fgsbir/gallery/add.py", "from ..training import optim", "fgsbir.training"),
        ("python/fgsbir/serve/work.py", "from ..training import optim", "fgsbir.training"),
        ("fgsbir_ext/types.py", "from . import _ops", "fgsbir_ext._ops"),
        ("fgsbir_ext/types.py", "from fgsbir import load", "-> fgsbir"),
        ("fgsbir_ext/types.py", "import benchmarks", "-> benchmarks"),
        ("benchmarks/workload.py", "from .harness import grid", "benchmarks.harness"),
        ("python/fgsbir/helpers.py", "", "fgsbir.helpers"),
    ],
)
def test_an_import_that_runs_up_is_found(copy: Path, file: str, line: str, said: str) -> None:
    with open(copy / file, "a") as module:
        module.write(f"{line}\n")
    done = lint(copy)
    assert done.returncode == 1
    assert said in done.stdout
