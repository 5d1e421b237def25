"""Command line of the GPU check, which ends within nine minutes.

    python -m benchmarks.gpu_check --out DIR
    python -m benchmarks.gpu_check --out DIR --steps build truth timings-bfloat16
    python -m benchmarks.gpu_check --plan          # the steps and their seconds
    python -m benchmarks.gpu_check --show DIR      # the table of a check, even of a killed one
    python -m benchmarks.gpu_check --rehearse      # on a CPU, over the host emulation

Every step is a process of its own with a time limit. When it ends, its figures are printed and
written to DIR: report.json has all of them, summary.txt the table, logs.zip the logs, and
mining.ncu-rep is Nsight Compute's report. A step that runs has its log there as NAME.log. Exits
with status 1 unless all steps pass.

Needs no network, but a CUDA toolkit with compute-sanitizer and Nsight Compute, a C++ compiler,
CMake and ninja, and these Python packages: torch built for CUDA, numpy, pybind11, pytest,
pytest-benchmark, pytest-xdist, hypothesis and CuPy. A rehearsal needs Boost.Context, and neither a
GPU's tools nor CuPy.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .names import SWITCH
from .plan import BUILD, MINUTES, PATIENCE, make_plan, seconds
from .steps import NSIGHT_REPORT, SUMMARY, Report, Stage, load, replace_file
from .summary import step_summary, summary

ROOT = Path(__file__).resolve().parents[2]
TOOLS = 60.0  # seconds for all tools to say their versions


def step_environment() -> dict[str, str]:
    """That of this process, with the modules of the repository to import.

    Which engine a step takes is the plan's to say.
    """
    paths = [str(ROOT), str(ROOT / "python")]
    if given := os.environ.get("PYTHONPATH"):
        paths.append(given)
    own = {name: value for name, value in os.environ.items() if name != SWITCH}
    return own | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


def describe(environment: dict[str, str]) -> dict[str, Any]:
    """What environment.py says, in a process of its own: this one never touches the GPU."""
    command = [sys.executable, "-m", "benchmarks.gpu_check.environment"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=TOOLS, env=environment, cwd=ROOT
    )
    if done.returncode:
        raise RuntimeError(f"PyTorch cannot be asked for the GPU:\n{done.stderr}")
    described: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return described


def plan_lines(plan: Sequence[Stage]) -> list[str]:
    """A line a stage: seconds, and the steps that run side by side."""
    lines = [
        f"{max(step.estimate for step in stage):5.0f} s  {', '.join(s.name for s in stage)}"
        for stage in plan
    ]
    return [*lines, f"{seconds(plan):5.0f} s  in all on a GPU, of at most {60 * MINUTES:.0f}"]


def announce(report: Report, name: str) -> None:
    """Writes the table of all that ended so far, and prints what a step found.

    The report has it all already: whatever happens here, the next step is run.
    """
    try:
        content = report.content()
        replace_file(report.folder / SUMMARY, (summary(content) + "\n").encode())
        print(step_summary(content, name), flush=True)
    except BrokenPipeError:  # nobody reads any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception:
        traceback.print_exc()


def choose(plan: Sequence[Stage], names: Sequence[str]) -> list[Stage]:
    """The stages with some of their steps; all if none is named."""
    known = [step.name for stage in plan for step in stage]
    if unknown := set(names) - set(known):
        raise ValueError(f"no step is named {', '.join(sorted(unknown))}; they are {known}")
    chosen = (tuple(s for s in stage if not names or s.name in names) for stage in plan)
    return [stage for stage in chosen if stage]


def end_orderly() -> None:
    """Lets the first signal end the check and record what was running; further ones do nothing."""
    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

    def end(number: int, frame: object) -> None:
        for one in signals:
            signal.signal(one, signal.SIG_IGN)
        raise SystemExit(128 + number)

    for one in signals:
        signal.signal(one, end)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu_check", metavar="DIR")
    parser.add_argument("--steps", nargs="+", default=[], metavar="NAME", help="these alone")
    parser.add_argument("--commit", help="of the sources, where there is no git to tell it")
    parser.add_argument("--rehearse", action="store_true", help="run on the CPU, by emulation")
    parser.add_argument("--plan", action="store_true", help="print the steps and end")
    parser.add_argument("--show", type=Path, metavar="DIR", help="print the table of a check")
    arguments = parser.parse_args()
    began = time.monotonic()
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    if arguments.show:
        try:
            print(summary(load(arguments.show)))
        except (OSError, ValueError) as error:
            parser.error(f"there is no report: {error}")
        return 0
    folder = arguments.out.resolve()
    try:
        plan = choose(make_plan(arguments.rehearse, str(folder / NSIGHT_REPORT)), arguments.steps)
    except ValueError as error:
        parser.error(str(error))
    print(*plan_lines(plan), sep="\n", flush=True)
    if arguments.plan:
        return 0

    end_orderly()
    environment = step_environment()
    try:
        about = describe(environment)
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        parser.error(str(error))
    about["commit"] = arguments.commit or about["commit"]
    if about["device"] is None and not arguments.rehearse:
        parser.error("there is no CUDA device; --rehearse runs on the CPU")
    deadline = 60 * MINUTES * (PATIENCE if arguments.rehearse else 1)
    try:
        report = Report(folder, about, plan, deadline - (time.monotonic() - began), announce)
    except OSError as error:
        parser.error(f"{folder}: {error.strerror} (another check may be writing there)")
    try:
        for stage in plan:
            report.run(stage, environment, ROOT)
            built = report.results.get(BUILD)
            if built and built.outcome != "passed":
                break  # there is nothing to check
    finally:
        print(f"\n{summary(report.content())}", flush=True)
    return 0 if report.green else 1


if __name__ == "__main__":
    sys.exit(main())
