"""Counters in shared memory as plain additions: the verifier has no semantics for atomic ones.

A plain addition races with every other access that no barrier orders, other additions included.
Additions to one counter do meet, so one thread adds for all that share it, and data that choose a
counter choose one for two lanes. A proof is blind to additions by the other threads.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from itertools import count
from pathlib import Path
from typing import Literal, NamedTuple

from tests.verification.dataflow import Dataflow
from tests.verification.ptx import Kernel, declare

Choice = Literal["kept", "passed on"]

ADDED_BARRIER = "bar.warp.sync 0xffffffff;"  # as nvcc does not write it
_ADDITION = re.compile(r"(\n[ \t]*)atom\.shared\.add\.u32\s+(%\w+), (\[[^\]]*\]), (\d+);")
_MATCH = re.compile(r"(\n[ \t]*)match\.any\.sync\.b64\s+(%\w+), (%\w+), [^;]*;")
_LOAD = r"(\n[ \t]*)ld\.{}\.[\w.]+\s+(%\w+|\{{[^}}]*\}}), \[[^\]]*\];"
_GLOBAL_LOAD = re.compile(_LOAD.format("global"))
_SHARED_LOAD = re.compile(_LOAD.format("shared"))


class Counting(NamedTuple):
    """Which thread adds to which counter, and what is read of it.

    ``sharers``: the bits of a thread's number in which those that share a counter differ. Of them
    the thread that has none of these bits adds. ``choice``: where data choose the counter, whether
    lanes keep theirs, or pass them on to other lanes from step to step. ``count``: what every
    counter of a pool has come to whenever it is read, if there are pools.
    """

    sharers: int = 0
    choice: Choice = "kept"
    count: int = 0


def count_plainly(kernel: Kernel, counting: Counting) -> str:
    """A kernel in which the verifier follows what is done with counters, if it has any."""
    if not _ADDITION.search(kernel.body):
        return kernel.body
    if counting.count:
        kernel = kernel.with_body(know_counts(kernel, counting.count))
    kernel = kernel.with_body(know_places(kernel))
    kernel = kernel.with_body(choose_counters(kernel, counting.choice))
    return add_plainly(kernel.body, counting)


def add_plainly(body: str, counting: Counting) -> str:
    """Atomic additions in shared memory as plain ones.

    What they return differs between the threads of a block, and lies between 0 and their number. It
    is not the thread's own number: what another thread has put in that place then reads it. Where
    counters are passed on, a barrier of the warp stands before and after each addition.
    """
    barrier = ADDED_BARRIER if counting.choice == "passed on" else ""
    labels = (f"$L_counted_{i}" for i in count())

    def plain(match: re.Match[str]) -> str:
        start, result, address, number = match.groups()
        label = next(labels)
        lines = (
            barrier,
            "mov.u32 %adder, %tid.x;",
            f"and.b32 %adder, %adder, {counting.sharers};",
            "setp.ne.s32 %leaves, %adder, 0;",
            f"@%leaves bra {label};",
            f"ld.shared.u32 %counted, {address};",
            f"add.s32 %counted, %counted, {number};",
            f"st.shared.u32 {address}, %counted;",
            f"{label}:",
            barrier,
            f"mov.u32 {result}, %tid.x;",
            f"xor.b32 {result}, {result}, 32;",
        )
        return "".join(start + line for line in lines if line)

    registers = ".reg .b32 %adder, %counted;\n\t.reg .pred %leaves;"
    return declare(_ADDITION.sub(plain, body), registers)


def choose_counters(kernel: Kernel, choice: Choice) -> str:
    """Data that decide which counter is meant, as numbers that two neighbouring lanes share.

    There are two passes over the data: one counts, the other asks which lanes have equal ones. The
    loads stay.
    """
    flow = Dataflow(kernel)
    counted = deciding(flow, (match[3] for match in _ADDITION.finditer(kernel.body)))
    matched = deciding(flow, (match[3] for match in _MATCH.finditer(kernel.body)))
    if not counted:
        return kernel.body
    steps = {register: i for found in (counted, matched) for i, register in enumerate(found)}

    def of_pair(match: re.Match[str]) -> str:
        start, result = match.groups()
        if result not in steps:
            return match[0]
        further = steps[result] if choice == "passed on" else 0
        return (
            f"{match[0]}{start}mov.u32 {result}, %tid.x;{start}shr.u32 {result}, {result}, 1;"
            f"{start}add.s32 {result}, {result}, {further};"
            f"{start}and.b32 {result}, {result}, 15;"
        )

    def both(match: re.Match[str]) -> str:
        start, result, _ = match.groups()
        return (
            f"{start}mov.u32 %lane, %tid.x;{start}and.b32 %lane, %lane, 30;"
            f"{start}mov.u32 {result}, 3;{start}shl.b32 {result}, {result}, %lane;"
        )

    return declare(_MATCH.sub(both, _GLOBAL_LOAD.sub(of_pair, kernel.body)), ".reg .b32 %lane;")


def deciding(flow: Dataflow, operands: Iterable[str]) -> list[str]:
    """Registers loaded from global memory that operands depend on, in the order of their loads."""
    behind = {register for operand in operands for register in flow.registers(operand)}
    return [match[2] for match in _GLOBAL_LOAD.finditer(flow.kernel.body) if match[2] in behind]


def know_counts(kernel: Kernel, number: int) -> str:
    """Counts of pools, in the source ``counts[...]``, as this number; the reads stay."""

    def known(match: re.Match[str]) -> str:
        file, line = kernel.source(match.start())[0]
        if "counts[" not in source_lines(file)[line - 1]:
            return match[0]
        start, register = match.groups()
        return f"{match[0]}{start}mov.u32 {register}, {number};"

    changed = _SHARED_LOAD.sub(known, kernel.body)
    if changed == kernel.body:
        raise ValueError(f"{kernel.name} reads no counts[...] of a pool")
    return changed


@cache
def source_lines(file: Path) -> list[str]:
    """The lines of a source file."""
    return file.read_text().split("\n")


def know_places(kernel: Kernel) -> str:
    """Words of shared memory that decide where global memory is written, as numbers of the thread.

    The reads stay. There are 32 places between the numbers of two threads.
    """
    flow = Dataflow(kernel)
    stores = re.findall(r"st\.global\.\S+\s+(\[[^\]]*\])", kernel.body)
    behind = {register for address in stores for register in flow.registers(address)}

    def known(match: re.Match[str]) -> str:
        start, results = match.groups()
        registers = [register for register in re.findall(r"%\w+", results) if register in behind]
        if not registers:
            return match[0]
        lines = [
            "mov.u32 %own_place, %ctaid.x;",
            "shl.b32 %own_place, %own_place, 8;",
            "mov.u32 %own_thread, %tid.x;",
            "add.s32 %own_place, %own_place, %own_thread;",
            "shl.b32 %own_place, %own_place, 5;",
        ]
        lines += [
            f"cvt.u64.u32 {register}, %own_place;"
            if register.startswith("%rd")
            else f"mov.u32 {register}, %own_place;"
            for register in registers
        ]
        return match[0] + "".join(start + line for line in lines)

    changed = _SHARED_LOAD.sub(known, kernel.body)
    if changed == kernel.body:
        return changed
    return declare(changed, ".reg .b32 %own_place, %own_thread;")
