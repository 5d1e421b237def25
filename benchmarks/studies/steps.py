"""Timing of single steps in bursts, and the command of the studies that do so."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from ..harness.machine import publish
from ..harness.measure import elapsed

BURST = 100  # steps of one kind, before it is the next one's turn

Seconds = dict[str, list[float]]
"""Of every step, by what was timed."""


def burst(step: Callable[[], Any]) -> list[float]:
    """Seconds of each of some steps, one after the other."""
    return [elapsed(step, "cpu") for _ in range(BURST)]


def command(module: str, description: str, time_steps: Callable[[int], Seconds]) -> None:
    """The command of a study: prints the lowest decile and the median of every kind of step."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--note", default="", help="what else the machine was doing")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    seconds = {
        name: {"low": quantiles(values, n=10)[0], "median": median(values)}
        for name, values in time_steps(options.steps).items()
    }
    report = {"command": f"python -m {module}", "steps": options.steps}
    publish(report | {"seconds": seconds}, options.note, options.out)
