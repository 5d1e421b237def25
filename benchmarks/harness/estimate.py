"""Estimate of a cell from a smaller one, to leave out what would not fit or finish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .grid import Cell
from .isolate import Limits, Row

LONGEST_CALL = 50.0  # seconds


def hopeless(cell: Cell, rows: Sequence[Row], limits: Limits) -> Row | None:
    """A row that says why a cell is not run, or None.

    Work grows with the number of pairs. So does memory, if the smaller workload's peak was at least
    half an (N, M) matrix; if it was less, nothing is concluded.
    """
    smaller = _next_smaller(cell, rows)
    if smaller is None:
        return None
    before, scale = smaller.cell.workload, cell.workload.pairs / smaller.cell.workload.pairs
    at = f"at N = {before.n}"
    result = smaller.measurement
    if result is None:
        return Row(cell, smaller.outcome, f"not run: {smaller.outcome} already {at}")
    matrix = before.pairs * before.dtype.itemsize
    peak = result.peak_bytes
    if peak is not None and peak > matrix / 2 and peak * scale > limits.memory:
        return Row(
            cell,
            "out of memory",
            f"not run: {scale:.0f} x its {peak / 1e9:.1f} GB {at} is {peak * scale / 1e9:.0f} GB, "
            f"the limit {limits.memory / 1e9:.1f} GB",
        )
    seconds = result.time.median * scale
    if seconds > LONGEST_CALL:
        return Row(
            cell,
            "timed out",
            f"not run: {scale:.0f} x its {result.time.median:.1f} s {at} is {seconds:.0f} s a "
            f"call, the limit {LONGEST_CALL:.0f} s",
        )
    return None


def _next_smaller(cell: Cell, rows: Sequence[Row]) -> Row | None:
    """The largest workload before this one that differs in its size alone."""

    def shape(c: Cell) -> Cell:
        return replace(c, workload=replace(c.workload, n=1, m=None))

    series = [
        row
        for row in rows
        if shape(row.cell) == shape(cell)
        and row.cell.workload.pairs < cell.workload.pairs
        and row.outcome not in ("not supported", "not run")
    ]
    return max(series, key=lambda row: row.cell.workload.pairs, default=None)
