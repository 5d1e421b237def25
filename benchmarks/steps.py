"""Steps of a long check: none can lose what the others found, none outlasts its limit."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

Outcome = dict[str, Any]
"""``passed``; where there are any ``error``, the end of ``output``, ``checks`` and ``tools``."""

_KEPT = {True: 3, False: 60}  # lines of output, of what passed and of what failed
_SHOWN = 25


def write_json(path: Path, content: Any) -> None:
    """Replaces a file as a whole: who is killed meanwhile leaves the former one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(unfinished, path)


class Report:
    """Steps and their outcomes, written to a file after each.

    Args:
        deadline: Seconds after which every step is given one second more.
    """

    def __init__(self, path: Path, environment: Mapping[str, Any], deadline: float) -> None:
        self.path = path
        self.content: dict[str, Any] = {"environment": environment, "green": False, "steps": {}}
        self._deadline = time.monotonic() + deadline
        self._lock = threading.Lock()

    def left(self, limit: float) -> float:
        """Seconds that a step may take, at most ``limit``."""
        return max(1.0, min(limit, self._deadline - time.monotonic()))

    def run(self, name: str, step: Callable[[], Outcome]) -> None:
        """Runs a step and records what came of it, an exception too."""
        began = time.monotonic()
        try:
            outcome = step()
        except Exception:  # a step that fails is a result, and the others still count
            outcome = {"passed": False, "error": traceback.format_exc()}
        outcome["seconds"] = round(time.monotonic() - began, 1)
        with self._lock:
            steps = self.content["steps"]
            steps[name] = outcome
            self.content["green"] = all(step["passed"] for step in steps.values())
            write_json(self.path, self.content)
            print(f"{_word(outcome)}  {name} ({outcome['seconds']} s)", flush=True)


def run_command(command: Sequence[str], limit: float, **options: Any) -> Outcome:
    """Status and the end of the output of a command that must succeed.

    What has not ended after ``limit`` seconds is killed with all its descendants. ``options`` are
    those of :class:`subprocess.Popen`.
    """
    outcome: Outcome = {"passed": False, "command": shlex.join(command)}
    # A file, since a pipe that some descendant keeps open could not be read to its end.
    with tempfile.TemporaryFile() as log:
        try:
            process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, **options
            )
        except OSError as error:
            return outcome | {"error": str(error)}
        try:
            outcome["passed"] = process.wait(limit) == 0
        except subprocess.TimeoutExpired:
            outcome["error"] = f"killed after its limit of {limit:.0f} s"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        log.seek(0)
        lines = log.read().decode(errors="replace").splitlines()
    return outcome | {"output": lines[-_KEPT[outcome["passed"]] :]}


def summary(steps: Mapping[str, Outcome]) -> Iterator[str]:
    """A line for every step, check and tool; of those that failed, why and what they wrote."""
    for name, outcome in steps.items():
        yield f"{_word(outcome)}  {name}"
        parts = {**outcome.get("checks", {}), **outcome.get("tools", {})}
        for part, its in parts.items():
            figures = shorten(f": {its['figures']}", 300) if "figures" in its else ""
            yield f"    {_word(its)}  {part}{figures}"
            yield from _reasons(its)
        yield from _reasons(outcome)


def _reasons(outcome: Outcome) -> Iterator[str]:
    if outcome["passed"]:
        return
    lines = [*outcome.get("output", [])[-_SHOWN:], *outcome.get("error", "").splitlines()]
    yield from (f"    | {line}" for line in lines)


def _word(outcome: Outcome) -> str:
    return "passed" if outcome["passed"] else "FAILED"
