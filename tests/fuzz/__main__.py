"""Try hostile input for some time: ``python -m tests.fuzz --seconds 60 --seed 1``.

Prints the seed, how many cases ended how, and the slowest; ends with 1 if one crashed, hung or
raised what is no refusal, after writing that case into a file.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from types import FrameType

import numpy as np

from .targets import TARGETS, Target

HANG = 30  # seconds that one case may take
HUNG = 3  # exit code of a process in which one took longer


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(TARGETS)}; all unless given")
    parser.add_argument("--seconds", type=float, default=60, help="for all targets together")
    parser.add_argument("--seed", type=int, default=None, help="drawn unless given")
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"), help="for cases that fail")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.targets) - set(TARGETS):
        parser.error(f"no target {unknown.pop()!r}; expected some of {', '.join(TARGETS)}")
    seed = time.time_ns() % 10**9 if options.seed is None else options.seed
    targets = options.targets or list(TARGETS)
    if options.here:
        faulthandler.enable()
        warnings.simplefilter("ignore")
        return try_target(targets[0], options.seconds, seed, options.out, own_process=True)
    failed = 0
    for name in targets:
        # In a process of its own, which a crash ends alone.
        command = [sys.executable, "-m", "tests.fuzz", name, "--here", "--seed", str(seed)]
        command += ["--seconds", str(options.seconds / len(targets)), "--out", str(options.out)]
        code = subprocess.run(command).returncode
        if code:
            failed += 1
            print(f"{name}: FAILED with exit code {code}; seed {seed}", flush=True)
    print(f"{len(targets)} targets, {failed} failed, seed {seed}")
    return int(failed > 0)


def try_target(
    name: str, seconds: float, seed: int, out: Path, *, own_process: bool = False
) -> int:
    """Tries cases of one target; 1 if one fails. One that hangs ends the process."""
    random = np.random.default_rng([seed, *name.encode()])
    counts: Counter[str] = Counter()
    slowest = 0.0
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        target = TARGETS[name](Path(folder))

        def give_up(number: int, frame: FrameType | None) -> None:
            """Ends the process, since an exception would be taken for a refusal."""
            _keep(target, name, seed, out, f"case {sum(counts.values())} took over {HANG} s")
            traceback.print_stack(frame)
            sys.stderr.flush()
            os._exit(HUNG)

        signal.signal(signal.SIGALRM, give_up)
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            started = time.monotonic()
            signal.alarm(HANG)
            if own_process:  # where the interpreter does not come to its signals
                faulthandler.dump_traceback_later(2 * HANG, exit=True)
            try:
                counts[target.attempt(random)] += 1
            except Exception:
                signal.alarm(0)
                traceback.print_exc()
                _keep(target, name, seed, out, f"case {sum(counts.values())} failed")
                return 1
            signal.alarm(0)
            slowest = max(slowest, time.monotonic() - started)
    ended = json.dumps(dict(sorted(counts.items())))
    print(f"{name}: {sum(counts.values())} cases, {ended}, slowest {slowest:.2f} s, seed {seed}")
    return 0


def _keep(target: Target, name: str, seed: int, out: Path, what: str) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}-{seed}").write_bytes(target.last)
    print(f"{name}: {what}; it is in {out / name}-{seed}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
