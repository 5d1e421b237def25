"""Registers, shared memory and spills of every CUDA kernel, as the compiler reports them.

    python -m benchmarks.kernel_resources
    python -m benchmarks.kernel_resources --architectures 90 --json

Needs nvcc, but no GPU. Exits with status 1 if a kernel spills registers to memory.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[1] / "csrc" / "cuda"
ARCHITECTURES = ("75", "80", "90", "120")

_ENTRY = re.compile(r"Compiling entry function '(?P<symbol>\w+)' for 'sm_(?P<architecture>\w+)'")
_STACK = re.compile(
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, "
    r"(?P<loads>\d+) bytes spill loads"
)
_USED = re.compile(r"Used (?P<registers>\d+) registers(?:.* (?P<shared>\d+) bytes smem)?")


@dataclass
class Kernel:
    """What one kernel takes on one architecture, sizes in bytes.

    ``shared`` is static shared memory; tiles are in dynamic shared memory, below 48 KiB a block.
    """

    operation: str
    name: str
    architecture: str
    registers: int
    stack: int
    spill_stores: int
    spill_loads: int
    shared: int

    @property
    def spills(self) -> bool:
        return self.spill_stores > 0 or self.spill_loads > 0


def find_nvcc() -> str:
    """nvcc on PATH, under CUDA_HOME, or in the usual place."""
    homes = [os.environ.get("CUDA_HOME"), "/usr/local/cuda"]
    candidates = ["nvcc", *(str(Path(home, "bin", "nvcc")) for home in homes if home)]
    for candidate in candidates:
        if found := shutil.which(candidate):
            return found
    raise FileNotFoundError("nvcc is neither on PATH nor under CUDA_HOME")


def compile_report(nvcc: str, source: Path, architecture: str) -> str:
    """The assembler's report on one source, symbols demangled where the toolchain can."""
    target = f"arch=compute_{architecture},code=sm_{architecture}"
    with tempfile.TemporaryDirectory() as folder:
        command = [nvcc, "-std=c++17", "-O3", "-gencode", target, "-Xptxas", "-v"]
        command += ["-c", str(source), "-o", str(Path(folder, "object.o"))]
        result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}:\n{result.stdout}{result.stderr}")
    return result.stdout + result.stderr


def parse_report(operation: str, report: str) -> Iterator[Kernel]:
    """The kernels of a report of ``ptxas -v``."""
    entry, stack = None, None
    for line in report.splitlines():
        if match := _ENTRY.search(line):
            entry = match
        elif match := _STACK.search(line):
            stack = match
        elif (match := _USED.search(line)) and entry is not None and stack is not None:
            yield Kernel(
                operation,
                _readable(entry["symbol"]),
                f"sm_{entry['architecture']}",
                int(match["registers"]),
                int(stack["stack"]),
                int(stack["stores"]),
                int(stack["loads"]),
                int(match["shared"] or 0),
            )
            entry = stack = None


def _readable(symbol: str) -> str:
    """``mine_tiles<float, 128, 64>`` of a mangled symbol."""
    filt = shutil.which("c++filt")
    if filt is None:
        return symbol
    name = subprocess.run([filt, symbol], capture_output=True, text=True, check=True).stdout.strip()
    name = name.replace("fgsbir::cuda::(anonymous namespace)::", "").removeprefix("void ")
    return name.split("(")[0]


def kernel_resources(architectures: tuple[str, ...], jobs: int) -> list[Kernel]:
    """Every kernel of csrc/cuda on every architecture."""
    nvcc = find_nvcc()
    work = [(source, a) for source in sorted(SOURCES.glob("*.cu")) for a in architectures]
    with ThreadPoolExecutor(jobs) as pool:
        reports = pool.map(lambda item: compile_report(nvcc, *item), work)
        parsed = (
            parse_report(source.stem, report)
            for (source, _), report in zip(work, reports, strict=True)
        )
        return [kernel for kernels in parsed for kernel in kernels]


def table(kernels: list[Kernel]) -> str:
    """One line a kernel, a column of registers an architecture; spills in bytes behind a +."""
    architectures = sorted({k.architecture for k in kernels}, key=lambda a: int(a[3:]))
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for k in kernels:
        spilled = f"+{k.spill_stores + k.spill_loads}" if k.spills else ""
        rows.setdefault((k.operation, k.name), {})[k.architecture] = f"{k.registers}{spilled}"
    width = max(len(name) for _, name in rows)
    lines = [f"{'registers':{width}}  " + "  ".join(f"{a:>7}" for a in architectures)]
    last = ""
    for (operation, name), by_architecture in rows.items():
        if operation != last:
            lines.append(f"-- {operation}")
            last = operation
        cells = "  ".join(f"{by_architecture.get(a, ''):>7}" for a in architectures)
        lines.append(f"{name:{width}}  {cells}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--architectures", nargs="+", default=list(ARCHITECTURES))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    arguments = parser.parse_args()

    kernels = kernel_resources(tuple(arguments.architectures), arguments.jobs)
    if arguments.json:
        print(json.dumps([asdict(kernel) for kernel in kernels], indent=1))
    else:
        print(table(kernels))
    spilling = [kernel for kernel in kernels if kernel.spills]
    for kernel in spilling:
        print(f"spills: {kernel.name} on {kernel.architecture}", file=sys.stderr)
    return 1 if spilling else 0


if __name__ == "__main__":
    sys.exit(main())
