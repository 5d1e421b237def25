"""Tests of the GPU check: steps that fail, hang or are killed lose no results."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.gpu_check import (
    instruments,
    names,
    nsight,
    plan,
    properties,
    steps,
    summary,
    timings,
)
from benchmarks.gpu_check.__main__ import announce, choose, step_environment
from benchmarks.gpu_check.figures import attempt, emit, figure_line, parse
from benchmarks.gpu_check.predictions import PREDICTIONS
from benchmarks.gpu_check.sanitize import TOOLS, sanitizer_command
from benchmarks.gpu_check.steps import Report, Stage, Step, load
from benchmarks.harness.cards import H100, H200, find_card
from benchmarks.kernel_report.blocks import Block, parse_ptx, short_name
from benchmarks.workload import Workload, make_inputs
from tests.emulation.build import built_or_skip
from tests.support.paths import ROOT
from tests.support.waiting import wait_until

PYTHON = [sys.executable, "-S", "-c"]
MOST_FILES, MOST_BYTES = 8, 16_000_000


def script(name: str, code: str, limit: float = 60, **variables: str) -> Step:
    return Step(name, [*PYTHON, textwrap.dedent(code)], 1, limit, variables)


def run(folder: Path, *stages: Stage, deadline: float = 60) -> Report:
    report = Report(folder, {"device": "none"}, stages, deadline)
    for stage in stages:
        report.run(stage, dict(os.environ), folder)
    return report


def running(process: int) -> bool:
    """Whether a process still runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def logs(folder: Path) -> dict[str, str]:
    with zipfile.ZipFile(folder / steps.LOGS) as packed:
        assert packed.testzip() is None
        return {name: packed.read(name).decode() for name in packed.namelist()}


# --- Steps --------------------------------------------------------------------------------------


def test_outcomes_figures_and_logs_of_steps(tmp_path: Path) -> None:
    good = script("good", f"print({figure_line('speed', us=3)!r}); print('the rest')")
    bad = script("bad", "[print(i) for i in range(100)]; raise SystemExit(3)")
    missing = Step("missing", ["no-such-program-anywhere"], 1, 60)
    report = run(tmp_path / "new", (good,), (bad, missing))
    content = json.loads((tmp_path / "new" / steps.REPORT).read_text())
    assert content["green"] is False
    found = content["steps"]
    assert found["good"]["outcome"] == "passed"
    assert found["good"]["figures"] == [{"name": "speed", "us": 3}]
    assert found["good"]["tail"] == []
    assert found["bad"]["outcome"] == "failed"
    assert found["bad"]["error"] == "status 3"
    assert found["bad"]["tail"] == [str(i) for i in range(60, 100)]
    assert "no-such-program-anywhere" in found["missing"]["error"]
    assert "the rest" in logs(report.folder)["good.log"]
    assert sorted(p.name for p in report.folder.iterdir()) == [steps.LOGS, steps.REPORT]


def test_a_report_is_green_only_when_all_of_the_plan_has_passed(tmp_path: Path) -> None:
    first, second = script("first", "pass"), script("second", "pass")
    report = Report(tmp_path, {}, [(first,), (second,)], 60)
    assert not report.green
    report.run((first,), dict(os.environ), tmp_path)
    assert not report.green
    report.run((second,), dict(os.environ), tmp_path)
    assert report.green
    assert not Report(tmp_path / "empty", {}, [], 60).green


def test_a_step_past_its_limit_leaves_its_figures_and_no_descendant(tmp_path: Path) -> None:
    code = f"""
        import subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(100)"])
        print(child.pid, flush=True)
        print({figure_line("speed", us=3)!r}, flush=True)
        print("FIGURE half a", file=sys.stderr, flush=True)
        time.sleep(100)
    """
    began = time.monotonic()
    beside = script("beside", "pass")
    report = run(tmp_path, (script("slow", code, 3), beside))
    assert time.monotonic() - began < 30
    result = report.results["slow"]
    assert result.outcome == "timed out"
    assert "limit of 3 s" in result.error
    assert result.figures == [{"name": "speed", "us": 3}]
    assert report.results["beside"].outcome == "passed"
    wait_until(lambda: not running(int(result.tail[0])))


