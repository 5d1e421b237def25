"""Command line of the kernel report: what the compiler says of every CUDA kernel.

    python -m benchmarks.kernel_report
    python -m benchmarks.kernel_report --architectures 90 --json
    python -m benchmarks.kernel_report --operations topk

Needs nvcc, but no GPU. Exits with status 1 if a kernel spills registers to memory, or if the
assembler makes products of warpgroups wait for each other.

Kernels get their shared memory when they are launched, so that the compiler's report knows nothing
of it. It is counted in a copy of the sources in which the one function that hands it out declares
it statically instead: benchmarks/kernel_report/blocks.py.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from .blocks import Block, blocks, readable
from .toolkit import find_tool

SOURCES = Path(__file__).resolve().parents[2] / "csrc" / "cuda"
ARCHITECTURES = ("75", "80", "90a", "120")

_ENTRY = re.compile(r"Compiling entry function '(?P<symbol>\w+)' for 'sm_(?P<architecture>\w+)'")
_STACK = re.compile(
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, "
    r"(?P<loads>\d+) bytes spill loads"
)
_USED = re.compile(r"Used (?P<registers>\d+) registers")
_SERIALIZED = re.compile(r"wgmma\.mma_async instructions are serialized .*'(?P<symbol>\w+)'")


@dataclass
class Kernel:
    """What one kernel takes on one architecture, sizes in bytes.

    ``threads`` are the most of a block that it is compiled for (None: any), ``shared`` is a block's
    shared memory, static and dynamic, and ``stack`` a thread's. ``serialized``: the assembler waits
    for each product of a warpgroup before it starts the next.
    """

    operation: str
    name: str
    architecture: str
    threads: int | None
    shared: int
    registers: int
    stack: int
    spill_stores: int
    spill_loads: int
    serialized: bool

    @property
    def spills(self) -> bool:
        return self.spill_stores > 0 or self.spill_loads > 0


def compile_report(nvcc: str, source: Path, architecture: str) -> str:
    """The assembler's report on one source, symbols demangled where the toolchain can."""
    target = f"arch=compute_{architecture},code=sm_{architecture}"
    with tempfile.TemporaryDirectory() as folder:
        command = [nvcc, "-std=c++17", "-O3", "-DNDEBUG", "-gencode", target, "-Xptxas", "-v"]
        command += ["-cubin", str(source), "-o", str(Path(folder, "kernels.cubin"))]
        result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}:\n{result.stdout}{result.stderr}")
    return result.stdout + result.stderr


def parse_report(operation: str, report: str, shapes: dict[str, Block]) -> Iterator[Kernel]:
    """The kernels of a report of ``ptxas -v``, with the shapes of their blocks."""
    serialized = {match["symbol"] for match in _SERIALIZED.finditer(report)}
    entry, stack = None, None
    for line in report.splitlines():
        if match := _ENTRY.search(line):
            entry = match
        elif match := _STACK.search(line):
            stack = match
        elif (match := _USED.search(line)) and entry is not None and stack is not None:
            name = readable(entry["symbol"])
            yield Kernel(
                operation,
                name,
                f"sm_{entry['architecture']}",
                shapes[name].threads,
                shapes[name].shared,
                int(match["registers"]),
                int(stack["stack"]),
                int(stack["stores"]),
                int(stack["loads"]),
                entry["symbol"] in serialized,
            )
            entry = stack = None


def number(architecture: str) -> int:
    """90 of ``90a``, which is 90 with instructions that no later chip has."""
    return int(architecture.rstrip("af"))


def kernel_resources(
    architectures: tuple[str, ...], jobs: int, operations: tuple[str, ...] = ()
) -> list[Kernel]:
    """Every kernel of csrc/cuda, or of some of its files, on every architecture."""
    nvcc = find_tool("nvcc")
    sources = [s for s in sorted(SOURCES.glob("*.cu")) if not operations or s.stem in operations]
    work = [(source, a) for source in sources for a in architectures]
    with ThreadPoolExecutor(jobs) as pool:
        # On which no kernel is left out for want of an instruction.
        fullest = max(architectures, key=lambda a: (not a.isdecimal(), number(a)))
        shapes = pool.map(lambda source: blocks(nvcc, source, fullest), sources)
        reports = pool.map(lambda item: compile_report(nvcc, *item), work)
        by_source = dict(zip(sources, shapes, strict=True))
        parsed = (
            parse_report(source.stem, report, by_source[source])
            for (source, _), report in zip(work, reports, strict=True)
        )
        return [kernel for kernels in parsed for kernel in kernels]


def table(kernels: list[Kernel]) -> str:
    """One line a kernel, a column of registers an architecture; spills in bytes behind a +."""
    architectures = sorted({k.architecture for k in kernels}, key=lambda a: (number(a[3:]), a))
    rows: dict[tuple[str, str], dict[str, Kernel]] = {}
    for k in kernels:
        rows.setdefault((k.operation, k.name), {})[k.architecture] = k
    width = max(len(name) for _, name in rows)
    head = "".join(f"{a:>8}" for a in architectures)
    lines = [
        f"{'':{width}}  a block:        a thread:",
        f"{'':{width}}  threads  shared  stack{head}",
    ]
    last = ""
    for (operation, name), by_architecture in rows.items():
        if operation != last:
            lines.append(f"-- {operation}")
            last = operation
        one = next(iter(by_architecture.values()))
        stack = max(k.stack for k in by_architecture.values())
        shape = f"{one.threads or 'any':>7}  {one.shared:>6}  {stack:>5}"
        cells = "".join(f"{_registers(by_architecture.get(a)):>8}" for a in architectures)
        lines.append(f"{name:{width}}  {shape}{cells}")
    return "\n".join(lines)


def _registers(kernel: Kernel | None) -> str:
    if kernel is None:
        return ""
    return (
        f"{kernel.registers}+{kernel.spill_stores + kernel.spill_loads}"
        if kernel.spills
        else (str(kernel.registers))
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--architectures", nargs="+", default=list(ARCHITECTURES))
    parser.add_argument("--operations", nargs="+", default=[], help="files of csrc/cuda")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    arguments = parser.parse_args()

    architectures, operations = tuple(arguments.architectures), tuple(arguments.operations)
    kernels = kernel_resources(architectures, arguments.jobs, operations)
    if not kernels:
        parser.error("there is no such kernel")
    if arguments.json:
        print(json.dumps([asdict(kernel) for kernel in kernels], indent=1))
    else:
        print(table(kernels))
    faults = [("spills", k) for k in kernels if k.spills]
    faults += [("serialized", k) for k in kernels if k.serialized]
    for fault, kernel in faults:
        print(f"{fault}: {kernel.name} on {kernel.architecture}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
