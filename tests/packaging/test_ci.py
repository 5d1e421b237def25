"""The kernels' part of CI, which is left out only where nothing has changed that matters to it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.paths import ROOT

SOURCES = [
    ".ci/common.sh",
    ".ci/kernels",
    "CMakeLists.txt",
    "benchmarks/workload.py",
    "cmake/cuda.cmake",
    "constraints.txt",
    "csrc/cuda/topk.cu",
    "fgsbir_ext/_checks.py",
    "pyproject.toml",
    "setup.py",
    "tests/__init__.py",
    "tests/benchmarks/test_gpu_check.py",
    "tests/benchmarks/test_studies.py",
    "tests/conftest.py",
    "tests/cpu/test_products.py",
    "tests/cuda/test_engines.py",
    "tests/emulation/build.py",
    "tests/ops/test_topk.py",
    "tests/packaging/test_clang.py",
    "tests/support/compare.py",
    "tests/verification/ptx.py",
]
OTHERS = ["README.md", "benchmarks/results/cpu.json", "python/fgsbir/config.py"]

Run = Callable[..., bool]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository of one file for each of the script's inputs; those of .ci are the real ones."""
    root = tmp_path / "checkout"
    for name in [*SOURCES, *OTHERS]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if name.startswith(".ci/"):
            shutil.copy(ROOT / name, root / name)
        else:
            (root / name).write_text(name)
    subprocess.run(["git", "init", "-q", root], check=True)
    stage(root)
    return root


def stage(root: Path) -> None:
    subprocess.run(["git", "-C", root, "add", "-A"], check=True)


@pytest.fixture
def ran(checkout: Path, tmp_path: Path) -> Run:
    """Whether the script ran the checks, to the last; its programs do nothing, or fail."""
    programs, calls = tmp_path / "bin", tmp_path / "calls"
    programs.mkdir()
    for name in ("pytest", "python", "nvcc", "c++", "clang++"):
        (programs / name).write_text(
            f'#!/bin/sh\necho "{name} $*" >>"{calls}"\n'
            'case "$*" in *--version*) echo "$COMPILER" ;; *"$FAILS"*) exit 1 ;; esac\n'
        )
        (programs / name).chmod(0o755)

    def ran(*options: str, fails: str = "nothing", compiler: str = "release 13.0, V1") -> bool:
        calls.write_text("")
        environment = {name: value for name, value in os.environ.items() if name != "CXX"}
        environment |= {"FAILS": fails, "COMPILER": compiler}
        environment["PATH"] = f"{programs}{os.pathsep}{environment['PATH']}"
        command = [checkout / ".ci" / "kernels", "--store", *options]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert (done.returncode == 0) == (fails == "nothing"), done.stderr
        return "tests.verification" in calls.read_text()

    return ran


def test_what_passed_is_not_run_again_until_a_source_changes(ran: Run, checkout: Path) -> None:
    assert ran()
    assert not ran()
    for name in OTHERS:
        (checkout / name).write_text("changed")
    assert not ran()
    for name in SOURCES:
        with (checkout / name).open("a") as file:
            file.write("\n")
        assert ran(), name
        assert not ran(), name
    (checkout / "csrc" / "a.h").write_text("")
    assert ran()
    stage(checkout)
    assert not ran()
    (checkout / "csrc" / "a.h").unlink()
    assert ran()
    stage(checkout)
    assert not ran()
    assert ran(compiler="release 13.1, V2")
    assert ran("--again", compiler="release 13.1, V2")


@pytest.mark.parametrize("fails", ["-m kernels", "tests.emulation.plugin", "tests.verification"])
def test_what_failed_is_run_again(fails: str, ran: Run) -> None:
    ran(fails=fails)
    assert ran()
    ran("--again", fails=fails)
    assert ran()
