"""Isolation of a cell in a process with limits of memory and time; a failure is a result too."""

from __future__ import annotations

import multiprocessing
import os
import resource
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import torch

from ..baselines import BASELINES, Unsupported
from .grid import Cell
from .measure import Measurement, measure

Outcome = Literal["ok", "out of memory", "timed out", "failed", "not supported", "not run"]


@dataclass(frozen=True)
class Limits:
    """What a cell may take: bytes, seconds of the whole process, and seconds for its rounds.

    After ``last`` seconds no further round begins.
    """

    memory: int
    seconds: float = 180.0
    rounds: float = 1.0
    last: float = 20.0


@dataclass(frozen=True)
class Row:
    """The outcome of a cell; ``detail`` says what happened where it is not ok."""

    cell: Cell
    outcome: Outcome
    detail: str = ""
    measurement: Measurement | None = None

    def as_json(self) -> dict[str, Any]:
        w = self.cell.workload
        return {
            "operation": self.cell.operation,
            "baseline": self.cell.baseline,
            "n": w.n,
            "m": w.columns,
            "d": w.d,
            "k": w.k,
            "shots": w.shots,
            "dtype": w.type_name,
            "outcome": self.outcome,
            "detail": self.detail,
            **(asdict(self.measurement) if self.measurement else {}),
        }


class Isolation:
    """Processes forked from one that has loaded torch and nothing else, so that starting is cheap.

    Args:
        threads: Of every process, for every library in it that uses OpenMP.
    """

    def __init__(self, threads: int) -> None:
        # The libraries read it when they are loaded, so before any child exists.
        os.environ["OMP_NUM_THREADS"] = str(threads)
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["benchmarks.harness.isolate"])

    def run(self, cell: Cell, limits: Limits) -> Row:
        """Measures a cell; whatever becomes of its process, the caller lives on."""
        if not BASELINES[cell.baseline].installed:
            return Row(cell, "not run", f"{BASELINES[cell.baseline].requires} is not installed")
        ours, theirs = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_child, args=(theirs, cell, limits), daemon=False)
        process.start()
        theirs.close()
        try:
            if ours.poll(limits.seconds):
                row = ours.recv()
                process.join(5)  # in peace, if it can: it has helpers of its own to end
                return row
            return Row(cell, "timed out", f"no result within {limits.seconds:.0f} s")
        except EOFError:
            process.join()
            return Row(cell, "failed", f"its process ended with status {process.exitcode}")
        finally:
            process.kill()
            process.join()
            ours.close()


def _child(connection: Connection, cell: Cell, limits: Limits) -> None:
    connection.send(_attempt(cell, limits))


def _attempt(cell: Cell, limits: Limits) -> Row:
    if cell.workload.device == "cpu":
        _limit_memory(limits.memory)
    try:
        result = measure(cell, limits.rounds, limits.last)
    except Unsupported as error:
        return Row(cell, "not supported", str(error))
    except Exception as error:  # of a baseline: its failure is the result
        text = " ".join(str(error).split())
        if _is_out_of_memory(error, text):
            return Row(cell, "out of memory", f"limit {limits.memory / 1e9:.1f} GB; {text[:120]}")
        return Row(cell, "failed", f"{type(error).__name__}: {text[:200]}")
    return Row(cell, "ok", measurement=result)


def _limit_memory(limit: int) -> None:
    """Allocations beyond the limit fail; and should the system run out, this process goes first."""
    Path("/proc/self/oom_score_adj").write_text("1000")
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + limit, mapped + limit))


def _is_out_of_memory(error: Exception, text: str) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(sign in text for sign in ("allocate memory", "bad_alloc", "out of memory"))
