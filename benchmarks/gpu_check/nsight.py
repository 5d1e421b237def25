"""Hardware counters of one mining kernel, by Nsight Compute.

    python -m benchmarks.gpu_check.nsight --report mining.ncu-rep

Guided mining of 16384 x 16384 in bfloat16. The report can be opened in Nsight Compute's window; all
its counters are in the log, and those that say what the kernel waits for are figures.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from ..kernel_report.toolkit import find_tool
from ..workload import Workload, make_inputs
from .device import add_rehearse, device_or_rehearsal
from .figures import Figures, emit
from .names import GUIDANCES
from .steps import MOST_BYTES
from .timings import our_mining

KERNEL = "mine_tiles"
# By title the names that versions and chips have for it.
COUNTERS = {
    "us": ("gpu__time_duration.sum",),
    "multiprocessors %": ("sm__throughput.avg.pct_of_peak_sustained_elapsed",),
    "memory %": ("gpu__compute_memory_throughput.avg.pct_of_peak_sustained_elapsed",),
    "L2 %": ("lts__throughput.avg.pct_of_peak_sustained_elapsed",),
    "DRAM %": (
        "gpu__dram_throughput.avg.pct_of_peak_sustained_elapsed",
        "dram__throughput.avg.pct_of_peak_sustained_elapsed",
    ),
    "tensor cores %": (
        "sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_active",
        "sm__inst_executed_pipe_tensor.avg.pct_of_peak_sustained_active",
        "sm__pipe_tensor_op_hmma_cycles_active.avg.pct_of_peak_sustained_active",
    ),
    "issue slots %": (
        "sm__inst_issued.avg.pct_of_peak_sustained_active",
        "smsp__issue_active.avg.pct_of_peak_sustained_active",
    ),
    "occupancy %": ("sm__warps_active.avg.pct_of_peak_sustained_active",),
    "instructions": ("smsp__inst_executed.sum", "sm__inst_executed.sum"),
    "bank conflicts": (
        "l1tex__data_bank_conflicts_pipe_lsu.sum",
        "l1tex__data_bank_conflicts_pipe_lsu_mem_shared.sum",
    ),
    "registers": ("launch__registers_per_thread",),
}
_STALL = "smsp__average_warps_issue_stalled_"
_STALLS_SHOWN = 5


def commands(ncu: str, report: Path, target: list[str]) -> list[list[str]]:
    """Measures the second launch of the kernel, and prints all of the report as CSV."""
    # The clocks are left alone: they are not ours to set.
    measure = [ncu, "--clock-control", "none", "--set", "full", "--force-overwrite"]
    measure += ["--kernel-name", KERNEL, "--launch-skip", "1", "--launch-count", "1"]
    return [
        [*measure, "--export", str(report), *target],
        [ncu, "--import", str(report), "--page", "raw", "--csv", "--print-units", "base"],
    ]


def counters(text: str) -> Figures:
    """The counters of the one kernel in a page of raw values: names, units, values."""
    lines = [line for line in text.splitlines() if line.startswith('"')]
    names, units, values = list(csv.reader(lines))[:3]
    found = {
        name: float(x)
        for name, v in zip(names, values, strict=True)
        if _is_number(x := v.replace(",", ""))
    }
    unit = dict(zip(names, units, strict=True))
    figures: Figures = {}
    for title, candidates in COUNTERS.items():
        name = next((name for name in candidates if name in found), None)
        if name is None:
            figures[title] = "missing"
            continue
        scale = {"ns": 1e-3, "nsecond": 1e-3, "ms": 1e3, "msecond": 1e3}.get(unit[name], 1.0)
        figures[title] = round(found[name] * scale, 2)
    stalls = {
        name.removeprefix(_STALL).split("_per_")[0].split(".")[0]: value
        for name, value in found.items()
        if name.startswith(_STALL)
    }
    worst = sorted(stalls, key=lambda name: -stalls[name])[:_STALLS_SHOWN]
    return figures | {"stalls": {name: round(stalls[name], 2) for name in worst}}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def mine(rehearse: bool) -> None:
    """The kernel that is measured, twice."""
    with device_or_rehearsal(rehearse) as device:
        n = 16384 if device == "cuda" else 64
        work = our_mining(GUIDANCES[0])(
            make_inputs(Workload(n, dtype=torch.bfloat16, device=device))
        )
        work()
        work()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--report", type=Path, help="keep Nsight Compute's report here")
    parser.add_argument("--mine", action="store_true", help="run the kernel and nothing else")
    add_rehearse(parser)
    arguments = parser.parse_args()
    if arguments.mine or arguments.rehearse:
        mine(arguments.rehearse)
        return 0
    target = [sys.executable, "-m", "benchmarks.gpu_check.nsight", "--mine"]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "mining.ncu-rep")
        measure, show = commands(find_tool("ncu"), report, target)
        if status := subprocess.run(measure).returncode:
            return status
        page = subprocess.run(show, stdout=subprocess.PIPE, text=True)
        print(page.stdout, flush=True)
        if page.returncode:
            return page.returncode
        if arguments.report and report.stat().st_size <= MOST_BYTES:
            arguments.report.write_bytes(report.read_bytes())
        emit("counters", passed=True, **counters(page.stdout))
    return 0


if __name__ == "__main__":
    sys.exit(main())
