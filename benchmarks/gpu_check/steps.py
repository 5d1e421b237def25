"""Steps of a long check, each in a process of its own, so that no failure loses other results.

A step has a time limit, and a log that is a file of its own while it runs and part of an archive
afterwards. When it ends, its outcome and figures are printed and written. So a check that is killed
leaves the outcome of every step that had ended, and the logs of those that ran.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from .figures import Figures, parse

REPORT, SUMMARY, LOGS, NSIGHT_REPORT = "report.json", "summary.txt", "logs.zip", "mining.ncu-rep"
MOST_BYTES = 15_000_000  # of a file in the folder
TAIL_LINES = 40  # of the log of a step that failed, in the report
TAIL_CHARACTERS = 500  # of each
TAIL_BYTES = 100_000  # of a log that has no room in the archive
POLL = 0.05  # seconds

# Lets a step be killed with its descendants, and end when the check is killed; then becomes its
# command. A preexec_fn would do the same, but can abort where a library (gRPC) has threads.
_LAUNCHER = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
os.setpgrp()
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
check, *command = sys.argv[1:]
if os.getppid() == int(check):
    os.execvp(command[0], command)
"""

Outcome = Literal["passed", "failed", "timed out", "interrupted", "not run"]


@dataclass(frozen=True)
class Step:
    """One process.

    Attributes:
        name: Of the step and of its log.
        command: What is run.
        estimate: Seconds that it should take on a GPU.
        limit: Seconds after which it is killed.
        variables: Of its environment, besides those of the whole check.
    """

    name: str
    command: Sequence[str]
    estimate: float
    limit: float
    variables: dict[str, str] = field(default_factory=dict)


Stage = tuple[Step, ...]
"""Steps that run side by side."""


@dataclass
class Result:
    """What became of a step; ``tail`` is the end of the log of one that did not pass."""

    outcome: Outcome
    seconds: float = 0.0
    command: str = ""
    error: str = ""
    figures: list[Figures] = field(default_factory=list)
    tail: list[str] = field(default_factory=list)


@dataclass
class _Running:
    step: Step
    process: subprocess.Popen[bytes]
    log: Path
    began: float
    limit: float
    killed: Outcome | None = None  # why it was, and in words
    error: str = ""


