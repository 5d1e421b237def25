"""Plan of the check: its steps, the most valuable first, so that being cut off costs least.

Each has an estimate of its seconds on an H100 or H200 with 16 cores, and a limit. Steps that run
side by side are not timed, nor do they wait for each other.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

from .names import COMPILED, ENGINES, OURS, SWITCH
from .steps import Stage, Step

MINUTES = 9.0
BUILD = "build"
PATIENCE = 5  # how many times longer a step may take in a rehearsal, on whatever processor

SUITE = ("tests/ops", "tests/cuda/test_engines.py")
CUDA_CASES = "[cuda"  # cases whose device, first in their names, is a GPU; not all of tests/cuda
TILED = tuple(  # operations that engines compute
    f"tests/ops/test_{name}.py" for name in ("mine_batch_hard", "pairwise_distance", "topk")
)
# What a rehearsal runs of the suite: something of each file. The emulation passes them all in CI.
REHEARSED = (
    "memory_layout or same or unknown or as_the_function or widest or no_copy or good_call "
    "or short_path or those_of_float32"
)
# Checks of properties.py, but for the one that is timed and the one that compiles.
PROPERTIES = (
    *("same_bits", "launches", "no_synchronisation", "cuda_graph", "first_use_in_capture"),
    *("side_stream", "cupy_on_a_side_stream", "runtimes_side_by_side", "two_devices"),
    "beyond_32_bits",
)
ENGINE_SIZES = ("16384", "4096")
COMPILED_SIZES = ("128", "1024", "16384")
SIDE_BY_SIDE = 3  # logs of steps that run are files of the folder, which is to have 8 at most


def make_plan(rehearse: bool, report: str) -> list[Stage]:
    """All stages; ``report`` is where Nsight Compute's report goes."""
    stages = list(_stages(rehearse, report))
    if not rehearse:
        return stages
    return [tuple(replace(s, limit=PATIENCE * s.limit) for s in stage) for stage in stages]


def seconds(stages: Sequence[Stage]) -> float:
    """The estimate for all of a plan: of steps side by side the longest."""
    return sum(max(step.estimate for step in stage) for stage in stages)


def _stages(rehearse: bool, report: str) -> Iterator[Stage]:
    suffix = ["--rehearse"] if rehearse else []

    def step(
        name: str, module: str, estimate: float, limit: float, *arguments: str, switch: str = ""
    ) -> Step:
        command = [sys.executable, "-m", f"benchmarks.gpu_check.{module}", *arguments, *suffix]
        return Step(name, command, estimate, limit, {SWITCH: switch} if switch else {})

    yield (step(BUILD, "build", 60, 170),)
    yield (
        step("truth", "truth", 25, 60),
        *(step(f"truth-{name}", "truth", 25, 60, switch=x) for name, x in ENGINES.items()),
    )
    yield (step("timings-bfloat16", "timings", 30, 70, "bfloat16"),)
    yield (step("timings-float32", "timings", 35, 80, "float32"),)
    yield (step("nsight", "nsight", 30, 60, "--report", report),)
    yield (_suite("suite", SUITE, 45, 120, rehearse),)
    yield tuple(
        _suite(f"suite-{name}", TILED, 35, 90, rehearse, switch=x) for name, x in ENGINES.items()
    )
    for name, switch in ENGINES.items():
        arguments = ("bfloat16", "float32", "--sizes", *ENGINE_SIZES, "--only", OURS)
        yield (step(f"timings-{name}", "timings", 15, 40, *arguments, switch=switch),)
    yield (step("hub", "properties", 10, 40, "hub"),)
    for first in range(0, len(PROPERTIES), SIDE_BY_SIDE):
        some = PROPERTIES[first : first + SIDE_BY_SIDE]
        yield tuple(step(name, "properties", 10, 40, name) for name in some)
    # An Inductor that hangs must not cost what is above.
    yield (step("compiled", "properties", 25, 90, "compiled"),)
    types = ("float32",) if rehearse else ("float32", "bfloat16")  # each is compiled anew
    arguments = (*types, "--sizes", *COMPILED_SIZES, "--only", COMPILED)
    yield (step("timings-compiled", "timings", 60, 100, *arguments),)
    yield tuple(step(tool, "sanitize", 60, 150, tool) for tool in ("memcheck", "racecheck"))
    yield tuple(step(tool, "sanitize", 50, 150, tool) for tool in ("synccheck", "initcheck"))


def _suite(
    name: str,
    files: Sequence[str],
    estimate: float,
    limit: float,
    rehearse: bool,
    switch: str = "",
) -> Step:
    """The operations' own tests: those whose name says CUDA, or some of them on the emulation."""
    workers = min(8, len(os.sched_getaffinity(0)))
    command = [sys.executable, "-m", "pytest", "-v", "-n", str(workers), "-p", "no:cacheprovider"]
    command += ["-m", "", "-p", "benchmarks.gpu_check.suite_plugin", *files]
    if rehearse:
        command += ["-p", "tests.emulation.plugin"]
        command += ["-k", "memory_layout" if switch else REHEARSED]
    else:
        command += ["-k", CUDA_CASES]
    return Step(name, command, estimate, limit, {SWITCH: switch} if switch else {})
