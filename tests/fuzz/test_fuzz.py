"""The fuzzer, for a short time: that it runs, finds nothing, and would find something."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.fuzz.__main__ import HUNG, try_target
from tests.fuzz.mutations import damaged
from tests.fuzz.targets import TARGETS, Target, image_files
from tests.support.paths import ROOT


@pytest.mark.slow
def test_a_few_cases_of_every_target(tmp_path: Path) -> None:
    pytest.importorskip("fastapi")
    pytest.importorskip("httpx2")
    command = [sys.executable, "-m", "tests.fuzz", "--seconds", "5", "--seed", "12"]
    done = subprocess.run([*command, "--out", str(tmp_path)], cwd=ROOT, capture_output=True,
                          text=True)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for name in TARGETS:
        (cases,) = re.findall(rf"^{name}: (\d+) cases, .*seed 12$", done.stdout, re.MULTILINE)
        assert int(cases) > 0
    assert done.stdout.endswith(f"{len(TARGETS)} targets, 0 failed, seed 12\n")


class Broken(Target):
    """Raises what is no refusal, for every other case."""

    def __init__(self, folder: Path) -> None:
        self.calls = 0

    def attempt(self, random: np.random.Generator) -> str:
        self.calls += 1
        self.last = b"the case"
        if self.calls == 3:
            raise IndexError("a bug")
        return "read"


def test_what_is_no_refusal_fails_and_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(TARGETS, "broken", Broken)
    assert try_target("broken", 60, 7, tmp_path) == 1
    assert "broken: case 2 failed" in capsys.readouterr().out
    assert (tmp_path / "broken-7").read_bytes() == b"the case"


@pytest.mark.parametrize("error", ["ValueError", "OSError"])
def test_a_hang_is_none_of_the_refusals(error: str, tmp_path: Path) -> None:
    code = f"""
import time
from tests.fuzz import __main__ as fuzz
from tests.fuzz.targets import TARGETS, Target, refused

class Slow(Target):
    def __init__(self, folder):
        self.last = b"slow"

    def attempt(self, random):
        def read():
            try:
                time.sleep(30)
            except Exception as caught:
                raise {error}("no image") from caught
        return str(refused(read))

TARGETS["slow"] = Slow
fuzz.HANG = 1
raise SystemExit(fuzz.try_target("slow", 5, 8, fuzz.Path({str(tmp_path)!r}), own_process=True))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == HUNG, done.stdout + done.stderr
    assert "slow: case 0 took over 1 s" in done.stdout
    assert (tmp_path / "slow-8").read_bytes() == b"slow"


def test_the_same_seed_does_the_same_damage() -> None:
    files = image_files()
    once, again = (
        [damaged(file, files, random) for file in files]
        for random in (np.random.default_rng(3), np.random.default_rng(3))
    )
    assert once == again
    assert sum(a != b for a, b in zip(once, files, strict=True)) > 0.9 * len(files)
