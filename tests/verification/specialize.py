"""PTX as the verifier understands it: a kernel specialized for one launch, in simpler words.

Each function takes the text of a kernel and returns it changed. The changes are of three kinds:

- Other words for the same: the size of shared memory, bit field inserts as shifts.
- What the launch decides as constants: whether a pointer is null or a multiple of 16. The verifier
  itself knows pointers only as names of objects.
- What only data decide, where the verifier needs to know: votes, atomic operations (for those in
  shared memory see counters.py), the first bit that is set in a mask, and places in arrays that the
  kernel only reads. What stands for them, and what a proof no longer covers thereby, is listed in
  docs/verification.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache

from tests.verification.counters import Counting, count_plainly
from tests.verification.dataflow import Dataflow
from tests.verification.ptx import Kernel, declare

_BLOCK_VOTE = r"(\n[ \t]*)bar\.red\.or\.pred\s+(%p\d+), (\d+), (?:!?%p\d+|-?\d+);"
UNKNOWN_STRIDE = 1 << 20  # bytes from one unknown value of a warp or block to the next


def specialize(
    kernel: Kernel,
    shared: int,
    parameters: tuple[bytes, ...],
    first_vote: bool | None,
    counting: Counting,
) -> Kernel:
    """A kernel in a launch with so many bytes of shared memory and these parameters.

    ``first_vote`` is the outcome of its first vote of a block, if not either.
    """
    body = decide_predicates(kernel, parameters)
    body = count_plainly(kernel.with_body(body), counting)
    body = read_at_start(kernel.with_body(body), parameters)
    body = spell_out_bit_field_inserts(body)
    body = read_in_place_of_atomics(kernel.with_body(body), parameters)
    body = find_first_bit(body)
    body = forget_votes(decide_vote(body, first_vote), kernel.symbol)
    return replace(kernel, head=with_shared(kernel.head, shared), body=body)


# --- Predicates that the parameters decide --------------------------------------------------------


def decide_predicates(kernel: Kernel, parameters: tuple[bytes, ...]) -> str:
    """Comparisons of 64-bit words that depend on parameters alone, as constants."""
    flow = Dataflow(kernel)

    @cache
    def value(operand: str) -> int | None:
        """Of a 64-bit register or number, as an unsigned integer; None where it is not known."""
        if re.fullmatch(r"-?\d+", operand):
            return int(operand) % (1 << 64)
        found = flow.definitions.get(operand, [])
        if len(found) != 1 or found[0].guard:
            return None
        _, operation, operands = found[0]
        if operation == "ld.param.u64":
            fields = kernel.fields_at(operation, operands[0])
            return int(fields.pop().value(parameters)) if len(fields) == 1 else None
        values = [value(source) for source in operands]
        if operation not in _OPERATIONS or None in values:
            return None
        return _OPERATIONS[operation](*values) % (1 << 64)

    def constant(match: re.Match[str]) -> str:
        start, comparison, predicate, left, right = match.groups()
        a, b = value(left), value(right)
        if a is None or b is None:
            return match[0]
        truth = a == b if comparison == "eq" else a != b
        return f"{start}setp.{'eq' if truth else 'ne'}.s32 \t{predicate}, 0, 0;"

    return re.sub(
        r"(\n[ \t]*)setp\.(eq|ne)\.[sub]64\s+(%p\d+), (%\w+), ([%\w-]+);", constant, kernel.body
    )


_OPERATIONS: dict[str, Callable[..., int]] = {
    "mov.u64": lambda a: a,
    "mov.b64": lambda a: a,
    "cvta.to.global.u64": lambda a: a,
    "add.s64": lambda a, b: a + b,
    "sub.s64": lambda a, b: a - b,
    "mul.lo.s64": lambda a, b: a * b,
    "shl.b64": lambda a, b: a << b,
    "shr.u64": lambda a, b: a >> b,
    "and.b64": lambda a, b: a & b,
    "or.b64": lambda a, b: a | b,
    "xor.b64": lambda a, b: a ^ b,
}


# --- Other words for the same ---------------------------------------------------------------------


def with_shared(head: str, size: int) -> str:
    """Dynamic shared memory with a size in bytes."""
    return re.sub(
        r"\.extern \.shared \.align (\d+) \.b8 (\w+)\[\];",
        rf".shared .align \1 .b8 \2[{max(size, 16)}];",
        head,
    )


def spell_out_bit_field_inserts(body: str) -> str:
    """``bfi`` as shifts and masks."""

    def shifts(match: re.Match[str]) -> str:
        start, to, inserted, into, at, length = match.groups()
        mask = (1 << int(length)) - 1
        rest = ~(mask << int(at)) & 0xFFFFFFFF
        return (
            f"{start}and.b32 %field, {inserted}, {mask};{start}shl.b32 %field, %field, {at};"
            f"{start}and.b32 %others, {into}, {rest};{start}or.b32 {to}, %field, %others;"
        )

    operands = r"(%\w+), ([%\w]+), ([%\w]+), (\d+), (\d+)"
    spelled = re.sub(rf"(\n[ \t]*)bfi\.b32\s+{operands};", shifts, body)
    return spelled if spelled == body else declare(spelled, ".reg .b32 %field, %others;")


def decide_vote(body: str, outcome: bool | None) -> str:
    """The first vote at a barrier with this outcome, if any."""
    if outcome is None:
        return body
    truth = "eq" if outcome else "ne"
    barrier = rf"\1bar.sync \3;\1setp.{truth}.s32 \2, 0, 0;"
    return re.sub(_BLOCK_VOTE, barrier, body, count=1)


# --- Values that the verifier does not follow -----------------------------------------------------


def read_in_place_of_atomics(kernel: Kernel, parameters: tuple[bytes, ...]) -> str:
    """Atomic operations on arrays that nothing else in the kernel touches, as reads.

    They do not race with each other, and there is nothing else that they could race with. All other
    atomic operations stay as they are, which the verifier does not follow.
    """
    flow = Dataflow(kernel)
    touched = arrays(flow, "ld|st|red|cp", parameters)
    if touched is None:
        return kernel.body

    def read(match: re.Match[str]) -> str:
        start, guard, kind, result, address = match.groups()
        own = {field.value(parameters) for field in flow.pointers(address, parameters)}
        if not own or own & touched:
            return match[0]
        return f"{start}{guard or ''}ld.global.{kind} {result}, {address};"

    pattern = r"(\n[ \t]*)(@!?%p\d+ )?atom\.global\.\w+\.(\w+)\s+(%\w+), (\[[^\]]*\]), [^;]*;"
    return re.sub(pattern, read, kernel.body)


def read_at_start(kernel: Kernel, parameters: tuple[bytes, ...]) -> str:
    """Reads of global arrays at places that data choose, as reads of their first elements.

    Only of arrays that the kernel does not write: of those, it makes no difference to a race which
    element is read.
    """
    flow = Dataflow(kernel)
    written = arrays(flow, "st|atom|red", parameters)
    if written is None:
        return kernel.body

    def read(match: re.Match[str]) -> str:
        start, guard, operation, result, address = match.groups()
        if not flow.depends_on_data(address):
            return match[0]
        pointers = flow.pointers(address, parameters)
        if len(pointers) != 1:
            return match[0]
        (pointer,) = pointers
        if pointer.value(parameters) in written:
            return match[0]
        place = f"{kernel.symbol}_param_{pointer.parameter}+{pointer.offset}"
        return (
            f"{start}ld.param.u64 %array, [{place}];{start}cvta.to.global.u64 %array, %array;"
            f"{start}{guard or ''}{operation} {result}, [%array];"
        )

    pattern = r"(\n[ \t]*)(@!?%p\d+ )?(ld\.global\.[\w.]+)\s+(%\w+|\{[^}]*\}), (\[[^\]]*\]);"
    changed = re.sub(pattern, read, kernel.body)
    return changed if changed == kernel.body else declare(changed, ".reg .b64 %array;")


def arrays(
    flow: Dataflow, operations: str, parameters: tuple[bytes, ...]
) -> set[int | float] | None:
    """Arrays in global memory that operations access; None where one might access any array."""
    access = rf"\b(?:{operations})\.(?!shared|local|param|async)[^;]*;"
    found = set()
    for instruction in re.findall(access, flow.kernel.body):
        for address in re.findall(r"\[[^\]]*\]", instruction):
            if not flow.depends_on_parameters(address):
                return None
            found |= {field.value(parameters) for field in flow.pointers(address, parameters)}
    return found


def find_first_bit(body: str) -> str:
    """The number of the first bit that is set in what only data decide, as 0."""
    return re.sub(r"bfind\.shiftamt\.u32\s+(%\w+), [^;]*;", r"mov.u32 \1, 0;", body)


# --- Values that nothing is known of --------------------------------------------------------------


def forget_votes(body: str, symbol: str) -> str:
    """Ballots of a warp and votes at a barrier with results that nothing is known of.

    They are read from one more parameter, an array that nobody writes: the values of a warp are its
    own, each time anew, and those of a block are the same for all of its warps.
    """

    def of_warp(match: re.Match[str]) -> str:
        start, register = match.groups()
        return (
            f"{start}ld.global.u32 {register}, [%unknown_of_warp];"
            f"{start}add.s64 %unknown_of_warp, %unknown_of_warp, {UNKNOWN_STRIDE};"
        )

    def of_block(match: re.Match[str]) -> str:
        start, predicate, barrier = match.groups()
        return (
            f"{start}bar.sync {barrier};{start}ld.global.u32 %answer, [%unknown_of_block];"
            f"{start}add.s64 %unknown_of_block, %unknown_of_block, {UNKNOWN_STRIDE};"
            f"{start}setp.ne.s32 {predicate}, %answer, 0;"
        )

    without = re.sub(r"(\n[ \t]*)vote\.sync\.ballot\.b32\s+(%\w+), [^;]*;", of_warp, body)
    without = re.sub(_BLOCK_VOTE, of_block, without)
    if "bar.red" in without:
        raise ValueError("a vote at a barrier in another form")
    if without == body:
        return body
    parameters, rest = without.split("\n)\n", 1)
    name = f"{symbol}_param_{parameters.count('_param_')}"
    with_parameter = f"{parameters},\n\t.param .u64 {name}\n)\n{rest}"
    return declare(
        with_parameter,
        ".reg .b32 %answer, %place, %step;\n"
        "\t.reg .b64 %unknown, %unknown_of_block, %unknown_of_warp;",
        _PLACES.format(name=name, half=UNKNOWN_STRIDE // 2),
    )


# Where the unknown values of this block and warp begin.
_PLACES = """
	ld.param.u64 %unknown, [{name}];
	cvta.to.global.u64 %unknown, %unknown;
	mov.u32 %place, %ctaid.y;
	mov.u32 %step, %nctaid.x;
	mul.lo.s32 %place, %place, %step;
	mov.u32 %step, %ctaid.x;
	add.s32 %place, %place, %step;
	mul.wide.u32 %unknown_of_block, %place, 4;
	add.s64 %unknown_of_block, %unknown_of_block, %unknown;
	mov.u32 %step, %ntid.x;
	mul.lo.s32 %place, %place, %step;
	mov.u32 %step, %tid.x;
	add.s32 %place, %place, %step;
	shr.u32 %place, %place, 5;
	mul.wide.u32 %unknown_of_warp, %place, 4;
	add.s64 %unknown_of_warp, %unknown_of_warp, %unknown;
	add.s64 %unknown_of_warp, %unknown_of_warp, {half};
"""