def test_a_step_ends_with_a_check_that_is_killed(tmp_path: Path) -> None:
    code = f"""
        import os
        from pathlib import Path
        from benchmarks.gpu_check.steps import Report, Step
        wait = "import os, time; print(os.getpid(), flush=True); time.sleep(100)"
        step = Step("long", [*{PYTHON!r}, wait], 1, 60)
        folder = Path({str(tmp_path)!r})
        Report(folder, {{}}, [(step,)], 60).run((step,), dict(os.environ), folder)
    """
    check = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT)
    log = tmp_path / "long.log"
    wait_until(lambda: log.exists() and log.read_text().endswith("\n"))
    check.kill()
    check.wait()
    wait_until(lambda: not running(int(log.read_text())), 30)


def test_a_step_of_endless_output_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "MOST_BYTES", 10_000)
    report = run(tmp_path, (script("loud", "while True: print('x' * 100)"),))
    assert report.results["loud"].outcome == "failed"
    assert "10000 bytes" in report.results["loud"].error


def test_an_archive_does_not_grow_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "logs.zip"
    monkeypatch.setattr(steps, "MOST_BYTES", 10_000)
    assert steps.pack(archive, "small", b"kept")
    assert not steps.pack(archive, "large", os.urandom(20_000))
    assert list(logs(tmp_path)) == ["small"]


def test_a_flood_without_lines_does_not_swell_the_report(tmp_path: Path) -> None:
    code = "import random; print('%x' % random.getrandbits(2**25)); raise SystemExit(1)"
    report = run(tmp_path, (script("loud", code),), (script("next", code),))
    assert all(path.stat().st_size < MOST_BYTES for path in tmp_path.iterdir())
    assert (tmp_path / steps.REPORT).stat().st_size < 10_000
    assert len(logs(tmp_path)["next.log"]) > 1000
    assert [r.outcome for r in report.results.values()] == ["failed", "failed"]


def test_an_odd_figure_ends_nothing(tmp_path: Path) -> None:
    lines = ["FIGURE 3", 'FIGURE {"a": 1}', 'FIGURE {"name": "time", "passed": true}', "FIGURE {"]
    first = script("first", f"print({chr(10).join(lines)!r})")
    report = Report(tmp_path, {}, [(first,), (script("second", "pass"),)], 60, announce)
    for stage in ((first,), (script("second", "pass"),)):
        report.run(stage, dict(os.environ), tmp_path)
    assert report.green
    assert report.results["first"].figures == [{"name": "time", "passed": True}]
    table = (tmp_path / steps.SUMMARY).read_text()
    assert "cannot be shown: KeyError" in table
    assert "ALL GREEN: 2 of 2 steps" in table


def test_one_check_at_a_time_writes_into_a_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu_check", "--rehearse", "--steps", "build"]
    report = Report(tmp_path, {}, [], 60)
    done = subprocess.run([*command, "--out", str(tmp_path)], cwd=ROOT, capture_output=True)
    assert done.returncode == 2
    assert b"another check" in done.stderr
    assert report.results == {}


def test_a_new_check_replaces_the_files_of_an_old_one_and_no_others(tmp_path: Path) -> None:
    for name in (steps.SUMMARY, steps.NSIGHT_REPORT, "old.log", "mine.log", "notes.txt"):
        (tmp_path / name).write_text("old")
    (tmp_path / steps.REPORT).write_text('{"plan": ["old"], "steps": {}}')
    Report(tmp_path, {}, [(script("new", "pass"),)], 60)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["mine.log", "notes.txt", steps.REPORT]


def test_past_the_deadline_no_step_starts_and_none_goes_on(tmp_path: Path) -> None:
    slow = script("slow", "import time; time.sleep(100)")
    report = run(tmp_path, (slow,), (script("late", "pass"),), deadline=2)
    assert report.results["slow"].outcome == "timed out"
    assert report.results["late"].outcome == "not run"
    assert not report.green


def test_files_are_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.json"
    steps.replace_file(path, b"1")

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        steps.replace_file(path, b"2")
    assert path.read_bytes() == b"1"


