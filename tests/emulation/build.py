"""Build of the emulated kernels with CMake, or of a variant with faults to plant.

    variant=$(python -m tests.emulation.build --sanitized)
    env $variant python -m pytest -p tests.emulation.plugin tests/ops/test_topk.py

prints, as assignments for ``env``, what the plugin needs to run on the module built.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.emulation.faults import FAULTS

NAME = "fgsbir_emulated_cuda"
MODULE_VARIABLE = "FGSBIR_EMULATION_MODULE"
_HERE = Path(__file__).resolve().parent
_CSRC = _HERE.parents[1] / "csrc"


def build(*, sanitized: bool = False) -> Path:
    """The path of the built module, in the repository's ``build/``.

    It multiplies and adds in one rounding wherever it may, as nvcc does.

    Args:
        sanitized: in two roundings, and with AddressSanitizer and UndefinedBehaviorSanitizer:
            Python must then run under :func:`sanitizer_environment`.
    """
    folder = _HERE.parents[1] / "build" / ("emulation" + "-sanitized" * sanitized)
    folder.mkdir(parents=True, exist_ok=True)
    options = [f"-DPython_EXECUTABLE={sys.executable}", f"-DFGSBIR_SANITIZED={sanitized:d}"]
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


def build_with_faults(
    built: Path, units: Sequence[str], folder: Path, *, sanitized: bool = False
) -> Path:
    """A module like ``built`` with every fault of tests/emulation/faults.py, none of them planted.

    :func:`tests.emulation.faults.planting` says how to plant one.

    Args:
        built: what :func:`build` returned.
        units: the sources to compile anew, as ``"topk.cu"``. Their objects come first when
            linking, so that their inline functions are the ones that all others use too.
        folder: where to put the copy of the sources, the objects and the module.
        sanitized: whether the units have AddressSanitizer; Python must then run under
            :func:`sanitizer_environment`.
    """
    copy = folder / "csrc"
    shutil.copytree(_CSRC, copy)
    for number, fault in enumerate(FAULTS.values()):
        changed = copy / "cuda" / fault.changed
        text, new = changed.read_text(), re.sub(r"\bplanted\b", f"planted({number})", fault.new)
        assert text.count(fault.old) == 1, f"{fault.old!r}: {text.count(fault.old)} in {changed}"
        changed.write_text(text.replace(fault.old, new))

    known = json.loads((built.parent / "compile_commands.json").read_text())
    commands = {Path(c["file"]).name: shlex.split(c["command"]) for c in known}
    directory = known[0]["directory"]
    flags = ["-O1", "-include", str(_HERE / "include" / "planted.h")]
    flags += ["-fsanitize=address"] * sanitized

    def compile_unit(unit: str) -> str:
        command, compiled = list(commands[unit]), folder / f"{unit}.o"
        command[_output_at(command)] = str(compiled)
        command[-1] = str(copy / "cuda" / unit)
        _run([*command, *flags], directory)
        return str(compiled)

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        objects = list(pool.map(compile_unit, units))
    objects += [c[_output_at(c)] for unit, c in commands.items() if unit not in units]
    module = folder / built.name
    link = [commands[units[0]][0], "-shared", *["-fsanitize=address"] * sanitized]
    _run([*link, "-o", str(module), *objects, "-lboost_context"], directory)
    return module


def sanitizer_environment() -> dict[str, str]:
    """What a process must be started with to load a module built with sanitizers."""
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
    parser.add_argument("--sanitized", action="store_true", help="with sanitizers of memory")
    sanitized = parser.parse_args().sanitized
    environment = {MODULE_VARIABLE: str(build(sanitized=sanitized))}
    environment |= sanitizer_environment() if sanitized else {}
    print(*(f"{name}={value}" for name, value in environment.items()))


if __name__ == "__main__":
    main()
