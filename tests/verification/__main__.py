"""Command line of the verification: races ruled out in the kernels' PTX, without a GPU.

    python -m tests.verification                     # the quick set, compared with stored results
    python -m tests.verification --all               # every launch
    python -m tests.verification --all --branches    # and each branch the other way
    python -m tests.verification --barriers          # each barrier deleted, each wait loosened
    python -m tests.verification --all --only topk   # kernels or launches with a word in their row

Exits with status 1 where a kernel that was race-free no longer is. With --store, what was found
takes the place of what is stored of the same launches instead. See docs/verification.md.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import TypeVar

from tests.support.engines import ENGINES
from tests.verification import results
from tests.verification.barriers import without_each
from tests.verification.cases import Launch, launches
from tests.verification.paths import Proof, first_proof, other_proofs
from tests.verification.ptx import SOURCES, Kernel, compile_kernels
from tests.verification.results import BarrierRow, Row

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.verification",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--all", action="store_true", help="every launch, not the quick set alone")
    parser.add_argument("--branches", action="store_true", help="take branches the other way too")
    parser.add_argument("--barriers", action="store_true", help="delete barriers, loosen waits")
    parser.add_argument("--only", nargs="*", default=[], help="words, of which a row must have one")
    parser.add_argument("--architecture", default=results.ARCHITECTURE, help="default: %(default)s")
    parser.add_argument("--engines", nargs="*", default=ENGINES, choices=ENGINES)
    parser.add_argument("--timeout", type=float, default=600, help="seconds of a proof")
    parser.add_argument("--store", action="store_true", help="store the results")
    parser.add_argument("--show", action="store_true", help="print the stored tables, and stop")
    return parser.parse_args()


def main() -> int:
    options = parse_arguments()
    if options.show:
        print(results.architecture_table(results.load_rows()))
        print()
        print(results.proof_table(results.load_rows()))
        print()
        print(results.barrier_table(results.load_barriers()))
        return 0
    try:
        print(
            f"SentryWard {version('sentryward')}; what is assumed: docs/verification.md", flush=True
        )
    except PackageNotFoundError:
        print("SentryWard is not installed: pip install -c constraints.txt -e '.[verify]'")
        return 2
    started = time.monotonic()
    wanted = [(launch, kernel) for launch, kernel in recorded(options) if chosen(launch, options)]
    if not wanted:
        print("no launch has one of these words")
        return 2
    seconds = {row.kernel + row.shape: row.seconds for row in results.load_rows()}
    wanted.sort(key=lambda pair: -seconds.get(pair[0].kernel + pair[0].shape, 0))  # longest first
    verified = verify_barriers if options.barriers else verify_launches
    status = verified(wanted, options)
    print(f"{len(wanted)} launches, {time.monotonic() - started:.0f} s")
    return status


def recorded(options: argparse.Namespace) -> Iterator[tuple[Launch, Kernel]]:
    """All launches of the engines, each with its kernel."""
    compile_one = partial(compile_kernels, architecture=options.architecture)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        compiling = {file.stem: pool.submit(compile_one, file) for file in SOURCES.glob("*.cu")}
        for found in pool.map(launches, options.engines):
            for launch in found:
                yield launch, compiling[launch.source].result()[launch.kernel]


def chosen(launch: Launch, options: argparse.Namespace) -> bool:
    row = f"{launch.engine} {launch.kernel} {launch.dtype} {launch.shape}"
    if options.only and not any(word in row for word in options.only):
        return False
    return launch.quick or options.all


def verify_launches(wanted: list[tuple[Launch, Kernel]], options: argparse.Namespace) -> int:
    def prove(pair: tuple[Launch, Kernel]) -> Row:
        launch, kernel = pair
        first = first_proof(kernel, launch, options.timeout)
        row = as_row(first, options.architecture)
        if options.branches and launch.branches and row.race_free:
            others = list(other_proofs(first, options.timeout))
            refused = [proof.outcome.reason for proof in others if not proof.outcome.race_free]
            row = replace(
                row,
                other_ways=len(others),
                other_race_free=len(others) - len(refused),
                other_reasons=tuple(dict.fromkeys(refused)),
            )
        return row

    stored = results.load_rows()
    found = []
    for row in in_parallel(prove, wanted):
        print(
            f"{row.result:14} {row.seconds:6.1f} s  {row.engine:12} {row.kernel} · {row.shape} · "
            f"{row.blocks} blocks · {row.branches} branches · "
            f"{', '.join(row.assumptions).lower() or 'nothing'} assumed"
            + (f", {row.other_race_free} of {row.other_ways} other ways" * bool(row.other_ways))
            + (f" · {row.reason}" * (not row.race_free)),
            flush=True,
        )
        found.append(row)
        if options.store:
            results.store("proofs.json", results.merged(stored, found))
    problems = results.regressions(found, stored)
    print("\n".join(problems))
    race_free = sum(row.race_free for row in found)
    print(f"{race_free} of {len(found)} proved race-free, {len(problems)} unlike what is stored")
    return 1 if problems and not options.store else 0


def as_row(proof: Proof, architecture: str) -> Row:
    launch, outcome = proof.launch, proof.outcome
    return Row(
        architecture,
        launch.engine,
        launch.kernel,
        launch.dtype,
        launch.shape,
        f"{launch.grid[0]} x {launch.grid[1]}",
        outcome.result,
        outcome.reason,
        round(outcome.seconds, 1),
        len(proof.ways),
        len(proof.loops),
        outcome.assumptions,
    )


def verify_barriers(wanted: list[tuple[Launch, Kernel]], options: argparse.Namespace) -> int:
    def without(pair: tuple[Launch, Kernel]) -> list[BarrierRow]:
        launch, kernel = pair
        proof = first_proof(kernel, launch, options.timeout)
        if not proof.outcome.race_free:
            return []
        return [
            BarrierRow(
                options.architecture,
                launch.engine,
                launch.kernel,
                launch.shape,
                barrier.instruction,
                barrier.place,
                outcome.result,
            )
            for barrier, outcome in without_each(proof, options.timeout)
        ]

    found = []
    for rows in in_parallel(without, wanted):
        for row in rows:
            print(
                f"{row.result:14} {row.kernel} · {row.shape} · {row.instruction} {row.place}",
                flush=True,
            )
        found += rows
    if options.store:
        results.store("barriers.json", results.merged_barriers(results.load_barriers(), found))
    noticed = sum(row.result != results.RACE_FREE for row in found)
    print(f"{noticed} of {len(found)} are noticed when missing")
    return 0


def in_parallel(work: Callable[[_Job], _Result], jobs: Iterable[_Job]) -> Iterator[_Result]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(work, jobs)


if __name__ == "__main__":
    sys.exit(main())