class Report:
    """The outcomes of steps, in a folder: one JSON, one archive of logs, the logs of what runs.

    Args:
        folder: Is made, and held until the process ends; a report that is there is replaced.
        about: The environment, for the JSON.
        plan: All steps that are to pass.
        deadline: Seconds from now on, after which no step starts and none goes on.
        announce: Called with the report when a step has ended and is recorded, and its name.

    Raises:
        OSError: when the folder cannot be made or written, or another check holds it.
    """

    def __init__(
        self,
        folder: Path,
        about: Mapping[str, Any],
        plan: Sequence[Stage],
        deadline: float,
        announce: Callable[[Report, str], None] = lambda report, name: None,
    ) -> None:
        self.folder = folder
        self.about = about
        self.results: dict[str, Result] = {}
        self._announce = announce
        self._planned = [step.name for stage in plan for step in stage]
        self._began = time.monotonic()
        self._deadline = self._began + deadline
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(folder, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        logs = [f"{name}.log" for name in {*self._planned, *_planned_before(folder)}]
        for left in (REPORT, SUMMARY, LOGS, NSIGHT_REPORT, *logs):
            (folder / left).unlink(missing_ok=True)
        self._write()

    @property
    def green(self) -> bool:
        """Whether every step of the plan has passed."""
        outcomes = [self.results.get(name) for name in self._planned]
        return bool(outcomes) and all(r is not None and r.outcome == "passed" for r in outcomes)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def content(self) -> dict[str, Any]:
        return {
            "environment": self.about,
            "plan": self._planned,
            "green": self.green,
            "seconds": round(self.seconds, 1),
            "steps": {name: asdict(result) for name, result in self.results.items()},
        }

    def run(self, stage: Stage, environment: dict[str, str], directory: Path) -> None:
        """Runs steps side by side and records each when it ends."""
        running: list[_Running] = []
        try:
            for step in stage:
                if time.monotonic() >= self._deadline:
                    self._record(step, Result("not run", error="the time was over"), b"")
                elif started := self._start(step, environment | step.variables, directory):
                    running.append(started)
            while running:
                time.sleep(POLL)
                for one in [*running]:
                    if self._has_ended(one):
                        running.remove(one)
                        self._finish(one)
        finally:  # the check itself is ended
            for one in running:
                _kill(one.process)
            for one in running:
                one.killed, one.error = "interrupted", "the check was ended"
                self._finish(one)

    def _start(self, step: Step, environment: dict[str, str], directory: Path) -> _Running | None:
        log = self.folder / f"{step.name}.log"
        now = time.monotonic()
        launcher = [sys.executable, "-S", "-c", _LAUNCHER, str(os.getpid())]
        try:
            if shutil.which(step.command[0], path=environment.get("PATH")) is None:
                raise FileNotFoundError(f"no program {step.command[0]}")
            with open(log, "wb") as output:
                process = subprocess.Popen(
                    [*launcher, *step.command],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    cwd=directory,
                )
        except OSError as error:
            log.unlink(missing_ok=True)
            self._record(step, Result("failed", error=str(error)), b"")
            return None
        return _Running(step, process, log, now, min(step.limit, self._deadline - now))

    def _has_ended(self, one: _Running) -> bool:
        if one.process.poll() is not None:
            return True
        if time.monotonic() - one.began > one.limit:
            one.killed, one.error = "timed out", f"killed after its limit of {one.limit:.0f} s"
        elif one.log.stat().st_size > MOST_BYTES:
            one.killed, one.error = "failed", f"killed when its log had {MOST_BYTES} bytes"
        return one.killed is not None

    def _finish(self, one: _Running) -> None:
        _kill(one.process)
        outcome = one.killed
        if outcome is None:
            status = one.process.returncode
            outcome, one.error = ("failed", f"status {status}") if status else ("passed", "")
        seconds = round(time.monotonic() - one.began, 1)
        log = one.log.read_bytes()[:MOST_BYTES]
        result = Result(outcome, seconds, shlex.join(one.step.command), one.error)
        self._record(one.step, result, log)
        one.log.unlink()

    def _record(self, step: Step, result: Result, log: bytes) -> None:
        text = log.decode(errors="replace")
        result.figures = parse(text)
        if result.outcome != "passed":
            result.tail = _tail(text)
        self.results[step.name] = result
        archive, name = self.folder / LOGS, f"{step.name}.log"
        if not pack(archive, name, log) and not pack(archive, name, log[-TAIL_BYTES:]):
            result.error = f"{result.error} (the archive of logs is full)".strip()
        self._write()
        self._announce(self, step.name)

    def _write(self) -> None:
        replace_file(self.folder / REPORT, (json.dumps(self.content(), indent=1) + "\n").encode())


def load(folder: Path) -> dict[str, Any]:
    """The content of a report; of a check that was killed with the figures of what was running."""
    content: dict[str, Any] = json.loads((folder / REPORT).read_text())
    for name in content["plan"]:
        log = folder / f"{name}.log"
        if name not in content["steps"] and log.exists():
            text = log.read_text(errors="replace")
            result = Result("interrupted", figures=parse(text), error="the check was killed")
            result.tail = _tail(text)
            content["steps"][name] = asdict(result)
    return content


def _planned_before(folder: Path) -> list[str]:
    """The steps of the report that is there, of which there may be logs."""
    try:
        return list(json.loads((folder / REPORT).read_text())["plan"])
    except (OSError, ValueError, KeyError):
        return []


def _tail(text: str) -> list[str]:
    return [line[:TAIL_CHARACTERS] for line in text.splitlines()[-TAIL_LINES:]]


def replace_file(path: Path, content: bytes) -> None:
    """Replaces a file as a whole: who is killed meanwhile leaves the former one."""
    unfinished = path.with_name(f".{path.name}")
    unfinished.write_bytes(content)
    os.replace(unfinished, path)


def pack(archive: Path, name: str, content: bytes) -> bool:
    """Adds a file to an archive, replaced as a whole; False where it would be too large."""
    buffer = io.BytesIO(archive.read_bytes() if archive.exists() else b"")
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(name, content)
    if len(content := buffer.getvalue()) > MOST_BYTES:
        return False
    replace_file(archive, content)
    return True


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and its descendants; one that the driver holds is left behind."""
    with contextlib.suppress(ProcessLookupError):  # it may have no group yet
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.returncode = -signal.SIGKILL
