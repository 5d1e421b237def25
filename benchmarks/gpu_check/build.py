"""Build of the extension in place for the GPU of this machine.

    python -m benchmarks.gpu_check.build

Needs a CUDA toolkit, a C++ compiler, CMake, ninja and pybind11, and no network. With --rehearse it
builds the host emulation, and configures the extension.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from ..kernel_report.toolkit import find_tool
from .device import add_rehearse
from .figures import emit

ROOT = Path(__file__).resolve().parents[2]


def build_commands(architecture: str, cuda: str = "ON") -> list[list[str]]:
    """Configures, builds, and puts the module beside the package's Python files."""
    cmake, folder = find_tool("cmake"), str(ROOT / "build" / f"gpu_check-{architecture}")
    options = [f"-DFGSBIR_CUDA={cuda}", f"-DCMAKE_CUDA_ARCHITECTURES={architecture}-real"]
    options += [f"-DPython_EXECUTABLE={sys.executable}"]
    options += [f"-DCMAKE_MAKE_PROGRAM={find_tool('ninja')}"]  # which need not be on PATH
    return [
        [cmake, "-S", str(ROOT), "-B", folder, "-G", "Ninja", *options],
        [cmake, "--build", folder],
        [cmake, "--install", folder, "--prefix", str(ROOT)],
    ]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_rehearse(parser)
    if parser.parse_args().rehearse:
        emulation = [sys.executable, "-m", "tests.emulation.build"]
        commands = [emulation, build_commands("90", "AUTO")[0]]
    else:
        import torch

        commands = build_commands("{}{}".format(*torch.cuda.get_device_capability()))
    began = time.monotonic()
    for command in commands:
        print("+", *command, flush=True)
        if status := subprocess.run(command).returncode:
            return status
    emit("build", passed=True, seconds=round(time.monotonic() - began, 1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
