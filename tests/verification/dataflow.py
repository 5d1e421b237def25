"""Where the values of a kernel's registers come from."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.verification.ptx import Field, Kernel

_INSTRUCTION = re.compile(r"(?m)^[ \t{]*(@!?%p\d+ )?([a-z][\w.:]*)\s+([^;]*);")
_OPERAND = re.compile(r"\{[^}]*\}|\[[^\]]*\]|[^,\s][^,]*")
_REGISTER = re.compile(r"%\w+")
_PARAMETER_LOAD = "ld.param"
_FROM_DATA = (
    "ld.global",
    "ld.shared",
    "ld.local",
    "shfl",
    "vote",
    "match",
    "atom",
    "mma",
    "ldmatrix",
)
_WITHOUT_RESULT = ("st", "bra", "bar", "red", "cp", "ret", "fence", "membar", "wgmma")


class Definition(NamedTuple):
    """An instruction that sets a register: its guard, opcode and operands after the first."""

    guard: str
    operation: str
    operands: tuple[str, ...]


@dataclass
class Dataflow:
    """The instructions of a kernel that define each of its registers."""

    kernel: Kernel
    definitions: dict[str, list[Definition]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        found = defaultdict(list)
        for guard, operation, text in _INSTRUCTION.findall(self.kernel.body):
            if operation.split(".")[0] in _WITHOUT_RESULT and not operation.startswith("bar.red"):
                continue
            results, *operands = _OPERAND.findall(text)
            for register in _REGISTER.findall(results):
                found[register].append(Definition(guard.strip(), operation, tuple(operands)))
        self.definitions = dict(found)

    def registers(self, operand: str) -> set[str]:
        """Every register that a value may depend on, but for those behind loads."""
        seen: set[str] = set()
        waiting = _REGISTER.findall(operand)
        while waiting:
            register = waiting.pop()
            if register in seen:
                continue
            seen.add(register)
            for definition in self.definitions.get(register, []):
                if not definition.operation.startswith((_PARAMETER_LOAD, *_FROM_DATA)):
                    waiting += _REGISTER.findall(" ".join(definition.operands))
        return seen

    def origins(self, operand: str) -> Iterator[Definition]:
        """Every instruction that a value may depend on, but for those behind loads."""
        for register in self.registers(operand):
            yield from self.definitions.get(register, [])

    def depends_on_data(self, operand: str) -> bool:
        """Whether anything but parameters and the thread's number decides a register's value."""
        return any(o.operation.startswith(_FROM_DATA) for o in self.origins(operand))

    def depends_on_parameters(self, operand: str) -> bool:
        """Whether parameters take part in a register's value."""
        return any(o.operation.startswith(_PARAMETER_LOAD) for o in self.origins(operand))

    def pointers(self, operand: str, parameters: tuple[bytes, ...]) -> set[Field]:
        """The pointers of a launch that an address may be computed from."""
        found = set()
        for origin in self.origins(operand):
            if origin.operation.startswith(_PARAMETER_LOAD):
                fields = self.kernel.fields_at(origin.operation, origin.operands[0])
                found |= {f for f in fields if f.is_pointer(parameters)}
        return found