def test_an_attempt_emits_figures_or_the_exception(capsys: pytest.CaptureFixture[str]) -> None:
    assert attempt("good", lambda: {"us": 3}, n=5)
    assert not attempt("bad", lambda: json.loads("half a fi"), n=6)
    emit("odd", text="a\nb")
    good, bad, odd = parse(f"noise\n{capsys.readouterr().out}FIGURE {{half")
    assert good == {"name": "good", "n": 5, "passed": True, "us": 3}
    assert bad["passed"] is False
    assert "JSONDecodeError" in bad["error"]
    assert odd["text"] == "a\nb"


# --- The command --------------------------------------------------------------------------------


@pytest.fixture
def check(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts a rehearsal of some steps into ``tmp_path / "out"``; what is left of it is killed."""
    built_or_skip()
    started = []

    def start(*names: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "benchmarks.gpu_check", "--rehearse"]
        command += ["--out", str(tmp_path / "out"), "--steps", *names]
        with open(tmp_path / "output", "wb") as output:
            process = subprocess.Popen(
                command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                number, session = stat.parent.name, stat.read_text().rpartition(")")[2].split()[3]
            except OSError:
                continue
            if int(session) == process.pid:
                os.kill(int(number), signal.SIGKILL)


def finished(folder: Path) -> list[str]:
    report = folder / steps.REPORT
    return list(json.loads(report.read_text())["steps"]) if report.exists() else []


STEPS = ("build", "timings-bfloat16", "memcheck", "racecheck")
MOMENTS: dict[str, Callable[[Path], bool]] = {
    "in the first step": lambda folder: (folder / f"{STEPS[0]}.log").exists(),
    "amid figures": lambda folder: len(parse(read(folder / f"{STEPS[1]}.log"))) >= 3,
    "amid steps side by side": lambda folder: all(
        (folder / f"{name}.log").exists() for name in STEPS[2:]
    ),
}


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


@pytest.mark.kernels
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_any_moment_what_was_finished_is_whole(
    tmp_path: Path, check: Callable[..., subprocess.Popen[bytes]], moment: str
) -> None:
    folder = tmp_path / "out"
    process = check(*STEPS)
    wait_until(lambda: MOMENTS[moment](folder))
    process.kill()
    process.wait()

    content = json.loads((folder / steps.REPORT).read_text())
    assert content["plan"] == list(STEPS)
    assert not content["green"]
    number = list(MOMENTS).index(moment)
    assert {*STEPS[:number]} <= {*content["steps"]} < {*STEPS}
    for name, result in content["steps"].items():
        assert result["outcome"] == "passed"
        assert result["figures"]
        assert parse(logs(folder)[f"{name}.log"]) == result["figures"]
    assert len(list(folder.iterdir())) <= MOST_FILES
    # What was running left its log, with the figures it had; and the table has them all.
    shown = load(folder)["steps"]
    unfinished = shown.keys() - content["steps"]
    assert unfinished
    assert all(shown[name]["outcome"] == "interrupted" for name in unfinished)
    if moment == "amid figures":
        assert len(shown[STEPS[1]]["figures"]) >= 3
    command = [sys.executable, "-m", "benchmarks.gpu_check", "--show", str(folder)]
    table = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "NOT GREEN" in table
    assert all(name in table for name in STEPS)
    assert ("CPU default bfloat16" in table) == (number > 0)


@pytest.mark.kernels
def test_ended_by_a_signal_it_records_what_was_running(
    tmp_path: Path, check: Callable[..., subprocess.Popen[bytes]]
) -> None:
    folder = tmp_path / "out"
    process = check(*STEPS)
    wait_until(lambda: len(parse(read(folder / f"{STEPS[1]}.log"))) >= 3)
    process.terminate()
    assert process.wait(60) == 128 + signal.SIGTERM
    content = json.loads((folder / steps.REPORT).read_text())
    assert content["steps"][STEPS[1]]["outcome"] == "interrupted"
    assert len(content["steps"][STEPS[1]]["figures"]) >= 3
    assert not list(folder.glob("*.log"))
    assert "NOT GREEN: 1 of 4 steps" in (tmp_path / "output").read_text()


@pytest.mark.kernels
def test_a_rehearsal_of_an_engine_that_is_not_the_one_asked_for_fails(tmp_path: Path) -> None:
    """The names of kernels are looked at: here another engine's are expected."""
    built_or_skip()
    code = """
        import os, sys
        import benchmarks.gpu_check.truth as truth
        truth.expected_kernels = lambda workload, hopper: "WarpgroupTile"
        truth.workloads = lambda device: [truth.Workload(70, m=130, d=8, dtype=truth.HALF[0])]
        sys.argv = ["truth", "--rehearse"]
        sys.exit(truth.main())
    """
    step = Step("truth", [sys.executable, "-c", textwrap.dedent(code)], 1, 120)
    report = Report(tmp_path, {}, [(step,)], 200)
    report.run((step,), step_environment(), ROOT)
    result = report.results["truth"]
    assert result.outcome == "failed"
    mining = result.figures[0]
    assert mining["passed"] is False
    assert "TensorTile<__nv_bfloat16, 64, 64>> does not fit" in mining["error"]


# --- Timings ------------------------------------------------------------------------------------


class Stream:
    """A device of a test's own clock: a queue of some launches, behind which the host waits."""

    def __init__(self, host: float, device: float, launches: int, queue: int = 1000) -> None:
        self.host, self.device, self.launches, self.queue = host, device, launches, queue
        self.now = self.free = 0.0  # seconds: the host's clock, and when the device is done
        self.ends: list[float] = []  # of launches

    def launch(self, seconds: float, count: int = 1) -> None:
        for _ in range(count):
            pending = [end for end in self.ends if end > self.now]
            if len(pending) >= self.queue:
                self.now = pending[-self.queue]
            self.free = max(self.free, self.now) + seconds / count
            self.ends.append(self.free)

    def work(self) -> None:
        self.now += self.host
        self.launch(self.device, self.launches)

    def synchronize(self) -> None:
        self.now = max(self.now, self.free)
        self.ends.clear()


@pytest.fixture
def time_on(monkeypatch: pytest.MonkeyPatch) -> Callable[[Stream, int], instruments.Timing]:
    def time_queued(stream: Stream, most_calls: int) -> instruments.Timing:
        class Event:
            def __init__(self, enable_timing: bool) -> None:
                self.at = 0.0

            def record(self) -> None:
                stream.launch(0.0)
                self.at = stream.free

            def query(self) -> bool:
                return self.at <= stream.now

            def elapsed_time(self, end: Event) -> float:
                return 1e3 * (end.at - self.at)

        cuda = instruments.torch.cuda
        monkeypatch.setattr(cuda, "Event", Event)
        monkeypatch.setattr(cuda, "synchronize", stream.synchronize)
        monkeypatch.setattr(cuda, "_sleep", lambda cycles: stream.launch(cycles / 2e9))
        monkeypatch.setattr(instruments.time, "perf_counter", lambda: stream.now)
        return instruments.time_queued(stream.work, most_calls=most_calls)

    return time_queued


def test_device_time_has_nothing_of_the_host_s(
    time_on: Callable[[Stream, int], instruments.Timing],
) -> None:
    timing = time_on(Stream(host=100e-6, device=30e-6, launches=7), 20)
    assert timing.queued
    assert timing.calls == 20
    assert timing.device_us == pytest.approx(30, rel=1e-3)
    assert timing.host_us == pytest.approx(100, rel=1e-3)


def test_calls_that_do_not_fit_the_queue_are_fewer(
    time_on: Callable[[Stream, int], instruments.Timing],
) -> None:
    stream = Stream(host=500e-6, device=700e-6, launches=160)
    timing = time_on(stream, 20)
    assert timing.queued
    assert timing.calls == 5
    assert timing.device_us == pytest.approx(700, rel=1e-3)
    assert timing.host_us == pytest.approx(500, rel=1e-3)
    assert stream.now < 1


def test_a_call_too_large_for_the_queue_says_so_and_is_not_waited_for(
    time_on: Callable[[Stream, int], instruments.Timing],
) -> None:
    stream = Stream(host=1e-3, device=2e-3, launches=3000)
    timing = time_on(stream, 4)
    assert not timing.queued
    assert timing.calls == 1
    assert stream.now < 1


def test_a_long_call_is_timed_once(
    time_on: Callable[[Stream, int], instruments.Timing],
) -> None:
    timing = time_on(Stream(host=100e-6, device=2.0, launches=7), 20)
    assert (timing.calls, timing.rounds, timing.queued) == (1, 1, True)
    assert timing.device_us == pytest.approx(2e6, rel=1e-3)


def test_the_peak_of_memory_is_taken_without_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = make_inputs(Workload(8, d=4))
    cell = next(timings.cells(Workload(8, d=4), []))
    assert (cell.baseline, cell.operation) == (timings.OURS, timings.LOSS)
    timing = instruments.Timing(1.0, 1.0, 1.0, 1.0, 1, 1, True)

    def time_queued(work: Callable[[], Any], *_: Any) -> instruments.Timing:
        work()
        assert all(leaf.grad is not None for leaf in inputs.leaves)
        return timing

    def peak_bytes(work: Callable[[], Any], device: str) -> tuple[int, float]:
        assert all(leaf.grad is None for leaf in inputs.leaves)
        return 1_000_000, 0.0

    monkeypatch.setattr(instruments, "time_queued", time_queued)
    monkeypatch.setattr(timings, "peak_bytes", peak_bytes)
    figures = timings.timed(cell, inputs, "cuda")
    assert figures["peak_bytes"] == 1_000_000 - sum(leaf.nbytes for leaf in inputs.leaves)


# --- The plan -----------------------------------------------------------------------------------


def test_the_plan_fits_the_time_and_the_folder() -> None:
    stages = plan.make_plan(False, "mining.ncu-rep")
    assert plan.seconds(stages) <= 60 * plan.MINUTES <= 540
    names = [step.name for stage in stages for step in stage]
    assert len({*names}) == len(names)
    assert all(step.estimate < step.limit for stage in stages for step in stage)
    # Report, table, archive, Nsight Compute's report, and one that is being replaced.
    assert max(len(stage) for stage in stages) + 5 <= MOST_FILES
    rehearsed = plan.make_plan(True, "mining.ncu-rep")
    assert [[s.name for s in stage] for stage in rehearsed] == [
        [s.name for s in stage] for stage in stages
    ]


def test_the_plan_begins_with_what_matters_most() -> None:
    stages = plan.make_plan(False, "")
    place = {step.name: at for at, stage in enumerate(stages) for step in stage}
    for earlier, later in (
        ("build", "truth"),
        ("truth", "timings-bfloat16"),
        ("timings-float32", "nsight"),
        ("nsight", "suite"),
        ("suite-mma", "same_bits"),
        ("two_devices", "compiled"),
        ("timings-compiled", "memcheck"),
        ("memcheck", "synccheck"),
    ):
        assert place[earlier] < place[later]


def test_what_is_timed_runs_alone() -> None:
    stages = [[step.name for step in stage] for stage in plan.make_plan(False, "")]
    timed = [
        stage for stage in stages if any("timings" in x or x in ("hub", "nsight") for x in stage)
    ]
    assert len(timed) == 7
    assert all(len(stage) == 1 for stage in timed)


def test_every_property_and_every_test_file_is_in_the_plan() -> None:
    names = {check.__name__ for check in properties.CHECKS}
    assert {*plan.PROPERTIES, "hub", "compiled"} == names
    assert all((ROOT / name).exists() for name in (*plan.SUITE, *plan.TILED))


@pytest.mark.kernels
def test_the_suite_selects_cases_by_their_device_alone() -> None:
    def collected(cases: str) -> set[str]:
        command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", ""]
        command += [*plan.SUITE, "-k", cases]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        return {line for line in done.stdout.splitlines() if "::" in line}

    on_cpu = plan.CUDA_CASES.replace("cuda", "cpu")
    assert len(collected(on_cpu)) > 1000
    assert {test for test in collected("cpu") if on_cpu not in test} == set()
    if not torch.cuda.is_available():
        assert collected(plan.CUDA_CASES) == set()


def test_steps_are_chosen_by_name() -> None:
    stages = plan.make_plan(True, "")
    chosen = choose(stages, ["racecheck", "truth-mma", "memcheck"])
    assert [[s.name for s in stage] for stage in chosen] == [
        ["truth-mma"],
        ["memcheck", "racecheck"],
    ]
    assert choose(stages, []) == stages
    with pytest.raises(ValueError, match="no step is named nonsense"):
        choose(stages, ["nonsense"])


@pytest.mark.parametrize("option", ["--kernel-name", "--kernel-regex", "--filter"])
def test_only_our_kernels_are_instrumented_but_all_for_initcheck(option: str) -> None:
    usage = f"  {option} arg   kernel_substring, kns: ...\n  --report-api-errors arg"
    command = sanitizer_command("tool", "racecheck", usage)
    assert command[-2:] == [option, "kernel_substring=fgsbir"]
    assert sanitizer_command("tool", "initcheck", usage)[-2:] == ["--report-api-errors", "no"]
    assert sanitizer_command("tool", "racecheck", "no filters")[-1] == "9"
    ports = {sanitizer_command("tool", tool, "--port arg")[-1] for tool in TOOLS}
    assert len(ports) == len(TOOLS)


# --- A worker of the suite ----------------------------------------------------------------------

SUITE = """
    import os, pathlib, time
    import pytest
    import torch

    @pytest.mark.parametrize("number", range(120))
    def test_cuda(number):
        if number == 2:
            torch.cuda.synchronize = broken
        assert number != 2, "an illegal access"

    def test_hangs():
        time.sleep(100)

    def broken():
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    torch.cuda.is_available = lambda: True
    torch.cuda.synchronize = lambda: None
"""


@pytest.mark.kernels
def test_a_broken_context_and_a_hang_cost_a_test_each(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(textwrap.dedent(SUITE))
    command = [sys.executable, "-m", "pytest", "-v", "-n", "1", "-p", "no:cacheprovider"]
    command += ["-p", "benchmarks.gpu_check.suite_plugin", "--test-limit", "3", "test_suite.py"]
    step = Step("suite", command, 1, 120)
    report = Report(tmp_path / "out", {}, [(step,)], 200)
    report.run((step,), step_environment(), tmp_path)
    result = report.results["suite"]
    assert result.outcome == "failed"
    assert result.figures[-1]["finished"] is True
    assert result.figures[-1]["counts"] == {"passed": 119, "failed": 2}
    assert result.figures[0]["finished"] is False  # what a killed suite would have left
    log = logs(tmp_path / "out")["suite.log"]
    assert "an illegal access" in log  # the traceback of the test that broke the context
    assert "Timeout (0:00:03)" in log
    assert "test_hangs" in log


# --- The table ----------------------------------------------------------------------------------


def full_content(failing: int = 0) -> dict[str, Any]:
    """As large a report as a whole run can give, some steps of which have failed."""
    stages = plan.make_plan(False, "")
    names = [step.name for stage in stages for step in stage]
    results = {
        name: {"outcome": "passed", "seconds": 33.3, "error": "", "figures": [], "tail": []}
        for name in names
    }
    for engine in ("default", "mma", "cuda-cores"):
        for dtype in ("bfloat16", "float32"):
            for n in (128, 1024, 4096, 16384, 65536):
                for operation, baseline, guidance in summary._COLUMNS.values():
                    if engine != "default" and (n not in (4096, 16384) or baseline != "fgsbir_ext"):
                        continue
                    results["timings-float32"]["figures"].append(
                        {
                            "name": "time", "passed": True, "card": "H100", "engine": engine,
                            "dtype": dtype, "n": n, "operation": operation, "baseline": baseline,
                            "guidance": guidance, "device_us": n / 3, "low_us": n / 3.1,
                            "high_us": n / 2.9, "host_us": 123.4, "queued": True, "rounds": 5,
                            "calls": 20, "peak_bytes": 5_000_000,
                        }
                    )  # fmt: skip
        for dtype in ("bfloat16", "float16", "float32"):
            for name in ("mining", "distances", "nearest"):
                kernel = f"mine_tiles<{dtype}, TensorTile<{dtype}, 128, 128>>"
                results["truth"]["figures"] += [
                    {"name": name, "passed": True, "engine": engine, "dtype": dtype,
                     "differing": 3, "largest_error": 1e-6, "kernel": kernel}
                ] * 4  # fmt: skip
    kernels = ["prepare_rows", "closest_attributes", "mine_tiles", "loss_of_anchors"]
    kernels += ["reduce_terms", "gradients_of_anchors", "gradients_of_photos"]
    for dtype in ("bfloat16", "float32"):
        for n in (1024, 16384):
            for guidance in ("0.0", "0.5", "inf"):
                results["timings-float32"]["figures"].append(
                    {"name": "kernels", "passed": True, "card": "H100", "engine": "default",
                     "dtype": dtype, "n": n, "guidance": guidance,
                     "kernels": [[name, 123.4] for name in kernels]}
                )  # fmt: skip
    for name in ("suite", "suite-mma", "memcheck", *plan.PROPERTIES):
        results[name]["figures"].append({"name": name, "passed": True, "figure": "x" * 80})
    results["nsight"]["figures"].append(
        {"name": "counters", "passed": True} | dict.fromkeys(nsight.COUNTERS, 123.45)
    )
    for name in names[:failing]:
        results[name] |= {"outcome": "failed", "error": "status 1", "tail": ["x" * 300] * 40}
    environment = {
        "device": "NVIDIA H100 80GB HBM3",
        "driver": "580.159.04",
        "toolkit": "Build cuda_13.0.r13.0/compiler.36424714_0",
        "torch": "2.11.0+cu130",
        "commit": "0" * 40,
        "sources": "0" * 12,
        "date": "2026-11-27T06:41:01+00:00",
    }
    return {
        "environment": environment,
        "plan": names,
        "green": not failing,
        "seconds": 500.0,
        "steps": results,
    }


@pytest.mark.parametrize("failing", [0, 1, 29])
def test_the_table_of_a_whole_run_fits(failing: int) -> None:
    content = full_content(failing)
    table = summary.summary(content)
    assert len(table) <= summary.MOST_CHARACTERS
    assert table.endswith("29 of 29 steps passed in 500 s" if failing == 0 else "in 500 s")
    assert ("-- build: FAILED, status 1" in table) == (failing > 0)
    if failing == 0:
        assert "..." not in table
    wanted = ("Predictions", "Targets", "Microseconds of a call", "Nsight Compute")
    for section in wanted if failing < 2 else wanted[:3]:
        assert f"-- {section}" in table
    (row,) = re.findall(r"H100 default bfloat16 16384 .*", table.split(summary._HOST_TITLE)[0])
    assert row.split()[4:] == ["5461"] * len(summary._COLUMNS)


def test_the_table_judges_by_the_card() -> None:
    content = full_content()
    table = summary.summary(content)
    assert table.count("\nH100  ") == len(PREDICTIONS) + 4  # products of two sizes
    assert "H100: whole loss, N = M = 16384, bfloat16: at most 1.0x" in table
    assert "H100: whole loss, N = M = 128: at least 10x faster than plain PyTorch" in table
    # 16384^2 numbers of float32 at 3.35 TB/s: 321 us.
    assert "H100  product into float32, bfloat16 16384: 5461 us, 17.04x its floor of 321" in table
    # 16384^2 products of 256 in bfloat16: 139 us at 990 TFLOP/s.
    assert "loss bfloat16 16384 guided 0.5: 5461 us (floor 139," in table
    content["environment"]["device"] = "Some other GPU"
    assert "floor" not in summary.summary(content)


def test_a_time_below_the_floor_is_no_success() -> None:
    content = full_content()
    for figure in content["steps"]["timings-float32"]["figures"]:
        if figure["name"] == "time" and figure["n"] == 16384:
            figure["device_us"] = 100.0
    lines = [line for line in summary.summary(content).splitlines() if "below the floor" in line]
    assert len(lines) == sum(it.n == 16384 for it in PREDICTIONS)


def device_us(card: str) -> dict[tuple[str, ...], float]:
    """Microseconds that a stored check measured by the default engine.

    By operation, baseline, type, N and guidance.
    """
    report = ROOT / "benchmarks/results/speed" / f"gpu_check-{card}" / "report.json"
    key = ("operation", "baseline", "dtype", "n", "guidance")
    return {
        tuple(str(figure[name]) for name in key): figure["device_us"]
        for step in json.loads(report.read_text())["steps"].values()
        for figure in step["figures"]
        if figure.get("name") == "time" and figure["engine"] == names.DEFAULT
    }


def test_the_page_of_times_has_those_that_were_measured() -> None:
    page = (ROOT / "docs" / "gpu.md").read_text()
    before, now = device_us("H200-9964c41"), device_us("H200")

    def cell(times: dict[tuple[str, ...], float], *key: str) -> str:
        value = times[key]
        return f"{value:.1f}" if value < 100 else f"{value:.0f}"

    rows = re.findall(r"^\| ((?:bfloat16|float32) \| \d.*) \|$", page, re.MULTILINE)
    assert len(rows) == 14
    for row in rows:
        dtype, n, guided, *cells = row.split(" | ")
        guidance = {"0": "0.0", "infinity": "inf"}.get(guided, guided)
        product = names.PRODUCT if dtype == "float32" else names.INTO_FLOAT32
        assert cells == [
            *(
                cell(times, operation, names.OURS, dtype, n, guidance)
                for operation in (names.MINING, names.LOSS)
                for times in (before, now)
            ),
            cell(now, names.LOSS, "tuned PyTorch", dtype, n, "0.5"),
            cell(now, names.LOSS, product, dtype, n, "0.5"),
        ], row


def test_the_page_of_what_was_proved_follows_the_check() -> None:
    page = (ROOT / "docs" / "gpu.md").read_text()
    stages = plan.make_plan(False, "")
    assert all(f"`{step.name}`" in page for stage in stages for step in stage)
    assert f"estimated seconds, {plan.seconds(stages):.0f} in all" in page
    for it in PREDICTIONS:
        operation = "loss" if it.operation == summary.LOSS else it.operation
        floor = 1e6 * H200.product_seconds(it.n, it.n, 256, it.dtype)
        guidance = "0" if it.guidance == "0.0" else it.guidance
        row = (
            f"| {it.n} | {operation}, {it.dtype} | {guidance} | "
            f"{round(floor, 2 if floor < 1 else None)} | {it.low:.0f} to {it.high:.0f} |"
        )
        assert row in page, row


def test_cards_and_their_floors() -> None:
    assert find_card("NVIDIA H100 80GB HBM3") is H100
    assert find_card("NVIDIA H200") is H200
    assert find_card("NVIDIA H100 PCIe") is None
    assert find_card(None) is None
    assert H100.product_seconds(16384, 16384, 256, "bfloat16") == pytest.approx(139e-6, rel=0.01)
    assert H100.product_seconds(16384, 16384, 256, "float32") == pytest.approx(833e-6, rel=0.01)
    assert find_card("NVIDIA GH200 480GB") is None
    assert find_card("NVIDIA H100 80GB HBM3 MIG 1g.10gb") is None
    size = (16384, 16384, 256, "bfloat16")
    assert H200.matrix_seconds(*size, 4) == pytest.approx(224e-6, rel=0.01)
    assert H200.matrix_seconds(*size, 2) == pytest.approx(139e-6, rel=0.01)


STALL = "smsp__average_warps_issue_stalled_{}_per_issue_active.ratio"
RAW_PAGE = f"""==PROF== Disconnected from process 1
"ID","gpu__time_duration.sum","smsp__inst_executed.sum","{STALL.format("barrier")}",\
"{STALL.format("wait")}"
"","ms","inst","inst","inst"
"0","1.25","1,234,567","0.75","2.5"
"""


def test_counters_of_a_raw_page() -> None:
    assert nsight.counters(RAW_PAGE) == dict.fromkeys(nsight.COUNTERS, "missing") | {
        "us": 1250.0,
        "instructions": 1234567.0,
        "stalls": {"wait": 2.5, "barrier": 0.75},
    }


def test_names_of_kernels_without_namespaces() -> None:
    name = (
        "void fgsbir::cuda::(anonymous namespace)::mine_tiles<__nv_bfloat16, "
        "fgsbir::cuda::WarpgroupTile<__nv_bfloat16> >(fgsbir::cuda::(anonymous "
        "namespace)::MineArguments<__nv_bfloat16>)"
    )
    assert short_name(name) == "mine_tiles<__nv_bfloat16, WarpgroupTile<__nv_bfloat16>>"


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
