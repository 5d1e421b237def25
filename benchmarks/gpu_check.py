"""Everything that is to be proved on a GPU, in one command that ends within ten minutes.

    python -m benchmarks.gpu_check
    python -m benchmarks.gpu_check --rehearse     # on a CPU, over the host emulation

Builds the extension in place for this GPU, runs the operations' tests on CUDA, the checks of
benchmarks/gpu_properties.py and the four tools of compute-sanitizer, and writes one JSON to
benchmarks/results/ (a rehearsal to build/, and --out elsewhere). Exits with status 1 unless all is
green.

Needs no network, but a CUDA toolkit with compute-sanitizer, a C++ compiler, CMake and ninja, and
these Python packages: torch built for CUDA, numpy, pybind11, pytest, pytest-benchmark, hypothesis
and CuPy. A rehearsal needs Boost.Context, and neither a toolkit nor CuPy.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .steps import Outcome, Report, run_command, summary
from .toolkit import find_tool

ROOT = Path(__file__).resolve().parents[1]
OPERATIONS = (
    *("pairwise_distance", "attribute_distance", "mine_batch_hard", "topk"),
    *("attribute_triplet_loss", "attribute_triplet_loss_edges", "losses", "miners"),
    *("autocast", "dlpack", "bad_input", "dispatch"),
)
TESTS = [f"tests/test_{name}.py" for name in OPERATIONS]
# What a rehearsal runs of them: something of each file. The emulation passes them all in CI.
REHEARSED = (
    "memory_layout or same or unknown or as_the_function or widest or no_copy or good_call "
    "or short_road"
)
SANITIZERS = ("memcheck", "racecheck", "synccheck", "initcheck")

# Seconds. The suite and the sanitizers run side by side after the rest, which is timed.
DEADLINE, BUILD, CHECKS, SUITE, SANITIZER = 500, 200, 150, 240, 240
PATIENCE = 5  # how many times longer all may take in a rehearsal, on whatever processor


def run(command: list[str], limit: float, **variables: str) -> Outcome:
    """A command in the repository, with its modules and those of its tests to import."""
    paths = [str(ROOT), str(ROOT / "python"), str(ROOT / "tests")]
    given = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([*paths, given] if given else paths)
    environment = os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"} | variables
    return run_command(command, limit, cwd=ROOT, env=environment)


def python(*arguments: str, rehearse: bool) -> list[str]:
    return [sys.executable, "-m", *arguments, *(["--rehearse"] if rehearse else [])]


def last_line(*command: str) -> str | None:
    """The last line that a program writes; None where it is missing or fails."""
    try:
        done = subprocess.run(
            [find_tool(command[0]), *command[1:]], capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.strip().splitlines()
    return lines[-1] if lines and done.returncode == 0 else None


def describe_environment() -> dict[str, Any]:
    import torch

    cuda = torch.cuda.is_available()
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "device": torch.cuda.get_device_name() if cuda else None,
        "capability": "{}{}".format(*torch.cuda.get_device_capability()) if cuda else None,
        "driver": last_line("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"),
        "toolkit": last_line("nvcc", "--version"),
        "sanitizer": last_line("compute-sanitizer", "--version"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch_cuda": torch.version.cuda,
        "commit": last_line("git", "-C", str(ROOT), "rev-parse", "HEAD"),
    }


def build_commands(architecture: str, cuda: str = "ON") -> list[list[str]]:
    """Configures, builds, and puts the module beside the package's Python files."""
    cmake, folder = find_tool("cmake"), str(ROOT / "build" / f"gpu_check-{architecture}")
    options = [f"-DFGSBIR_CUDA={cuda}", f"-DCMAKE_CUDA_ARCHITECTURES={architecture}-real"]
    options += [f"-DPython_EXECUTABLE={sys.executable}"]
    return [
        [cmake, "-S", str(ROOT), "-B", folder, "-G", "Ninja", *options],
        [cmake, "--build", folder],
        [cmake, "--install", folder, "--prefix", str(ROOT)],
    ]


def build(report: Report, architecture: str | None) -> Outcome:
    """The extension for this GPU; in a rehearsal the emulation, and the extension configured."""
    if architecture is None:
        commands = [python("emulation.build", rehearse=False), build_commands("90", "AUTO")[0]]
        limit = report.left(PATIENCE * BUILD)
    else:
        commands = build_commands(architecture)
        limit = report.left(BUILD)
    end = time.monotonic() + limit
    for command in commands:
        outcome = run(command, max(1.0, end - time.monotonic()))
        if not outcome["passed"]:
            break
    return outcome


