"""Rows of a results file, one entry a cell, with repeated runs merged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

BARE = "bare product"


class Run(NamedTuple):
    """One process's figures: seconds of a call, and the ratio to the bare product beside it."""

    seconds: float
    seconds_low: float  # first quartile
    seconds_high: float  # third quartile
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    rounds: int


class Scenario(NamedTuple):
    """What the entries of one table share."""

    operation: str
    dtype: str
    d: int
    shots: int

    def title(self) -> str:
        shots = "" if self.shots == 1 else f", {self.shots} photos of each thing"
        return f"{self.operation}, {self.dtype}, D = {self.d}{shots}"


@dataclass(frozen=True)
class Entry:
    """A baseline on a workload. Medians over runs; no seconds where it has no result."""

    scenario: Scenario
    baseline: str
    n: int
    m: int
    outcome: str
    detail: str
    runs: tuple[Run, ...] = ()
    product_seconds: float | None = None
    peak_bytes: int | None = None

    @property
    def estimated(self) -> bool:
        """Whether a failure was foreseen from a smaller size, and not run into."""
        return not self.runs and self.detail.startswith("not run")

    @property
    def single(self) -> bool:
        """Whether it was timed once: its ratio has no spread."""
        return sum(run.rounds for run in self.runs) == 1

    @property
    def seconds(self) -> float | None:
        return median(run.seconds for run in self.runs) if self.runs else None

    @property
    def ratio(self) -> float | None:
        ratios = [run.ratio for run in self.runs if run.ratio is not None]
        return median(ratios) if ratios else None


def entries(rows: Iterable[dict[str, Any]]) -> list[Entry]:
    """Entries in the order in which their cells were first measured."""
    cells: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        names = ("operation", "baseline", "n", "m", "d", "dtype", "shots")
        cells.setdefault(tuple(row[name] for name in names), []).append(row)
    return [_entry(repeated) for repeated in cells.values()]


def bare_entry(entry: Entry) -> Entry:
    """The bare product as it was measured beside a baseline, with the memory of its matrix."""
    seconds = entry.product_seconds
    rounds = sum(run.rounds for run in entry.runs)
    runs = () if seconds is None else (Run(seconds, seconds, seconds, 1.0, 1.0, 1.0, rounds),)
    size = {"float32": 4, "bfloat16": 2}[entry.scenario.dtype]
    outcome, detail = ("ok", "") if runs else ("out of memory", "its matrix is over the limit")
    if not entry.runs:
        outcome, detail = "not run", "it is measured beside fgsbir_ext"
    return Entry(
        entry.scenario,
        BARE,
        entry.n,
        entry.m,
        outcome,
        detail,
        runs,
        seconds,
        entry.n * entry.m * size,
    )


def _entry(rows: list[dict[str, Any]]) -> Entry:
    """A cell's runs as one; a run that failed makes the whole entry a failure."""
    rows = [row for row in rows if row["outcome"] != "not run"] or rows
    first = rows[0]
    cell = (
        Scenario(first["operation"], first["dtype"], first["d"], first["shots"]),
        first["baseline"],
        first["n"],
        first["m"],
    )
    for row in rows:
        if row["outcome"] != "ok":
            return Entry(*cell, row["outcome"], row["detail"])
    runs = []
    for row in rows:
        time, ratio = row["time"], row["ratio"] or dict.fromkeys(("median", "low", "high"))
        runs.append(
            Run(
                time["median"], time["low"], time["high"],
                ratio["median"], ratio["low"], ratio["high"], time["rounds"],
            )
        )  # fmt: skip
    products = [row["product"]["median"] for row in rows if row["product"]]
    peaks = [row["peak_bytes"] for row in rows if row["peak_bytes"] is not None]
    return Entry(
        *cell,
        "ok",
        "",
        tuple(runs),
        median(products) if products else None,
        max(peaks) if peaks else None,
    )
