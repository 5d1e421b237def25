"""Instructions that mining takes for a pair, and for the product of a tile, on Hopper.

    python -m benchmarks.kernel_report.instructions

Needs nvcc and nvdisasm, but no GPU. Exits with status 1 if a figure is above its limit below.

The machine code of sm_90a names, for every instruction, the line of the source that it comes from
and the calls that it was inlined at. What belongs to a step is what was inlined at a line of that
step, in the kernel of bfloat16 and for the squared Euclidean distance. A thread has 64 pairs of a
tile in registers, over which there is no loop, so that what is counted is what runs. The 8 warps of
a tile share four schedulers, each of which issues an instruction a clock.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .__main__ import SOURCES
from .blocks import readable
from .toolkit import find_tool

KERNEL = "mine_tiles<__nv_bfloat16, WarpgroupTile<__nv_bfloat16>>"
PAIRS = 64  # of a thread
WARPS, SCHEDULERS = 8, 4
DIMENSIONS, DIMENSIONS_A_PASS = 256, 64

Frame = tuple[str, int]
"""A file of csrc/cuda and a line."""

_FUNCTION = re.compile(r"^\.text\.(\w+):")
_LINE = re.compile(r'//## File "(?P<file>[^"]+)", line (?P<line>\d+)(?P<inlined> inlined at)?')
_INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?P<text>\S.*)$")


@dataclass(frozen=True)
class Figure:
    """How many instructions something takes, and how many it may."""

    name: str
    value: float
    limit: float
    unit: str

    @property
    def too_many(self) -> bool:
        return self.value > self.limit

    def __str__(self) -> str:
        return f"{self.name}: {self.value:.1f} {self.unit}, at most {self.limit:g}"


def disassemble(source: Path) -> str:
    """The machine code of sm_90a for a source file, with its lines."""
    with tempfile.TemporaryDirectory() as folder:
        cubin = str(Path(folder, "kernels.cubin"))
        target = ["-gencode", "arch=compute_90a,code=sm_90a"]
        options = ["-std=c++17", "-O3", "-DNDEBUG", "-lineinfo", *target, "-cubin"]
        _run(find_tool("nvcc"), *options, str(source), "-o", cubin)
        return _run(find_tool("nvdisasm"), "-c", "-gi", cubin)


def instructions_of(disassembly: str, kernel: str) -> Iterator[tuple[str, frozenset[Frame]]]:
    """Each instruction of a kernel, with the line it comes from and those it was inlined at."""
    current, chain, frames = "", False, frozenset[Frame]()
    for line in disassembly.splitlines():
        if function := _FUNCTION.match(line):
            current, frames, chain = readable(function[1]), frozenset(), False
        elif current != kernel:
            continue
        elif place := _LINE.search(line):
            frame = (Path(place["file"]).name, int(place["line"]))
            frames = frames | {frame} if chain else frozenset({frame})
            chain = place["inlined"] is not None
        elif instruction := _INSTRUCTION.match(line):
            yield instruction["text"], frames


def line_of(name: str, text: str, after: str = "") -> Frame:
    """Where a text stands in a file of csrc/cuda, the only time or the first time behind another.

    Raises:
        ValueError: It stands nowhere, or at several places.
    """
    source = (SOURCES / name).read_text()
    begin = source.index(after)
    at = source.index(text, begin)
    if not after and source.count(text) != 1:
        raise ValueError(f"{text!r} stands at several places in {name}")
    return name, source.count("\n", 0, at) + 1


def figures(disassembly: str) -> list[Figure]:
    """What mining takes."""
    instructions = list(instructions_of(disassembly, KERNEL))

    def count(*lines: Frame, of: str = "") -> int:
        """The instructions that come from all of the lines, or those of them with a word."""
        return sum(frames.issuperset(lines) and of in text for text, frames in instructions)

    scan, tile = "mine_scan.cuh", "warpgroup_tile.cuh"
    metric = line_of("metric.cuh", "return f(SquaredEuclidean());", "auto with_unrooted(")
    one_word = "TileType::kScannedWords == 1 || in.codes.k <= 32"
    least = PAIRS // 2  # an instruction may take the smallest of three
    distance = count(metric, line_of(scan, "for_each_pair(tile, put_distance, photos.norms)"))
    minimum = count(metric, line_of(scan, "least = min(least,"))
    # The compiler may have made several copies, of which one is run.
    counting = (metric, line_of(scan, "for_each_pair(tile, put, photos.codes[0])", one_word))
    copies = count(*counting, of="POPC") / PAIRS
    loop = [
        line_of(tile, "work(0, std::false_type());"),
        line_of(tile, "work(k_tile, std::true_type());"),
    ]
    products = [count(line, of="HGMMA") for line in loop]
    if distance < PAIRS or minimum < least or copies not in (1, 2) or products != [4, 4]:
        raise RuntimeError("the machine code is not of the form that is counted here")
    attributes = count(*counting) / copies
    first, further = map(count, loop)
    passes = DIMENSIONS // DIMENSIONS_A_PASS
    issued = (first + (passes - 1) * further) * WARPS / SCHEDULERS
    return [
        Figure("epilogue, unguided", (distance + minimum) / PAIRS, 4.6, "instructions a pair"),
        Figure(
            "epilogue, guided",
            (distance + minimum + attributes) / PAIRS,
            9.9,
            "instructions a pair",
        ),
        Figure(f"main loop, D = {DIMENSIONS}", issued, 960, "clocks a tile to issue"),
    ]


def _run(*command: str) -> str:
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}:\n{result.stdout}{result.stderr}")
    return result.stdout


def main() -> int:
    """Prints the figures."""
    found = figures(disassemble(SOURCES / "mine_batch_hard.cu"))
    for figure in found:
        print(figure)
    too_many = [figure for figure in found if figure.too_many]
    for figure in too_many:
        print(f"too many: {figure}", file=sys.stderr)
    return 1 if too_many else 0


if __name__ == "__main__":
    sys.exit(main())
