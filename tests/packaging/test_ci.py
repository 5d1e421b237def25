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
    "csrc/cuda/topk.cu",
    "fgsbir_ext/_checks.py",
    "tests/ops/test_topk.py",
    "constraints.txt",
]
OTHERS = ["README.md", "python/fgsbir/config.py", "tests/serve/test_page.py"]

Run = Callable[..., str]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A few files under the names of ours, and the script."""
    root = tmp_path / "checkout"
    for name in [*SOURCES, *OTHERS]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "kernels", root / ".ci" / "kernels")
    subprocess.run(["git", "init", "-q", root], check=True)
    return root


@pytest.fixture
def run(checkout: Path, tmp_path: Path) -> Run:
    """The script, with programs that only note how they are called, or fail."""
    programs, calls = tmp_path / "bin", tmp_path / "calls"
    programs.mkdir()
    for name in ("pytest", "python", "nvcc", "g++"):
        (programs / name).write_text(
            f'#!/bin/sh\necho "{name} $*" >>"{calls}"\n'
            'case "$*" in *--version*) echo "$COMPILER" ;; *"$FAILS"*) exit 1 ;; esac\n'
        )
        (programs / name).chmod(0o755)

    def run(*arguments: str, fails: str = "nothing", compiler: str = "release 13.0, V1") -> str:
        calls.write_text("")
        environment = {k: v for k, v in os.environ.items() if k not in ("CXX", "CUDACXX")}
        environment |= {"FAILS": fails, "COMPILER": compiler}
        environment["PATH"] = f"{programs}{os.pathsep}{environment['PATH']}"
        command = [checkout / ".ci" / "kernels", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert (done.returncode == 0) == (fails == "nothing"), done.stderr
        return calls.read_text()

    return run


def test_what_passed_is_not_run_again_until_a_source_changes(run: Run, checkout: Path) -> None:
    assert "tests.verification" in run()
    assert "tests.verification" not in run()
    for name in OTHERS:
        (checkout / name).write_text("changed")
    assert "tests.verification" not in run()
    for name in SOURCES:
        (checkout / name).write_text("changed")
        assert "tests.verification" in run()
        assert "tests.verification" not in run()
    (checkout / "csrc" / "new.h").write_text("")
    assert "tests.verification" in run()
    assert "tests.verification" in run(compiler="release 13.1, V2")
    assert "tests.verification" in run("--again", compiler="release 13.1, V2")


@pytest.mark.parametrize("fails", ["-m kernels", "tests.emulation.plugin", "tests.verification"])
def test_what_failed_is_run_again(fails: str, run: Run) -> None:
    run(fails=fails)
    assert fails in run()
