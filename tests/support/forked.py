"""pytest in processes forked from one that has imported torch: the tests alone take time there."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

_FORKING = multiprocessing.get_context("forkserver")
_IMPORTED = ["torch._dynamo", "hypothesis", "pytest_benchmark.plugin", "tests.support.compare"]


def run_pytest(
    arguments: Sequence[str], environment: Mapping[str, str], log: Path
) -> tuple[int, str]:
    """Exit status and output of pytest in a process of its own, negative where a signal ended it.

    Args:
        arguments: of the command line.
        environment: variables to set besides. The dynamic linker, Python, torch and
            fgsbir_ext have started already: what they read then is too late here.
        log: the file that the output is written to.
    """
    _FORKING.set_forkserver_preload(_IMPORTED)
    process = _FORKING.Process(target=_pytest, args=(arguments, dict(environment), str(log)))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode, log.read_text(errors="replace")


def _pytest(arguments: Sequence[str], environment: dict[str, str], log: str) -> None:
    with open(log, "wb") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    os.environ |= environment
    sys.exit(pytest.main(list(arguments)))
