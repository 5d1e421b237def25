"""Kernels in words whose values the verifier can follow, each change of the same real value.

A branch that data decide, over arithmetic and loads alone, becomes that arithmetic and selects: the
loads are then made in any case, and what they read is dropped. A quotient on one side of it becomes
a quotient of selects, ``p ? a : b / c`` as ``(p ? a : b) / (p ? 1 : c)``, as the verifier proves no
quotient within a select. A select on two predicates becomes two selects, numbers of a launch become
constants, and a double that a warp shuffles as two halves passes as a float, which is equal in real
arithmetic alone: what is proved of these kernels holds of real numbers, not of rounding.
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from dataclasses import dataclass, field, replace

from tests.verification.dataflow import Dataflow
from tests.verification.ptx import Kernel, declare
from tests.verification.specialize import (
    decide_predicates,
    spell_out_bit_field_inserts,
    with_shared,
)

_BRANCH = re.compile(r"\s*@(!?)(%p\d+) bra\s+(\$\w+);")
_JUMP = re.compile(r"\s*bra(?:\.uni)?\s+(\$\w+);")
_LABEL = re.compile(r"(\$\w+):")
_INSTRUCTION = re.compile(r"([a-z][\w.:]*)\s+(%\w+),\s*([^;]*);")
_REGISTER = re.compile(r"%\w+")
_NOTHING = (".loc", "//")
_PURE = re.compile(
    r"add|sub|mul|mad|fma|div|rcp|sqrt|rsqrt|neg|abs|min|max|ex2|lg2|copysign|testp|popc"
    r"|and|or|xor|not|shl|shr|mov|selp|setp|cvt|cvta|ld"
)
_TYPES = {"f": "f32", "fd": "f64", "r": "b32", "rd": "b64", "rs": "b16", "h": "b16", "p": "pred"}
_ONE = {"f32": "0f3F800000", "f64": "0d3FF0000000000000"}


def straightened(kernel: Kernel, shared: int, parameters: tuple[bytes, ...]) -> Kernel:
    """A kernel for a launch with so many bytes of shared memory and these parameters."""
    body = spell_out_bit_field_inserts(decide_predicates(kernel, parameters))
    body = test_signs(shuffle_whole_doubles(read_numbers(body, parameters)))
    kernel = replace(kernel, head=with_shared(kernel.head, shared), body=body)
    number = 0
    while (next_ := _without_a_branch(kernel, number)) is not None:
        kernel, number = next_, number + 1
    return kernel.with_body(select_twice(kernel.body))


# --- Branches -------------------------------------------------------------------------------------


@dataclass
class _Arm:
    """One side of a branch: instructions with registers of their own, and which are quotients."""

    instructions: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    quotients: dict[str, tuple[str, str]] = field(default_factory=dict)


def _without_a_branch(kernel: Kernel, number: int) -> Kernel | None:
    """With the first branch replaced that data decide and that can be."""
    flow = Dataflow(kernel)
    lines = kernel.body.split("\n")
    labels = {m[1]: at for at, line in enumerate(lines) if (m := _LABEL.match(line))}
    targets = Counter(re.findall(r"bra(?:\.uni)?\s+(\$\w+);", kernel.body))
    for at, line in enumerate(lines):
        branch = _BRANCH.match(line)
        if not branch or labels[branch[3]] < at or not flow.depends_on_data(branch[2]):
            continue
        end = labels[branch[3]]
        skipped, other = [x for x in lines[at + 1 : end] if _does_something(x)], list[str]()
        if skipped and (jump := _JUMP.fullmatch(skipped[-1])):
            other_start, end = end, labels[jump[1]]
            if end < other_start or targets[branch[3]] != 1:
                continue
            skipped.pop()
            other = [x for x in lines[other_start + 1 : end] if _does_something(x)]
        below, above = _arm(skipped, f"s{number}", kernel), _arm(other, f"t{number}", kernel)
        if below is None or above is None:
            continue
        taken, not_taken = (below, above) if branch[1] else (above, below)
        merged = _merge(taken, not_taken, branch[2], number, kernel, lines[:at] + lines[end:])
        if merged is None:
            continue
        text, types = merged
        body = "\n".join(lines[:at] + below.instructions + above.instructions + text + lines[end:])
        types = below.types | above.types | types
        return kernel.with_body(
            declare(body, " ".join(f".reg .{kind} {name};" for name, kind in types.items()))
        )
    return None


def _does_something(line: str) -> bool:
    return bool(line.strip()) and not line.strip().startswith(_NOTHING)


def _arm(lines: list[str], mark: str, kernel: Kernel) -> _Arm | None:
    arm = _Arm()
    for line in lines:
        found = _INSTRUCTION.fullmatch(line.strip())
        if found is None or not _PURE.fullmatch(found[1].split(".")[0]):
            return None
        operation, register, operands = found.groups()
        operands = _REGISTER.sub(lambda m: arm.names.get(m[0], m[0]), operands)
        name = arm.names.get(register, f"%{register[1:]}_{mark}_") + "x"
        arm.names[register] = name
        arm.types[name] = _type_of(register, kernel)
        arm.instructions.append(f"\t{operation} {name}, {operands};")
        arm.quotients.pop(register, None)
        sources = [source.strip() for source in operands.split(",")]
        if operation.startswith("div.rn.f"):
            arm.quotients[register] = (sources[0], sources[1])
        if operation.startswith("rcp.rn.f"):
            arm.quotients[register] = (_ONE[operation[-3:]], sources[0])
    return arm


def _merge(
    taken: _Arm, not_taken: _Arm, predicate: str, number: int, kernel: Kernel, outside: list[str]
) -> tuple[list[str], dict[str, str]] | None:
    """Selects of what either arm leaves, and the types of further registers."""
    text, types = list[str](), dict[str, str]()
    rest = "\n".join(outside)
    for register in dict.fromkeys([*taken.names, *not_taken.names]):
        if not re.search(rf"{re.escape(register)}\b", rest):
            continue
        kind = _type_of(register, kernel)
        if kind == "pred":
            return None
        values = [arm.names.get(register, register) for arm in (taken, not_taken)]
        if register in taken.quotients or register in not_taken.quotients:
            (a, b), (c, d) = (
                arm.quotients.get(register, (value, _ONE[kind]))
                for arm, value in zip((taken, not_taken), values, strict=True)
            )
            top, bottom = f"%top{number}_{register[1:]}", f"%bottom{number}_{register[1:]}"
            types |= {top: kind, bottom: kind}
            text.append(f"\tselp.{kind} {top}, {a}, {c}, {predicate};")
            text.append(f"\tselp.{kind} {bottom}, {b}, {d}, {predicate};")
            text.append(f"\tdiv.rn.{kind} {register}, {top}, {bottom};")
        else:
            text.append(f"\tselp.{kind} {register}, {values[0]}, {values[1]}, {predicate};")
    return text, types


def _type_of(register: str, kernel: Kernel) -> str:
    own = re.search(rf"\.reg \.(\w+) {re.escape(register)};", kernel.body)
    if own:
        return own[1]
    letters = re.match(r"%([a-z]+)", register)
    assert letters is not None
    return _TYPES[letters[1]]


# --- Other words ----------------------------------------------------------------------------------


def select_twice(body: str) -> str:
    """Selects on ``a or b`` and ``a and b`` as selects on a and on b."""
    pattern = r"(\n[ \t]*)selp\.(\w+)\s+(%\w+), ([^,]+), ([^,]+), (%p\d+);"
    definitions = Counter(re.findall(r"\n[ \t]*(?:@!?%p\d+ )?[a-z][\w.]*\s+(%p\d+)[,|]", body))
    parts = {
        p: (operation, a, b)
        for operation, p, a, b in re.findall(
            r"\n[ \t]*(or|and)\.pred\s+(%p\d+), (%p\d+), (%p\d+);", body
        )
        if definitions[p] == definitions[a] == definitions[b] == 1
    }

    def both(match: re.Match[str]) -> str:
        start, kind, to, x, y, p = match.groups()
        if p not in parts:
            return match[0]
        operation, a, b = parts[p]
        first = f"{start}selp.{kind} %both_{kind}, {x}, {y}, {b};"
        values = f"{x}, %both_{kind}" if operation == "or" else f"%both_{kind}, {y}"
        return f"{first}{start}selp.{kind} {to}, {values}, {a};"

    while (changed := re.sub(pattern, both, body)) != body:
        body = changed
    kinds = sorted(set(re.findall(r"%both_(\w+)", body)))
    return declare(body, " ".join(f".reg .{k} %both_{k};" for k in kinds)) if kinds else body


def read_numbers(body: str, parameters: tuple[bytes, ...]) -> str:
    """Doubles among the parameters as constants."""

    def constant(match: re.Match[str]) -> str:
        register, parameter, offset = match.groups()
        (value,) = struct.unpack_from("<Q", parameters[int(parameter)], int(offset or 0))
        return f"mov.f64 {register}, 0d{value:016X};"

    pattern = r"ld\.param\.f64\s+(%fd\d+), \[\w+_param_(\d+)(?:\+(\d+))?\];"
    return re.sub(pattern, constant, body)


def shuffle_whole_doubles(body: str) -> str:
    """Doubles that are shuffled as two halves, as floats: in real arithmetic the same."""
    changed = re.sub(
        r"mov\.b64 \{(%r\d+),(%r\d+)\}, (%fd\d+);",
        r"cvt.rn.f32.f64 %single, \3;\n\tmov.b32 \1, %single;\n\tmov.u32 \2, 0;",
        body,
    )
    changed = re.sub(
        r"mov\.b64 (%fd\d+), \{(%r\d+),(%r\d+)\};",
        r"mov.b32 %single, \2;\n\tcvt.f64.f32 \1, %single;",
        changed,
    )
    return changed if changed == body else declare(changed, ".reg .f32 %single;")


def test_signs(body: str) -> str:
    """The sign bit of a word, shifted down and inverted, as a comparison with 0."""
    changed = re.sub(
        r"shr\.u64\s+(%rd\d+), (%rd\d+), 63;\s+cvt\.u32\.u64\s+(%r\d+), \1;"
        r"\s+xor\.b32\s+(%r\d+), \3, 1;",
        r"setp.ge.s64 %not_below, \2, 0;\n\tselp.u32 \4, 1, 0, %not_below;",
        body,
    )
    return changed if changed == body else declare(changed, ".reg .pred %not_below;")
