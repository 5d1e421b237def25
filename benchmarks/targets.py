"""What this library is to reach on two CPU cores, beside what was measured in separate runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from .entries import Entry, Scenario
from .text import format_bytes, format_ratio, format_seconds

LOSS = Scenario("loss forward + backward", "float32", 256, 1)
SEARCH = Scenario("top-k", "float32", 256, 1)
OURS = "fgsbir_ext"


class Verdict(NamedTuple):
    """What was measured, a figure a run, and whether all runs reach the target."""

    measured: str
    met: bool


def target_table(found: Sequence[Entry]) -> str:
    """A line for each target; one whose entries are missing says so."""

    def entry(scenario: Scenario, n: int, rival: str = OURS) -> Entry | None:
        return next(
            (e for e in found if (e.scenario, e.n, e.rival) == (scenario, n, rival) and e.runs),
            None,
        )

    small, middle = entry(LOSS, 128), entry(LOSS, 4096)
    lines = ["| target | measured, in separate runs | reached |", "| --- | --- | --- |"]
    rows: list[tuple[str, Callable[..., Verdict], tuple[Entry | None, ...]]] = [
        ("whole loss, N = M = 4096: at most 1.1x the bare product", _product_ratio, (middle,)),
        ("the same, memory beyond inputs and gradients: under 32 MB", _memory, (middle,)),
        ("16384: no higher a ratio than 4096", _no_higher, (entry(LOSS, 16384), middle)),
        ("65536: no higher a ratio than 4096", _no_higher, (entry(LOSS, 65536), middle)),
        ("whole loss, N = M = 128: at most 300 µs", _small, (small,)),
        (
            "top-10 of 1000 queries in 100,000: no slower than faiss flat",
            _against,
            (entry(SEARCH, 1000), entry(SEARCH, 1000, "faiss flat")),
        ),
    ]
    for title, judge, needed in rows:
        verdict = judge(*needed) if all(needed) else None
        measured = verdict.measured if verdict else "not measured"
        reached = {None: "", True: "yes", False: "no"}[verdict.met if verdict else None]
        lines.append(f"| {title} | {measured} | {reached} |")
    return "\n".join(lines)


def _product_ratio(entry: Entry) -> Verdict:
    ratios = [run.ratio for run in entry.runs if run.ratio is not None]
    shown = [
        f"{format_ratio(run.ratio)} ({run.ratio_low:.2f} to {run.ratio_high:.2f})"
        for run in entry.runs
        if run.ratio is not None
    ]
    return Verdict("; ".join(shown), bool(ratios) and max(ratios) <= 1.1)


def _memory(entry: Entry) -> Verdict:
    if entry.peak_bytes is None:
        return Verdict("no measure of memory here", False)
    return Verdict(format_bytes(entry.peak_bytes), entry.peak_bytes < 32e6)


def _no_higher(larger: Entry, smaller: Entry) -> Verdict:
    if larger.ratio is None or smaller.ratio is None:
        return Verdict("the bare product did not fit", False)
    return Verdict(
        f"{format_ratio(larger.ratio)} against {format_ratio(smaller.ratio)}",
        larger.ratio <= smaller.ratio,
    )


def _small(entry: Entry) -> Verdict:
    shown = [
        f"{format_seconds(run.seconds)} ({format_seconds(run.seconds_low)} to "
        f"{format_seconds(run.seconds_high)})"
        for run in entry.runs
    ]
    return Verdict("; ".join(shown), all(run.seconds <= 300e-6 for run in entry.runs))


def _against(ours: Entry, theirs: Entry) -> Verdict:
    """Both by the bare product of their own process: what slows both falls out."""
    ratios = [
        one.ratio / other.ratio
        for one, other in zip(ours.runs, theirs.runs, strict=False)
        if one.ratio is not None and other.ratio is not None
    ]
    shown = "; ".join(f"{format_ratio(ratio)} its time" for ratio in ratios)
    return Verdict(shown, bool(ratios) and max(ratios) <= 1)
