"""The GPU check loses nothing: steps that raise, that hang, that are killed while writing."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))  # benchmarks are not installed

from benchmarks import gpu_check, steps  # noqa: E402
from benchmarks.kernel_blocks import Block, parse_ptx  # noqa: E402
from benchmarks.steps import Report, run_command, summary, write_json  # noqa: E402

PYTHON = [sys.executable, "-S", "-c"]


def running(process: int) -> bool:
    """Whether a process still runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_step_that_raises_has_failed_and_the_next_one_runs(tmp_path: Path) -> None:
    report = Report(tmp_path / "new" / "report.json", {"device": "none"}, 60)
    report.run("first", lambda: json.loads("half a fi"))
    report.run("second", lambda: {"passed": True})
    content = json.loads(report.path.read_text())
    assert content["green"] is False
    assert "JSONDecodeError" in content["steps"]["first"]["error"]
    assert content["steps"]["second"]["passed"] is True


def test_a_report_without_a_step_is_not_green(tmp_path: Path) -> None:
    assert Report(tmp_path / "report.json", {}, 60).content["green"] is False


def test_past_the_deadline_a_step_has_one_second(tmp_path: Path) -> None:
    assert Report(tmp_path / "report.json", {}, 0).left(100) == 1
    assert Report(tmp_path / "report.json", {}, 1000).left(100) == 100


def test_a_command_past_its_limit_leaves_its_output_and_no_descendant(tmp_path: Path) -> None:
    note = tmp_path / "grandchild"
    code = """
        import subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(100)"])
        open(sys.argv[1], "w").write(str(child.pid))
        print("as far as this", flush=True)
        print("and this", file=sys.stderr, flush=True)
        time.sleep(100)
    """
    began = time.monotonic()
    outcome = run_command([*PYTHON, "if True:" + code, str(note)], 4)
    assert time.monotonic() - began < 30
    assert outcome["passed"] is False
    assert "limit of 4 s" in outcome["error"]
    assert outcome["output"] == ["as far as this", "and this"]
    grandchild = int(note.read_text())
    for _ in range(100):
        if not running(grandchild):
            break
        time.sleep(0.05)
    assert not running(grandchild)


def test_status_and_output_of_a_command() -> None:
    good = run_command([*PYTHON, "[print(i) for i in range(100)]"], 60)
    assert good["passed"] is True
    assert good["output"] == ["97", "98", "99"]
    bad = run_command([*PYTHON, "[print(i) for i in range(100)]; raise SystemExit(3)"], 60)
    assert bad["passed"] is False
    assert bad["output"] == [str(i) for i in range(40, 100)]
    missing = run_command(["no-such-program-anywhere"], 60)
    assert missing["passed"] is False
    assert "no-such-program-anywhere" in missing["error"]


def test_json_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.json"
    write_json(path, {"a": 1})

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}


def test_the_summary_says_what_failed_and_why() -> None:
    failed = {"passed": False, "output": ["ERROR SUMMARY: 1 error"], "error": "killed"}
    lines = list(
        summary(
            {
                "build": {"passed": True, "output": ["nobody needs this"]},
                "properties": {
                    "passed": False,
                    "output": ["the last check"],
                    "checks": {
                        "hub": {"passed": True, "figures": {"N": 5}},
                        "launches": {"passed": False, "error": "Traceback\nAssertionError: 6"},
                    },
                },
                "sanitizers": {"passed": False, "tools": {"racecheck": failed}},
            }
        )
    )
    assert lines == [
        "passed  build",
        "FAILED  properties",
        "    passed  hub: {'N': 5}",
        "    FAILED  launches",
        "    | Traceback",
        "    | AssertionError: 6",
        "    | the last check",
        "FAILED  sanitizers",
        "    FAILED  racecheck",
        "    | ERROR SUMMARY: 1 error",
        "    | killed",
    ]


def test_every_named_test_file_is_there() -> None:
    assert all((ROOT / name).is_file() for name in gpu_check.TESTS)


@pytest.mark.parametrize("option", ["--kernel-name", "--kernel-regex", "--filter"])
def test_only_our_kernels_are_instrumented_but_all_for_initcheck(option: str) -> None:
    usage = f"  {option} arg   kernel_substring, kns: ..."
    command = gpu_check.sanitizer_command("tool", "racecheck", usage)
    assert command[-2:] == [option, "kernel_substring=fgsbir"]
    assert gpu_check.sanitizer_command("tool", "initcheck", usage)[-1] == "9"
    assert gpu_check.sanitizer_command("tool", "racecheck", "no filters")[-1] == "9"


def test_the_limits_of_the_steps_fit_the_whole() -> None:
    together = max(gpu_check.SUITE, gpu_check.SANITIZER)
    assert gpu_check.BUILD + gpu_check.CHECKS < gpu_check.DEADLINE < 540
    assert steps.Report(Path("unused"), {}, gpu_check.DEADLINE).left(together) == together


def test_blocks_of_kernels_in_ptx() -> None:
    ptx = """
.shared .align 16 .b8 of_both[640];
.shared .align 16 .b8 of_one[64];
.visible .entry plain(
)
.maxntid 256, 1, 1
.minnctapersm 2
{ mov.u32 %r1, of_both; ld.shared.f32 %f1, [of_both+4]; }
.entry large(
)
{ mov.u32 %r1, of_both; mov.u32 %r2, of_one; }
.weak .entry none(
)
.maxntid 32, 1, 1
{ ret; }
"""
    assert dict(parse_ptx(ptx)) == {
        "plain": Block(256, 640),
        "large": Block(None, 704),
        "none": Block(32, 0),
    }
    assert dict(parse_ptx(".version 9.0\n.func helper() { ret; }\n")) == {}
