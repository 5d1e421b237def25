"""Description of machine and software, free memory, and writing of reports."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import fgsbir_ext

from ..baselines import BASELINES

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "speed"
LIBRARY = ("fgsbir_ext", "csrc")
BUSY = 0.5  # load average from which on figures are not to be quoted
# Packages of the baselines, in the order of the tables.
COMPARED = tuple(dict.fromkeys(baseline.package for baseline in BASELINES.values()))
PACKAGES = (*COMPARED, "numpy", "pytest-benchmark")


def describe_machine() -> dict[str, Any]:
    """The processor, its instruction sets, memory, and what else was running."""
    cuda = torch.cuda.is_available()
    return {
        "processor": _first(Path("/proc/cpuinfo"), "model name") or platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "instruction_sets": torch.backends.cpu.get_cpu_capability(),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "device": torch.cuda.get_device_name() if cuda else None,
        "system": f"{platform.system()} {platform.release().split('-')[0]} {platform.machine()}",
        "load_average": os.getloadavg()[0],
    }


def describe_software() -> dict[str, Any]:
    """Versions, the commit, and whether the sources differ from it."""
    packages: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = None
    return {
        "python": platform.python_version(),
        **packages,
        "fgsbir_ext": fgsbir_ext.build_info()._asdict(),
        "commit": _git("rev-parse", "HEAD"),
        "sources_changed": sources_differ("HEAD", (*LIBRARY, "python")),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def sources_differ(commit: str, folders: tuple[str, ...] = LIBRARY) -> bool:
    """Whether tracked sources, of the library if nothing is said, are not those of a commit."""
    return bool(_git("diff", "--name-only", commit, "--", *folders))


def publish(report: dict[str, Any], note: str, out: Path | None) -> None:
    """Prints a report as JSON, with the machine and the versions, and writes it where asked."""
    origin = {"note": note, "machine": describe_machine(), "software": describe_software()}
    text = json.dumps(report | origin, indent=2)
    print(text)
    if out is not None:
        out.write_text(text + "\n")


def available_memory(device: str) -> int:
    """Bytes that a process may take without pushing others out."""
    if device == "cuda":
        return torch.cuda.mem_get_info()[0]
    kilobytes = _first(Path("/proc/meminfo"), "MemAvailable")
    if kilobytes is None:
        raise RuntimeError("the memory limit is taken from /proc/meminfo, which is not here")
    return int(kilobytes.split()[0]) * 1024


def _first(path: Path, name: str) -> str | None:
    if not path.exists():
        return None
    for line in path.read_text().splitlines():
        if line.startswith(name):
            return line.partition(":")[2].strip()
    return None


def _git(*arguments: str) -> str | None:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None
