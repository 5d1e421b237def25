"""Check of the pairing rules of wgmma, which the PTX ISA states, in the PTX and SASS of kernels.

It follows one thread along every path, both sides of each branch: its products, what else uses the
registers of their sums, and what it writes to shared memory. Where paths meet, whatever may be so
on one of them is taken to be so.

What it cannot tell, and takes in its place:

- Which bytes an address in shared memory means. Every write, not only one to an operand, must have
  passed the proxy fence and a barrier when a product starts.
- Which copies bring a product's operands. All must have been waited for, but where stores of 16
  bytes, by hand, have put the operands there: then they are for a coming tile. No launch has tiles
  of both kinds, but the code has such paths.
- Whether a write goes to operands that are being read. The kernels copy to other stages meanwhile,
  and take a stage again only behind a barrier, so products must be over at every barrier.
- Whether all threads of a warpgroup come to an instruction; and in SASS, what a called function
  does, and the second register of a pair.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from benchmarks.kernel_report.toolkit import find_tool
from tests.verification.ptx import Kernel


class Rule(Enum):
    """What must be so."""

    FENCE = "wgmma.fence stands between other uses of registers and a product with sums there"
    SUMS = "nothing else uses sums until their product is committed and waited for"
    COMMIT = "products are committed before the next barrier and the end"
    WAIT = "committed products are waited for before the next barrier and the end"
    COPIES = "copies to shared memory are waited for before a product"
    PROXY = "fence.proxy.async stands between writes to shared memory and a product"
    BARRIER = "a barrier stands between fence.proxy.async and a product"


class Violation(NamedTuple):
    """A rule, and the line of the instruction at which it does not hold."""

    rule: Rule
    line: int


class _Product(NamedTuple):
    """Products of one shape with the same sums, which need no fence between them."""

    shape: str
    sums: frozenset[str]


class _Step(NamedTuple):
    line: int
    kind: str
    operand: str  # the last
    product: _Product | None
    sums: frozenset[str]  # the registers it uses that are sums of any product
    guarded: bool
    following: list[int]


class _Language(NamedTuple):
    statement: re.Pattern[str]  # a label; or a guard and an instruction
    register: re.Pattern[str]
    target: re.Pattern[str]
    product: re.Pattern[str]  # its shape and its sums
    kinds: dict[str, str]  # by how an instruction begins; the first holds


# Comments, and places in the source.
_ASIDE = re.compile(r"//.*|(?m:^)[ \t]*\.(?:loc|file)\s.*")

_PTX = _Language(
    re.compile(r"[\s{}]*(?:(\$\w+):|(@!?%\w+)?\s*([a-z][^;]*);|[^;]*;)"),
    re.compile(r"%\w+"),
    re.compile(r"\$\w+"),
    re.compile(r"(\S+) \{([^}]*)\}, %\w+, %\w+, .*"),
    {
        "wgmma.mma_async": "product",
        "wgmma.fence": "fence",
        "wgmma.commit_group": "commit",
        "wgmma.wait_group": "wait",
        "fence.proxy.async.shared::cta": "proxy fence",
        "bar.sync 0": "barrier",
        "bar.red": "barrier",
        "cp.async.commit_group": "commit copies",
        "cp.async.wait_group 0": "wait for copies",
        "cp.async.wait": "other",
        "cp.": "copy",
        "st.global": "other",
        "st.local": "other",
        "st.shared.v4": "store by hand",
        "st.": "store",
        "atom.shared": "store",
        "red.shared": "store",
        "bra": "branch",
        "ret": "end",
        "exit": "end",
        "brx": "unknown",
        "call": "unknown",
    },
)

_SASS = _Language(
    re.compile(r"(\.L_\w+):|/\*[0-9a-f]{4,}\*/\s*(@!?U?P\w+)?\s*([A-Z][^;]*);"),
    re.compile(r"\bR\d+\b"),
    re.compile(r"\.L_\w+"),
    re.compile(r"HGMMA\.(64x128x16\.F32\S*) R(\d+), gdesc.*"),
    {
        "HGMMA": "product",
        "WARPGROUP.ARRIVE": "fence",
        "WARPGROUP.DEPBAR.LE gsb0": "wait",
        "FENCE.VIEW.ASYNC": "proxy fence",
        "BAR.SYNC": "barrier",
        "BAR.RED": "barrier",
        "LDGDEPBAR": "commit copies",
        "DEPBAR.LE SB0, 0x0": "wait for copies",
        "LDGSTS": "copy",
        "STS.128": "store by hand",
        "STS": "store",
        "ATOMS": "store",
        "BRA": "branch",
        "BRX": "branch",
        "JM": "unknown",
        "EXIT": "end",
    },
)

# How far writes to shared memory come by an instruction.
_PROGRESS: dict[str, tuple[str, set[str]]] = {
    "commit copies": ("open", {"committed"}),
    "wait for copies": ("committed", {"there"}),
    "proxy fence": ("there", {"fenced"}),
    "barrier": ("fenced", set()),
}


def check_ptx(kernel: Kernel) -> list[Violation]:
    """Where a kernel breaks rules, by lines of its text."""
    return _violations(_PTX, "\n" * kernel.head.count("\n") + kernel.body)


def check_sass(sass: str) -> list[Violation]:
    """Where one kernel breaks rules, by lines of what `disassemble` returns."""
    return _violations(_SASS, sass)


def disassemble(kernel: Kernel, architecture: str) -> str:
    """A kernel's SASS."""
    with tempfile.TemporaryDirectory() as folder:
        ptx, cubin = Path(folder, "kernel.ptx"), Path(folder, "kernel.cubin")
        ptx.write_text(_ASIDE.sub("", kernel.text))
        for command in (
            [find_tool("ptxas"), f"-arch=sm_{architecture}", str(ptx), "-o", str(cubin)],
            [find_tool("nvdisasm"), "-c", str(cubin)],
        ):
            result = subprocess.run(command, capture_output=True, text=True)
            if result.returncode != 0:
                raise RuntimeError(f"{' '.join(command)}:\n{result.stdout}{result.stderr}")
        return result.stdout


