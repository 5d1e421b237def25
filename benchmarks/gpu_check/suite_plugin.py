"""pytest plugin that limits a broken CUDA context or a hang to one test.

A worker of pytest-xdist whose context is broken would fail every test that it takes from then on,
and one that hangs would take none. Such a worker ends; xdist reports its test as crashed and starts
another. Counts are figures, also of a run that is killed.
"""

from __future__ import annotations

import faulthandler
import os
from collections.abc import Generator
from typing import Any

import pytest

from .figures import emit, figure_line
from .instruments import context_is_broken

_EVERY = 100  # tests, after which their counts are a figure
_STATUS = 70
# pytest captures the other one.
_stderr = os.fdopen(os.dup(2), "w")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--test-limit", type=float, default=60.0, help="seconds of one test")


def pytest_configure(config: pytest.Config) -> None:
    if not is_worker(config):
        config.pluginmanager.register(Counts())


def is_worker(config: pytest.Config) -> bool:
    """Whether this is one of pytest-xdist's processes."""
    return hasattr(config, "workerinput")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    if not is_worker(item.config):
        return (yield)
    limit = item.config.getoption("--test-limit")
    faulthandler.dump_traceback_later(limit, file=_stderr, exit=True)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and is_worker(item.config) and context_is_broken():
        print(item.nodeid, report.longreprtext, sep="\n", file=_stderr, flush=True)
        os._exit(_STATUS)
    return report


class Counts:
    """Counts outcomes where all workers report them."""

    def __init__(self) -> None:
        self._counts = {"passed": 0, "failed": 0}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.passed and report.when != "call":
            return
        self._counts[report.outcome] = self._counts.get(report.outcome, 0) + 1
        if sum(self._counts.values()) % _EVERY == 0:
            print()  # -v leaves the cursor within a line
            emit("suite", finished=False, counts=self._counts)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        terminalreporter.ensure_newline()
        line = figure_line("suite", finished=True, counts=self._counts)
        terminalreporter.write_line(line)
