"""CMake, as a test runs it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.support.paths import ROOT


def configure(folder: Path, *options: str, **environment: str) -> tuple[int, str]:
    """Exit status of CMake, and what it printed with every run of white space as one space."""
    unset = {"FGSBIR_CUDA", "CUDACXX", "CUDAARCHS", "CUDA_HOME", "CUDA_PATH", "CUDAHOSTCXX"}
    inherited = {name: value for name, value in os.environ.items() if name not in unset}
    done = subprocess.run(
        ["cmake", "-S", ROOT, "-B", folder / "build", "-G", "Ninja", *options],
        env={**inherited, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.returncode, " ".join(done.stdout.split())
