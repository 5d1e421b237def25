"""Threads and shared memory of a block of each kernel, parsed from PTX."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# In csrc/cuda/numeric.cuh: the one place from which kernels have shared memory of a launch.
_HEADER = "numeric.cuh"
_DYNAMIC = "extern __shared__ __align__(512) unsigned char shared_bytes[];"
_STATIC = "__shared__ __align__(512) unsigned char shared_bytes[sizeof(Memory)];"

_ENTRY = re.compile(r"^(?:\.visible |\.weak )?\.entry (\w+)", re.MULTILINE)
_THREADS = re.compile(r"\.maxntid (\d+)")
_SHARED = re.compile(r"\.shared (?:\.align \d+ )?\.b8 (\w+)\[(\d+)\]")
_DEFAULT_LAYOUT = re.compile(r", GridLayout<\d+, \d+>")
_WORD = re.compile(r"[\w$]+")


@dataclass(frozen=True)
class Block:
    """The most threads that a kernel is compiled for, and its shared memory in bytes."""

    threads: int | None
    shared: int


def blocks(nvcc: str, source: Path, architecture: str) -> dict[str, Block]:
    """By the readable name of every kernel of a source in csrc/cuda."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "csrc")
        shutil.copytree(source.parents[1], copy)
        header = copy / "cuda" / _HEADER
        text = header.read_text()
        if text.count(_DYNAMIC) != 1:
            raise RuntimeError(f"{_HEADER} has no longer the line {_DYNAMIC!r}")
        header.write_text(text.replace(_DYNAMIC, _STATIC))
        ptx = Path(folder, "kernels.ptx")
        command = [nvcc, "-std=c++17", "-O3", f"-arch=compute_{architecture}", "-ptx"]
        command += [str(copy / "cuda" / source.name), "-o", str(ptx)]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}:\n{result.stdout}{result.stderr}")
        return dict(parse_ptx(ptx.read_text()))


def parse_ptx(ptx: str) -> Iterator[tuple[str, Block]]:
    """The kernels of one file of PTX: a kernel takes the arrays that it names."""
    arrays = {name: int(size) for name, size in _SHARED.findall(ptx)}
    # What stands before the first entry, then symbol and body in turns.
    _, *entries = _ENTRY.split(ptx)
    for symbol, body in zip(entries[::2], entries[1::2], strict=True):
        threads = _THREADS.search(body)
        shared = sum(arrays[word] for word in set(_WORD.findall(body)) & arrays.keys())
        yield readable(symbol), Block(int(threads[1]) if threads else None, shared)


def readable(symbol: str) -> str:
    """``mine_tiles<float, Tile<float, 128, 64>>`` of a mangled symbol."""
    name = subprocess.run(["c++filt", symbol], capture_output=True, text=True, check=True).stdout
    return short_name(name.strip())


def short_name(name: str) -> str:
    """A kernel's demangled name without its namespaces, parameters and result."""
    name = name.replace("(anonymous namespace)::", "").replace("fgsbir::cuda::", "")
    name = _DEFAULT_LAYOUT.sub("", name.removeprefix("void "))
    return name.split("(")[0].replace(" >", ">")
