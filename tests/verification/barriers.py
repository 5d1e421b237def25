"""Barriers deleted and waits loosened, one after the other, in a kernel proved race-free."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.verification.counters import ADDED_BARRIER
from tests.verification.paths import Proof
from tests.verification.ptx import Kernel
from tests.verification.verifier import Outcome, verify

_BARRIER = re.compile(r"bar\.(?:warp\.)?sync\s+[^;]*;")
_WAIT = re.compile(r"cp\.async\.wait_group\s+(\d+);")


@dataclass(frozen=True)
class Barrier:
    """A barrier or wait of the source, which PTX may have several copies of.

    ``place`` is the file and line that it stands in, and those of the call if it is in a function.
    """

    instruction: str
    place: str
    copies: tuple[tuple[int, int], ...]

    def deleted(self, kernel: Kernel) -> Kernel:
        """The kernel without it; of a wait, with one more group of copies under way."""
        return self._replaced(kernel, lambda text: _WAIT.sub(_loosened, _BARRIER.sub("", text)))

    def is_passed_by(self, proof: Proof, timeout: float) -> bool:
        """Whether the first warp is seen to come to the end of a proof's path without it.

        A trap ends a proof early: there is one in the barrier's place and one at the end.
        """
        trapped = self._replaced(proof.kernel, lambda _: "trap;")
        ending = trapped.with_body(re.sub(r"\bret;", "trap; ret;", trapped.body))
        outcome = verify(ending, proof.launch, proof.decisions, timeout)
        lines = ending.text.split("\n")
        locations = [
            d["details"]["location"] for d in outcome.diagnostics if "trap" in d.get("message", "")
        ]
        return any("ret;" in lines[location["line"] - 1] for location in locations)

    def is_noticed(self, proof: Proof, timeout: float) -> bool:
        """Whether a fault in its place, a barrier that no other thread waits at, is found."""
        faulty = self._replaced(proof.kernel, lambda text: f"{text} bar.sync 15, 1024;")
        return not verify(faulty, proof.launch, proof.decisions, timeout).race_free

    def _replaced(self, kernel: Kernel, change: Callable[[str], str]) -> Kernel:
        body = kernel.body
        for start, end in reversed(self.copies):
            body = body[:start] + change(body[start:end]) + body[end:]
        return kernel.with_body(body)


def _loosened(wait: re.Match[str]) -> str:
    return f"cp.async.wait_group {int(wait[1]) + 1};"


def barriers(kernel: Kernel) -> list[Barrier]:
    """The barriers of a block, those of a warp and the waits for copies of a kernel's source."""
    copies: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for found in re.finditer(f"{_BARRIER.pattern}|{_WAIT.pattern}", kernel.body):
        name = (
            "cp.async.wait_group" if found[0].startswith("cp") else found[0].split()[0].strip(";")
        )
        if found[0] == ADDED_BARRIER:
            continue
        copies.setdefault((name, _place(kernel, found.start())), []).append(found.span())
    return [Barrier(name, place, tuple(spans)) for (name, place), spans in copies.items()]


def _place(kernel: Kernel, at: int) -> str:
    return " at ".join(
        f"{file.name}:{line}" for file, line in kernel.source(at) if "intrinsics" not in file.name
    )


def without_each(proof: Proof, timeout: float) -> Iterator[tuple[Barrier, Outcome]]:
    """What the verifier says without each barrier that the path of a proof comes to."""
    alone = proof.launch.grid == (1, 1)  # of several blocks the first warp does not stand for all
    for barrier in barriers(proof.kernel):
        if alone and barrier.is_passed_by(proof, timeout):
            continue
        without = barrier.deleted(proof.kernel)
        outcome = verify(without, proof.launch, proof.decisions, timeout)
        if not outcome.race_free or barrier.is_noticed(proof, timeout):
            yield barrier, outcome
