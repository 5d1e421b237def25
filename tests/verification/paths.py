"""The proofs of one launch: one for each way through the branches that data decide.

A proof takes every branch whose outcome depends on data the same way in every thread. The first
goes into the body that a branch would skip, and leaves loops that data end after one round. Further
proofs take one branch after the other the other way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.verification.cases import Launch
from tests.verification.ptx import Kernel
from tests.verification.verifier import Outcome, specialized, verify

_MOST_LOOPS = 40
_LOOPS = ("loop_control_not_classified", "control_predicate_not_static")


@dataclass
class Proof:
    """Outcome of a kernel in a launch, where the branches in these lines went these ways.

    ``loops`` are those of the lines whose branches left loops that data end.
    """

    kernel: Kernel
    launch: Launch
    decisions: dict[int, bool]
    outcome: Outcome
    loops: frozenset[int]

    @property
    def ways(self) -> dict[int, bool]:
        """Which way each branch went that data decide."""
        return self.outcome.branches | self.decisions


def prove(
    kernel: Kernel,
    launch: Launch,
    decisions: dict[int, bool],
    timeout: float,
    loops: frozenset[int] = frozenset(),
) -> Proof:
    """A proof in which loops that the verifier cannot bound are left after one round.

    ``loops`` are those already decided so.
    """
    decisions = dict(decisions)
    seconds = 0.0
    for _ in range(_MOST_LOOPS):
        outcome = verify(kernel, launch, decisions, timeout)
        outcome.seconds = seconds = seconds + outcome.seconds
        line = _unbounded_loop(outcome)
        if line is None or line in decisions:
            break
        decisions[line] = _leaves_by_jumping(kernel, line)
        loops |= {line}
    return Proof(kernel, launch, decisions, outcome, loops)


def first_proof(kernel: Kernel, launch: Launch, timeout: float) -> Proof:
    """The proof that goes into the bodies that branches would skip."""
    return prove(specialized(kernel, launch), launch, {}, timeout)


def other_proofs(first: Proof, timeout: float) -> Iterator[Proof]:
    """Proofs with one branch after the other taken the other way, but for the ends of loops."""
    seen = set(first.ways.items())
    waiting = [first]
    while waiting:
        proof = waiting.pop()
        for line, taken in sorted(proof.ways.items()):
            if line in proof.loops or (line, not taken) in seen:
                continue
            seen.add((line, not taken))
            other = prove(
                first.kernel,
                first.launch,
                {at: way for at, way in proof.decisions.items() if at != line} | {line: not taken},
                timeout,
                proof.loops,
            )
            yield other
            if other.outcome.race_free:
                waiting.append(other)


def _unbounded_loop(outcome: Outcome) -> int | None:
    for diagnostic in outcome.diagnostics:
        if diagnostic["code"] in _LOOPS:
            line: int = diagnostic["details"]["location"]["line"]
            return line
    return None


def _leaves_by_jumping(kernel: Kernel, line: int) -> bool:
    """Whether the branch in a line leaves its loop where it is taken: it then jumps ahead."""
    lines = kernel.text.split("\n")
    target = re.search(r"bra\s+(\$\w+);", lines[line - 1])
    assert target is not None
    return lines.index(f"{target[1]}:") > line
