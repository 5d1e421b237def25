"""Build of the emulated kernels with CMake, or of a variant with one source file changed.

    variant=$(python -m tests.emulation.build sanitized)
    env $variant python -m pytest -p tests.emulation.plugin tests/ops/test_topk.py

prints, as assignments for ``env``, what the plugin needs to run on the variant built.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal, get_args

import pytest

Variant = Literal["plain", "fused", "sanitized"]

NAME = "fgsbir_emulated_cuda"
MODULE_VARIABLE = "FGSBIR_EMULATION_MODULE"
_HERE = Path(__file__).resolve().parent
_CSRC = _HERE.parents[1] / "csrc"


def build(variant: Variant = "plain") -> Path:
    """The path of the built module, in the repository's ``build/``.

    Args:
        variant: ``"fused"`` multiplies and adds in one rounding wherever it may, as nvcc does;
            ``"sanitized"`` has AddressSanitizer and UndefinedBehaviorSanitizer, and Python must
            then run under :func:`sanitizer_environment`.
    """
    folder = _HERE.parents[1] / "build" / f"emulation-{variant}"
    folder.mkdir(parents=True, exist_ok=True)
    options = [f"-DPython_EXECUTABLE={sys.executable}", f"-DFGSBIR_VARIANT={variant}"]
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # ninja lets two builds of one folder get in their way
        _run(["cmake", "-S", str(_HERE), "-B", str(folder), "-G", "Ninja", *options])
        _run(["cmake", "--build", str(folder)])
        (module,) = folder.glob(f"{NAME}.*.so")
    return module


def built_or_skip() -> Path:
    """What :func:`build` returns; where the emulation cannot be built the test is skipped."""
    header = Path("/usr/include/boost/context/detail/fcontext.hpp")
    if not header.exists() and not os.environ.get("CI"):
        pytest.skip("the emulation of CUDA needs Boost.Context (Debian: libboost-context-dev)")
    return build()


def build_changed(built: Path, changed: str, old: str, new: str, unit: str, folder: Path) -> Path:
    """A module like ``built`` in which ``old`` reads ``new`` in one file of csrc/cuda.

    Only ``unit``, the source that is or includes the changed file, is compiled anew. Its object
    comes first when linking, so that its inline functions are the ones that all others use too.
    """
    copy = folder / "csrc"
    shutil.copytree(_CSRC, copy)
    text = (copy / "cuda" / changed).read_text()
    assert text.count(old) == 1, f"{old!r} occurs {text.count(old)} times in {changed}"
    (copy / "cuda" / changed).write_text(text.replace(old, new))

    commands = json.loads((built.parent / "compile_commands.json").read_text())
    (command,) = (c for c in commands if Path(c["file"]).name == unit)
    changed_object, module = folder / "changed.o", folder / built.name
    compile_command = shlex.split(command["command"])
    compile_command[_output_at(compile_command)] = str(changed_object)
    compile_command[-1] = str(copy / "cuda" / unit)
    _run([*compile_command, "-O1"], command["directory"])

    others = [shlex.split(c["command"]) for c in commands if c is not command]
    objects = [other[_output_at(other)] for other in others]
    options = [option for option in compile_command if option.startswith("-fsanitize")]
    link = [compile_command[0], "-shared", *options, "-o", str(module), str(changed_object)]
    _run([*link, *objects, "-lboost_context"], command["directory"])
    return module


def sanitizer_environment() -> dict[str, str]:
    """What a process must be started with to load a module built as ``"sanitized"``."""
    names = ("libasan.so", "libubsan.so")
    runtimes = [_run(["g++", f"-print-file-name={name}"]).strip() for name in names]
    # Python keeps what it has allocated; and frames of fibers stay where they are.
    options = "detect_leaks=0:detect_stack_use_after_return=0"
    return {"LD_PRELOAD": ":".join(runtimes), "ASAN_OPTIONS": options}


def _output_at(command: list[str]) -> int:
    return command.index("-o") + 1


def _run(command: list[str], folder: str | None = None) -> str:
    result = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    if result.returncode != 0:
        raise RuntimeError(f"{shlex.join(command)}:\n{result.stdout}{result.stderr}")
    return result.stdout


def main() -> None:
    """The command of the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variant", choices=get_args(Variant), nargs="?", default="plain")
    variant = parser.parse_args().variant
    environment = {MODULE_VARIABLE: str(build(variant))}
    environment |= sanitizer_environment() if variant == "sanitized" else {}
    print(*(f"{name}={value}" for name, value in environment.items()))


if __name__ == "__main__":
    main()
