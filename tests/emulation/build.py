"""Builds the emulated kernels with CMake, and imports them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

NAME = "fgsbir_emulated_cuda"
_HERE = Path(__file__).resolve().parent


def build(folder: Path | None = None, *, csrc: Path | None = None, sanitize: bool = False) -> Path:
    """The path of the built module.

    Args:
        folder: Build folder, kept from call to call; one in the temporary folder unless given.
        csrc: Kernel sources in place of the repository's.
        sanitize: With AddressSanitizer and UndefinedBehaviorSanitizer.
    """
    if folder is None:
        variant = "sanitize" if sanitize else "plain"
        folder = Path(tempfile.gettempdir()) / f"fgsbir-emulation-{variant}"
    options = [f"-DPython_EXECUTABLE={sys.executable}"]
    options += [f"-DFGSBIR_SANITIZE={'ON' if sanitize else 'OFF'}"]
    options += [f"-DFGSBIR_CSRC={csrc}"] if csrc is not None else []
    configure = ["cmake", "-S", str(_HERE), "-B", str(folder), "-G", "Ninja", *options]
    for command in (configure, ["cmake", "--build", str(folder)]):
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}:\n{result.stdout}{result.stderr}")
    (module,) = folder.glob(f"{NAME}.*.so")
    return module


def load(path: Path) -> ModuleType:
    """The module at a path."""
    spec = importlib.util.spec_from_file_location(NAME, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