def _steps(language: _Language, code: str) -> list[_Step]:
    found: list[tuple[int, bool, str]] = []
    labels: dict[str, int] = {}
    line, counted = 1, 0
    for match in language.statement.finditer(_ASIDE.sub("", code)):
        label, guard, text = match.groups()
        if label:
            labels[label] = len(found)
        elif text:
            line += match.string.count("\n", counted, match.start(3))
            counted = match.start(3)
            found.append((line, bool(guard), " ".join(text.split())))
    kinds = [
        next((kind for start, kind in language.kinds.items() if text.startswith(start)), "other")
        for _, _, text in found
    ]
    products = [
        _product(language, text) if kind == "product" else None
        for kind, (_, _, text) in zip(kinds, found, strict=True)
    ]
    all_sums = frozenset[str]().union(*(product.sums for product in products if product))
    steps = []
    for at, (line, guarded, text) in enumerate(found):
        kind, product = kinds[at], products[at]
        following = [at + 1]
        if kind == "end" and not guarded:
            following = []
        elif kind == "branch":
            following = [labels[target] for target in language.target.findall(text)]
            # BRA may have a condition for an operand.
            following += [at + 1] * (guarded or re.match("BRA.*,", text) is not None)
        elif kind == "unknown":
            raise ValueError(f"leads to places unknown: {text}")
        sums = product.sums if product else all_sums.intersection(language.register.findall(text))
        steps.append(_Step(line, kind, text.split()[-1], product, sums, guarded, following))
    return steps


def _product(language: _Language, text: str) -> _Product:
    found = language.product.fullmatch(text)
    if found is None:
        raise ValueError(f"not a product as these kernels have them: {text}")
    shape, sums = found.groups()
    names = [f"R{int(sums) + i}" for i in range(64)] if language is _SASS else sums.split(", ")
    return _Product(shape, frozenset(names))


@dataclass(frozen=True)
class _State:
    """What may be so before an instruction.

    ``used``: sums that other instructions have used since the last fence. ``products``: those under
    way, each with how many groups have been closed since it started. ``writes``: how far writes to
    shared memory are ("open" or "committed" copies, "there", "fenced"); and "by hand" from stores
    of operands to the wait for their product.
    """

    used: frozenset[str]
    products: dict[_Product, int]
    writes: frozenset[str]

    def joined(self, other: _State) -> _State:
        products = self.products | other.products
        for product in self.products.keys() & other.products.keys():
            products[product] = min(self.products[product], other.products[product])
        return _State(self.used | other.used, products, self.writes | other.writes)

    def after(self, step: _Step) -> _State:
        used, products, writes = self.used | step.sums, self.products, self.writes
        if step.product:
            used, products = self.used, products | {step.product: 0}
        if step.kind == "fence":
            used = frozenset()
        # SASS has no instruction that closes a group: the last product of one does.
        if step.kind == "commit" or (step.product and step.operand == "gsb0"):
            products = {product: groups + 1 for product, groups in products.items()}
        if step.kind == "wait":
            products = {
                p: groups for p, groups in products.items() if groups <= int(step.operand, 0)
            }
            writes -= {"by hand"}
        if step.kind == "copy":
            writes |= {"open"}
        if step.kind in ("store", "store by hand"):
            writes |= {"there"} if step.kind == "store" else {"there", "by hand"}
        before, behind = _PROGRESS.get(step.kind, ("", set()))
        if before in writes:
            writes = writes - {before} | behind
        state = _State(used, products, writes)
        return self.joined(state) if step.guarded else state

    def broken(self, step: _Step) -> Iterator[Rule]:
        """The rules that an instruction breaks."""
        if any(p.sums & step.sums and p != step.product for p in self.products):
            yield Rule.SUMS
        if step.product:
            if self.used & step.sums:
                yield Rule.FENCE
            if self.writes & {"open", "committed"} and "by hand" not in self.writes:
                yield Rule.COPIES
            if "there" in self.writes:
                yield Rule.PROXY
            if "fenced" in self.writes:
                yield Rule.BARRIER
        if step.kind in ("barrier", "end"):
            if 0 in self.products.values():
                yield Rule.COMMIT
            if any(self.products.values()):
                yield Rule.WAIT


def _violations(language: _Language, code: str) -> list[Violation]:
    steps = _steps(language, code)
    all_sums = frozenset[str]().union(*(step.sums for step in steps))
    states = {0: _State(all_sums, {}, frozenset())}
    waiting = [0]
    while waiting:
        at = waiting.pop()
        after = states[at].after(steps[at])
        for place in steps[at].following:
            joined = states[place].joined(after) if place in states else after
            if joined != states.get(place):
                states[place] = joined
                waiting.append(place)
    broken = {Violation(r, steps[at].line) for at, s in states.items() for r in s.broken(steps[at])}
    return sorted(broken, key=lambda violation: (violation.line, violation.rule.name))
