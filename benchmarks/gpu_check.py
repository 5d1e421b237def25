"""Everything that is to be proved on a GPU, in one command that ends within ten minutes.

    python -m benchmarks.gpu_check
    python -m benchmarks.gpu_check --rehearse     # on a CPU, over the host emulation

Builds the extension for this GPU, runs the operations' tests on CUDA, the checks of
benchmarks/gpu_properties.py and the four tools of compute-sanitizer, and writes one JSON to
benchmarks/results/ (a rehearsal to build/). Needs no network: torch, pybind11, scikit-build-core,
CMake, ninja, pytest and hypothesis must be installed. Exits with status 1 unless all is green.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
TESTS = [
    f"tests/test_{operation}.py"
    for operation in (
        "pairwise_distance",
        "attribute_distance",
        "mine_batch_hard",
        "attribute_triplet_loss",
        "topk",
    )
]
SANITIZERS = ("memcheck", "racecheck", "synccheck", "initcheck")
PROPERTIES = [sys.executable, "-m", "benchmarks.gpu_properties"]

# Seconds. What has not ended by its own limit, or by that of the whole, has failed.
DEADLINE, BUILD, SUITE, CHECKS, SANITIZER = 540, 200, 200, 150, 180


class Report:
    """Steps and their outcomes, written to a file after each, so that nothing is lost."""

    def __init__(self, path: Path, environment: dict[str, Any]) -> None:
        self.path = path
        self.started = time.monotonic()
        self.content: dict[str, Any] = {"environment": environment, "steps": {}}

    def left(self, limit: float) -> float:
        return max(1.0, min(limit, DEADLINE - (time.monotonic() - self.started)))

    def run(self, name: str, step: Callable[[], dict[str, Any]]) -> None:
        began = time.monotonic()
        result = step()
        result["seconds"] = round(time.monotonic() - began, 1)
        self.content["steps"][name] = result
        self.content["green"] = all(step["passed"] for step in self.content["steps"].values())
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_text(json.dumps(self.content, indent=1) + "\n")
        print(
            f"{'passed' if result['passed'] else 'FAILED'}  {name} ({result['seconds']} s)",
            flush=True,
        )


def run_command(command: list[str], limit: float, **variables: str) -> dict[str, Any]:
    """Status and the end of the output of a command that must succeed."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": paths} | variables
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=limit
        )
    except (subprocess.TimeoutExpired, OSError) as error:
        return {"passed": False, "command": " ".join(command), "error": str(error)}
    outcome = {"passed": result.returncode == 0, "command": " ".join(command)}
    output = (result.stdout + result.stderr).splitlines()
    return outcome | {"output": output[-3:] if outcome["passed"] else output[-60:]}


def describe_environment() -> dict[str, Any]:
    import torch

    def first_line(*command: str) -> str | None:
        if shutil.which(command[0]) is None:
            return None
        result = subprocess.run(command, capture_output=True, text=True)
        return next(iter(result.stdout.strip().splitlines()[-1:]), None)

    cuda = torch.cuda.is_available()
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "device": torch.cuda.get_device_name() if cuda else None,
        "driver": first_line("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"),
        "toolkit": first_line("nvcc", "--version"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch_cuda": torch.version.cuda,
        "commit": first_line("git", "-C", str(ROOT), "rev-parse", "HEAD"),
    }


def build(report: Report, rehearse: bool) -> dict[str, Any]:
    if rehearse:
        return run_command([sys.executable, "-m", "emulation.build"], report.left(10 * BUILD))
    import torch

    command = [sys.executable, "-m", "pip", "install", "-q", "--no-build-isolation", "--no-deps"]
    major, minor = torch.cuda.get_device_capability()
    return run_command([*command, "-e", "."], report.left(BUILD), CUDAARCHS=f"{major}{minor}-real")


def suite(report: Report, rehearse: bool) -> dict[str, Any]:
    """The operations' own tests: those whose name says CUDA, or all of them on the emulation."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS]
    if rehearse:
        return run_command(
            [*command, "-p", "emulation.plugin", "-k", "opcheck"], report.left(SUITE)
        )
    return run_command([*command, "-k", "cuda"], report.left(SUITE))


def properties(report: Report, rehearse: bool) -> dict[str, Any]:
    """Every check of benchmarks/gpu_properties.py, with its figures."""
    where = report.path.with_name("gpu_properties.json")
    where.parent.mkdir(exist_ok=True)
    where.unlink(missing_ok=True)
    command = [*PROPERTIES, "--out", str(where), *(["--rehearse"] if rehearse else [])]
    outcome = run_command(command, report.left(CHECKS))
    if where.exists():
        outcome["checks"] = json.loads(where.read_text())
        where.unlink()
    return outcome


def sanitize(report: Report, rehearse: bool) -> dict[str, Any]:
    """All four tools at once, each over every operation on small awkward shapes."""
    exercise = [*PROPERTIES, "--exercise", *(["--rehearse"] if rehearse else [])]
    if rehearse:
        return run_command(exercise, report.left(SANITIZER))
    limit = report.left(SANITIZER)

    def run_tool(tool: str) -> dict[str, Any]:
        return run_command(
            ["compute-sanitizer", "--tool", tool, "--error-exitcode", "9", *exercise],
            limit,
            # Whole allocations: the caching allocator would hide what lies beyond a tensor.
            PYTORCH_NO_CUDA_MEMORY_CACHING="1",
        )

    with ThreadPoolExecutor(len(SANITIZERS)) as pool:
        outcomes = dict(zip(SANITIZERS, pool.map(run_tool, SANITIZERS), strict=True))
    return {"passed": all(x["passed"] for x in outcomes.values()), "tools": outcomes}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rehearse", action="store_true", help="run on the CPU, by emulation")
    parser.add_argument("--no-build", action="store_true", help="take the extension as installed")
    arguments = parser.parse_args()
    rehearse = arguments.rehearse

    environment = describe_environment()
    if not rehearse and environment["device"] is None:
        parser.error("there is no CUDA device; --rehearse runs on the CPU")
    device = "rehearsal" if rehearse else environment["device"].replace(" ", "-").lower()
    folder = ROOT / "build" if rehearse else RESULTS
    report = Report(folder / f"gpu_check-{device}.json", environment)
    if not arguments.no_build:
        report.run("build", lambda: build(report, rehearse))
    report.run("properties", lambda: properties(report, rehearse))
    report.run("suite", lambda: suite(report, rehearse))
    report.run("sanitizers", lambda: sanitize(report, rehearse))

    print(json.dumps(environment))
    for name, step in report.content["steps"].items():
        print(f"{'passed' if step['passed'] else 'FAILED'}  {name}")
        for check, outcome in step.get("checks", {}).items():
            print(
                f"    {'passed' if outcome['passed'] else 'FAILED'}  {check}: {outcome['figures']}"
            )
        for tool, outcome in step.get("tools", {}).items():
            print(f"    {'passed' if outcome['passed'] else 'FAILED'}  {tool}")
        if not step["passed"]:
            print("\n".join(f"    | {line}" for line in step.get("output", [])[-20:]))
    total = round(time.monotonic() - report.started)
    print(f"{'ALL GREEN' if report.content['green'] else 'NOT GREEN'} in {total} s: {report.path}")
    return 0 if report.content["green"] else 1


if __name__ == "__main__":
    sys.exit(main())
