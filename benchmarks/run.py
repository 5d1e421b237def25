"""Run the whole grid and rebuild its tables and plots.

    python -m benchmarks.run                # under 20 minutes on two idle cores
    python -m benchmarks.run --quick        # some minutes, to build/; changes no document

Every cell of the grid (benchmarks/harness/grid.py) runs in a process of its own, with limits of
memory and time; what fails, or would by a stated estimate, is a row of the result. The baselines
must be installed: pip install -c constraints.txt -e '.[bench]'.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import report
from .harness import grid
from .harness.estimate import hopeless
from .harness.grid import Cell
from .harness.isolate import Isolation, Limits, Row
from .harness.machine import (
    BUSY,
    RESULTS,
    ROOT,
    available_memory,
    describe_machine,
    describe_software,
)

RESERVE = 1.5e9  # bytes left to the system
GRACE = 100.0  # seconds


class Results:
    """Rows, written to a file after each, so that nothing is lost."""

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self.path = path
        self.rows: list[Row] = []
        self._about = about
        self._began = time.monotonic()
        self.path.parent.mkdir(parents=True, exist_ok=True)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def add(self, row: Row) -> None:
        self.rows.append(row)
        about = self._about | {"seconds": round(self.seconds, 1)}
        head = json.dumps(about, indent=1).removesuffix("\n}")
        lines = ",\n".join(json.dumps(row.as_json()) for row in self.rows)
        self.path.write_text(f'{head},\n "rows": [\n{lines}\n]\n}}\n')


def schedule(cells: Sequence[Cell], targets: Sequence[Cell]) -> list[Cell]:
    """The grid, its targets three times, far from each other: three separate runs of them."""
    rest = [cell for cell in cells if cell not in targets]
    third = len(rest) // 3
    parts = rest[:third], rest[third : 2 * third], rest[2 * third :]
    return [cell for part in parts for cell in (*targets, *part)]


def run_cells(
    cells: Sequence[Cell], isolation: Isolation, limits: Limits, seconds: float, results: Results
) -> None:
    """A row for every cell, also for those left when the time is up.

    No cell starts after ``seconds``, and none goes on for more than ``GRACE`` after them.
    """
    for number, cell in enumerate(cells, 1):
        row = hopeless(cell, results.rows, limits)
        if row is None and results.seconds > seconds:
            row = Row(cell, "not run", f"the {seconds / 60:g} minutes were over")
        if row is None:
            left = seconds + GRACE - results.seconds
            row = isolation.run(cell, replace(limits, seconds=min(limits.seconds, left)))
        results.add(row)
        shown = report.in_one_line(row.as_json())
        print(f"{results.seconds:6.0f} s  {number}/{len(cells)}  {cell}  {shown}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, fewer baselines")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--only", default="", help="cells whose name contains this, as printed")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--minutes", type=float, default=18.0, help="no cell starts after them")
    parser.add_argument("--memory", type=float, help="GB for each cell (default: what is free)")
    parser.add_argument("--out", type=Path, help="results file; default: in results/speed/")
    arguments = parser.parse_args()
    device, partial = arguments.device, bool(arguments.quick or arguments.only)

    targets = [] if arguments.quick else grid.targets(device)
    cells = schedule(grid.quick(device) if arguments.quick else grid.full(device), targets)
    cells = [cell for cell in cells if arguments.only in str(cell)]
    if not cells:
        parser.error(f"no cell's name contains {arguments.only!r}")
    machine = describe_machine()
    if machine["load_average"] > BUSY:
        print(f"load average {machine['load_average']:.1f}: figures will not be fit to quote")
    free = available_memory(device) - RESERVE
    limits = Limits(memory=int(min(free, 1e9 * (arguments.memory or math.inf))))
    isolation = Isolation(arguments.threads)
    folder = ROOT / "build" / "benchmarks" if partial else RESULTS
    about = {
        "machine": machine | {"threads": arguments.threads},
        "software": describe_software(),
        "grid": "part" if partial else "full",
        "limits": vars(limits),
    }
    results = Results(arguments.out or folder / f"benchmark-{device}.json", about)

    run_cells(cells, isolation, limits, 60 * arguments.minutes, results)

    print(f"{results.seconds / 60:.1f} minutes: {results.path}")
    if partial or arguments.out or device != "cpu":
        print(report.tables(report.load(results.path)))
    else:
        report.rebuild()
    return 0


if __name__ == "__main__":
    sys.exit(main())
