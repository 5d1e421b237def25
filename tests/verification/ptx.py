"""Kernels as PTX: compilation of csrc/cuda, and what a kernel reads of its parameters."""

from __future__ import annotations

import re
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from benchmarks.kernel_report.blocks import readable
from benchmarks.kernel_report.toolkit import find_tool
from tests.support.paths import ROOT

SOURCES = ROOT / "csrc" / "cuda"

_ENTRY = re.compile(r"(?m)^(?=(?:\.visible |\.weak )?\.entry )")
_LOAD = re.compile(r"(ld\.param\.[\w.]+)\s+(?:%\w+|\{[^}]*\}), (\[[^\]]*\]);")
_LOAD_TYPE = re.compile(r"ld\.param\.(?:v(\d)\.)?(\w+)")
_ADDRESS = re.compile(r"\[(%?\w+)(?:\+(-?\d+))?\]")
_END = re.compile(r"\n\}\n(?!\s*// end inline asm)")
_FILE = re.compile(r'\.file\s+(\d+) "([^"]*)"')
_LOCATION = re.compile(r"\.loc\s+(\d+) (\d+) \d+(?:, function_name [^,]*, inlined_at (\d+) (\d+))?")
_PARAMETER = re.compile(r"_param_(\d+)$")
_SCALAR = r"\.param \.(\w+) \w+_param_{}\b(?!\[)"
_FORMATS = {"f32": "f", "f64": "d"} | {
    f"{kind}{8 * size}": letter.lower() if kind == "s" else letter
    for kind in "bsu"
    for size, letter in ((1, "B"), (2, "H"), (4, "I"), (8, "Q"))
}


_FIRST_POINTER = 1 << 32  # no count of a launch is as large, and no address as small


class Field(NamedTuple):
    """What a kernel loads of a parameter, with the type of the load."""

    parameter: int
    offset: int
    type: str

    @property
    def size(self) -> int:
        """In bytes."""
        return struct.calcsize(_FORMATS[self.type])

    def lies_in(self, other: Field) -> bool:
        """Whether all its bytes are among those of another."""
        starts_behind = other.offset <= self.offset
        ends_before = self.offset + self.size <= other.offset + other.size
        return self.parameter == other.parameter and starts_behind and ends_before

    def value(self, parameters: tuple[bytes, ...]) -> int | float:
        """What it is in a launch with these parameters."""
        form = "<" + _FORMATS[self.type]
        value: int | float = struct.unpack_from(form, parameters[self.parameter], self.offset)[0]
        return value

    def is_pointer(self, parameters: tuple[bytes, ...]) -> bool:
        """Whether it is a pointer in that launch, and not null."""
        wide = self.type in ("u64", "s64", "b64") and self.parameter < len(parameters)
        return wide and abs(self.value(parameters)) >= _FIRST_POINTER


@dataclass(frozen=True)
class Kernel:
    """One kernel of a file of PTX: what stands before all kernels, and its own text.

    ``files`` are the sources that its ``.loc`` directives name by number.
    """

    name: str
    symbol: str
    head: str
    body: str
    files: Mapping[int, Path] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """A file with this kernel alone."""
        return self.head + self.body

    def with_body(self, body: str) -> Kernel:
        """The kernel with other instructions."""
        return replace(self, body=body)

    def source(self, at: int) -> list[tuple[Path, int]]:
        """File and line that the instruction at an offset in the body is compiled from.

        Where it is inlined, those of the call follow.
        """
        *_, location = _LOCATION.finditer(self.body, 0, at)
        file, line, outer_file, outer_line = location.groups()
        places = [(file, line)] + ([(outer_file, outer_line)] if outer_file else [])
        return [(self.files[int(number)], int(line)) for number, line in places]

    def fields(self) -> list[Field]:
        """Every field that is loaded, wherever the address may point that it is loaded from.

        Fields that lie inside wider ones are left out.
        """
        found = {at for load in set(_LOAD.findall(self.body)) for at in self.fields_at(*load)}
        widest_first = sorted(found, key=lambda at: (-at.size, at.type))
        kept: list[Field] = []
        for at in widest_first:
            if not any(at.lies_in(wider) for wider in kept):
                kept.append(at)
        return sorted(kept)

    def fields_at(self, operation: str, address: str) -> set[Field]:
        """The fields that a load of parameters may read, given its opcode and its address."""
        vector, kind = _LOAD_TYPE.findall(operation)[0]
        base, offset = _ADDRESS.findall(address)[0]
        step = struct.calcsize(_FORMATS[kind])
        found = set()
        for parameter, start in self._addresses(base):
            declared = re.search(_SCALAR.format(parameter), self.body)
            for i in range(int(vector or 1)):
                at = start + int(offset or 0) + i * step
                found.add(Field(parameter, at, declared[1] if declared else kind))
        return found

    def _addresses(self, base: str) -> set[tuple[int, int]]:
        """Parameters and offsets that a name or register may stand for."""
        if number := _PARAMETER.search(base):
            return {(int(number[1]), 0)}
        found = set()
        register = re.escape(base)
        for operation, operands in re.findall(rf"\n\s*(\S+)\s+{register}, ([^;]+);", self.body):
            sources = operands.split(", ")
            if operation.startswith("mov"):
                found |= self._addresses(sources[0])
            elif operation.startswith("selp"):
                found |= self._addresses(sources[0]) | self._addresses(sources[1])
            elif operation.startswith("add") and (further := self._numbers(sources[1])):
                starts = self._addresses(sources[0])
                found |= {(p, at + more) for p, at in starts for more in further}
            else:
                raise ValueError(f"{self.name} computes the address of a parameter: {operation}")
        return found

    def _numbers(self, operand: str) -> set[int]:
        """The numbers that an operand may be, if it is one of two at most; else none."""
        if re.fullmatch(r"-?\d+", operand):
            return {int(operand)}
        selection = rf"\n\s*selp\.b64\s+{re.escape(operand)}, (\d+), (\d+), "
        return {int(n) for numbers in re.findall(selection, self.body) for n in numbers}


def parse(ptx: str) -> Iterator[Kernel]:
    """The kernels of a file."""
    head, *bodies = _ENTRY.split(ptx)
    files = {int(number): Path(path) for number, path in _FILE.findall(ptx)}
    for body in bodies:
        symbol = body.split(".entry ", 1)[1].split("(", 1)[0].strip()
        end = _END.search(body)
        assert end is not None
        yield Kernel(readable(symbol), symbol, head, body[: end.end()], files)


def declare(body: str, registers: str, then: str = "") -> str:
    """With further registers, and instructions before all others."""
    head, rest = body.split("{\n", 1)
    declarations = re.match(r"(?:\s*\.(?:reg|shared|local)[^\n]*\n)*", rest)
    assert declarations is not None
    end = declarations.end()
    return f"{head}{{\n{rest[:end]}\t{registers}\n{then}{rest[end:]}"


def compile_kernels(source: Path, architecture: str) -> dict[str, Kernel]:
    """The kernels of one file of csrc/cuda by their readable names."""
    with tempfile.TemporaryDirectory() as folder:
        ptx = Path(folder, "kernels.ptx")
        command = [find_tool("nvcc"), "-std=c++17", "-O3", "-DNDEBUG", f"-arch=sm_{architecture}"]
        command += ["-lineinfo", "-ptx", str(source), "-o", str(ptx)]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}:\n{result.stdout}{result.stderr}")
        return {kernel.name: kernel for kernel in parse(ptx.read_text())}
