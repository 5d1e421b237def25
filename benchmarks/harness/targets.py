"""Performance targets beside what was measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import NamedTuple

from .cards import short_name
from .entries import Entry, Run, Scenario
from .text import format_bytes, format_ratio, format_seconds

LOSS = Scenario("loss forward + backward", "float32", 256, 1)
HALF_LOSS = LOSS._replace(dtype="bfloat16")
SEARCH = Scenario("top-k", "float32", 256, 1)
OURS = "fgsbir_ext"


class Verdict(NamedTuple):
    """What was measured, a figure a run, and whether all runs reach the target."""

    measured: str
    met: bool


Find = Callable[..., Entry | None]  # (scenario, n, baseline = OURS)
Line = tuple[str, Callable[..., Verdict], tuple[Entry | None, ...]]


def target_table(found: Sequence[Entry]) -> str:
    """The targets on two CPU cores, a line for each; one whose entries are missing says so."""
    entry = _finder(found)
    small, middle = entry(LOSS, 128), entry(LOSS, 4096)
    large, largest = entry(LOSS, 16384), entry(LOSS, 65536)
    return _table(
        [
            (
                "whole loss, N = M = 4096: at most 1.1x the bare product",
                partial(_product_ratio, limit=1.1),
                (middle,),
            ),
            (
                "the same, memory beyond inputs and gradients: under 32 MB",
                partial(_memory, limit=32e6),
                (middle,),
            ),
            ("16384: no higher a ratio than 4096", _no_higher, (large, middle)),
            ("65536: no higher a ratio than 4096", _no_higher, (largest, middle)),
            ("whole loss, N = M = 128: at most 300 µs", partial(_time, limit=300e-6), (small,)),
            (
                "top-10 of 1000 queries in 100,000: no slower than faiss flat",
                partial(_against, limit=1),
                (entry(SEARCH, 1000), entry(SEARCH, 1000, "faiss flat")),
            ),
        ]
    )


def gpu_target_table(found: Sequence[Entry], device: str | None) -> str:
    """The targets on one H100 or H200, which every row names."""
    card = short_name(device)
    entry = _finder(found)
    rows: list[Line] = []
    for n in (16384, 65536):
        half, into_float32 = entry(HALF_LOSS, n), entry(HALF_LOSS, n, "product into float32")
        exact = entry(LOSS, n)
        rows += [
            (
                f"whole loss, N = M = {n}, bfloat16: at most 1.0x the bare product into float32",
                partial(_against, limit=1),
                (half, into_float32),
            ),
            (
                "the same, float32: at most half the time of cuBLAS's bare product",
                partial(_product_ratio, limit=0.5),
                (exact,),
            ),
        ]
    for n in (128, 1024):
        ours = entry(LOSS, n)
        for baseline, factor in (("plain PyTorch", 10), ("torch.compile", 3)):
            rows.append(
                (
                    f"whole loss, N = M = {n}: at least {factor}x faster than {baseline}",
                    partial(_against, limit=1 / factor),
                    (ours, entry(LOSS, n, baseline)),
                )
            )
    rows.append(
        (
            "whole loss, N = M = 65536, memory beyond inputs and gradients: under 64 MB",
            partial(_memory, limit=64e6),
            (entry(LOSS, 65536),),
        )
    )
    return _table([(f"{card}: {title}", *rest) for title, *rest in rows])


def _finder(found: Sequence[Entry]) -> Find:
    def entry(scenario: Scenario, n: int, baseline: str = OURS) -> Entry | None:
        return next(
            (
                e
                for e in found
                if (e.scenario, e.n, e.baseline) == (scenario, n, baseline) and e.runs
            ),
            None,
        )

    return entry


def _table(rows: Sequence[Line]) -> str:
    lines = ["| target | measured, in separate runs | reached |", "| --- | --- | --- |"]
    for title, judge, needed in rows:
        verdict = judge(*needed) if all(needed) else None
        measured = verdict.measured if verdict else "not measured"
        reached = {None: "", True: "yes", False: "no"}[verdict.met if verdict else None]
        lines.append(f"| {title} | {measured} | {reached} |")
    return "\n".join(lines)


def _ratios(entry: Entry) -> list[float]:
    return [run.ratio for run in entry.runs if run.ratio is not None]


def _ratios_with_quartiles(entry: Entry) -> str:
    return "; ".join(
        f"{format_ratio(run.ratio)} ({_quartiles(run)})"
        for run in entry.runs
        if run.ratio is not None
    )


def _quartiles(run: Run) -> str:
    return "one round" if run.rounds == 1 else f"{run.ratio_low:.2f} to {run.ratio_high:.2f}"


def _product_ratio(entry: Entry, limit: float) -> Verdict:
    ratios = _ratios(entry)
    return Verdict(_ratios_with_quartiles(entry), bool(ratios) and max(ratios) <= limit)


def _memory(entry: Entry, limit: float) -> Verdict:
    if entry.peak_bytes is None:
        return Verdict("no measure of memory here", False)
    return Verdict(format_bytes(entry.peak_bytes), entry.peak_bytes < limit)


def _no_higher(larger: Entry, smaller: Entry) -> Verdict:
    large, small = _ratios(larger), _ratios(smaller)
    if not large or not small:
        return Verdict("the bare product did not fit", False)
    shown = f"{_ratios_with_quartiles(larger)}, against {format_ratio(median(small))}"
    return Verdict(shown, max(large) <= median(small))


def _time(entry: Entry, limit: float) -> Verdict:
    shown = [
        f"{format_seconds(run.seconds)} ({format_seconds(run.seconds_low)} to "
        f"{format_seconds(run.seconds_high)})"
        for run in entry.runs
    ]
    return Verdict("; ".join(shown), all(run.seconds <= limit for run in entry.runs))


def _against(ours: Entry, theirs: Entry, limit: float) -> Verdict:
    """Both by the bare product of their own process: what slows both falls out."""
    ratios, shown = [], []
    for one, other in zip(ours.runs, theirs.runs, strict=False):
        if one.ratio is None or other.ratio is None:
            continue
        ratios.append(one.ratio / other.ratio)
        times = f"{format_seconds(one.seconds)} and {format_seconds(other.seconds)}"
        quotient = f"{_quartiles(one)} over {_quartiles(other)}"
        shown.append(f"{format_ratio(ratios[-1])} ({quotient}; {times})")
    return Verdict("; ".join(shown), bool(ratios) and max(ratios) <= limit)
