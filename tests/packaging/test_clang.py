"""The C++ kernels as Clang builds them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.building import configure
from tests.support.paths import ROOT


def configure_for_clang(folder: Path, *options: str) -> str:
    """What CMake printed."""
    if shutil.which("clang++") is None:
        pytest.skip("no clang++ on PATH")
    compiler = "-DCMAKE_CXX_COMPILER=clang++"
    status, output = configure(folder, "-DFGSBIR_CUDA=OFF", compiler, *options)
    if "builds no OpenMP program" in output:
        pytest.skip("no libomp")
    assert status == 0, output
    return output


def test_a_second_openmp_runtime_is_warned_of(tmp_path: Path) -> None:
    output = configure_for_clang(tmp_path)
    assert "Clang's OpenMP runtime is a second one beside that of torch's wheels" in output


@pytest.mark.kernels
def test_clang_builds_the_kernels_for_every_instruction_set(tmp_path: Path) -> None:
    for name in ("fgsbir_ext", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("_C*.so"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    output = f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={tmp_path / 'fgsbir_ext'}"
    configure_for_clang(tmp_path, "-DFGSBIR_WARNINGS_AS_ERRORS=ON", output)
    subprocess.run(["cmake", "--build", tmp_path / "build"], check=True)
    files = ["cpu/test_products.py", "ops/test_mine_batch_hard.py", "ops/test_topk.py"]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    command += [f"tests/{file}" for file in files]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "compiler='Clang" in done.stdout  # as the header of pytest says