def properties(report: Report, rehearse: bool) -> Outcome:
    """Every check of benchmarks/gpu_properties.py, with its figures."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "checks.json")
        command = python("benchmarks.gpu_properties", "--out", str(path), rehearse=rehearse)
        outcome = run(command, report.left(CHECKS * (PATIENCE if rehearse else 1)))
        if path.exists():  # with those that ended before the limit
            outcome["checks"] = json.loads(path.read_text())
    return outcome


def suite(report: Report, rehearse: bool) -> Outcome:
    """The operations' own tests: those whose name says CUDA, or some of them on the emulation."""
    command = python("pytest", "-q", "-p", "no:cacheprovider", *TESTS, rehearse=False)
    if rehearse:
        command += ["-p", "emulation.plugin", "-k", REHEARSED]
        return run(command, report.left(PATIENCE * SUITE))
    return run([*command, "-k", "cuda"], report.left(SUITE))


def sanitizer_command(sanitizer: str, tool: str, usage: str) -> list[str]:
    """How to start a tool of compute-sanitizer, whose ``--help`` is ``usage``.

    Only our kernels are instrumented, as most of the time goes to torch's; but initcheck has to see
    what those write. The option's name differs between versions.
    """
    command = [sanitizer, "--tool", tool, "--error-exitcode", "9"]
    if tool == "initcheck":
        return command
    names = [name for name in ("--kernel-name", "--kernel-regex", "--filter") if name in usage]
    return command + ([names[0], "kernel_substring=fgsbir"] if names else [])


def sanitize(report: Report, rehearse: bool) -> Outcome:
    """All four tools at once, each over every operation on small awkward shapes."""
    exercise = python("benchmarks.gpu_exercise", rehearse=rehearse)
    if rehearse:
        return run(exercise, report.left(PATIENCE * SANITIZER))
    sanitizer = find_tool("compute-sanitizer")
    usage = subprocess.run([sanitizer, "--help"], capture_output=True, text=True, timeout=30)
    limit = report.left(SANITIZER)

    def run_tool(tool: str) -> Outcome:
        command = sanitizer_command(sanitizer, tool, usage.stdout + usage.stderr)
        # Whole allocations: the caching allocator would hide what lies beyond a tensor.
        return run([*command, *exercise], limit, PYTORCH_NO_CUDA_MEMORY_CACHING="1")

    with ThreadPoolExecutor(len(SANITIZERS)) as pool:
        outcomes = dict(zip(SANITIZERS, pool.map(run_tool, SANITIZERS), strict=True))
    return {"passed": all(x["passed"] for x in outcomes.values()), "tools": outcomes}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rehearse", action="store_true", help="run on the CPU, by emulation")
    parser.add_argument("--no-build", action="store_true", help="take the extension as installed")
    parser.add_argument("--out", type=Path, help="folder of the JSON")
    arguments = parser.parse_args()
    rehearse = arguments.rehearse

    began = time.monotonic()
    environment = describe_environment()
    if not rehearse and environment["device"] is None:
        parser.error("there is no CUDA device; --rehearse runs on the CPU")
    device = "rehearsal" if rehearse else environment["device"].replace(" ", "-").lower()
    folder = arguments.out or ROOT / ("build" if rehearse else "benchmarks/results")
    path = folder.resolve() / f"gpu_check-{device}.json"
    report = Report(path, environment, DEADLINE * (PATIENCE if rehearse else 1))
    if not arguments.no_build:
        architecture = None if rehearse else environment["capability"]
        report.run("build", lambda: build(report, architecture))
    report.run("properties", lambda: properties(report, rehearse))
    with ThreadPoolExecutor(1 if rehearse else 2) as pool:
        together = [
            pool.submit(report.run, "suite", lambda: suite(report, rehearse)),
            pool.submit(report.run, "sanitizers", lambda: sanitize(report, rehearse)),
        ]
    for step in together:
        step.result()  # raises what report.run did

    print(json.dumps(environment))
    for line in summary(report.content["steps"]):
        print(line)
    green = report.content["green"]
    print(f"{'ALL GREEN' if green else 'NOT GREEN'} in {time.monotonic() - began:.0f} s: {path}")
    return 0 if green else 1


if __name__ == "__main__":
    sys.exit(main())
