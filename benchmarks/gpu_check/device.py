"""The device that a step runs on: a GPU, or in a rehearsal the host emulation."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager


def add_rehearse(parser: argparse.ArgumentParser) -> None:
    """The option of a step that runs without a GPU, too."""
    parser.add_argument("--rehearse", action="store_true", help="run on the CPU, by emulation")


@contextmanager
def device_or_rehearsal(rehearse: bool) -> Iterator[str]:
    """The name of the device; in a rehearsal with emulated kernels and stand-ins for CUDA."""
    if not rehearse:
        yield "cuda"
        return
    from tests.emulation.plugin import register

    from .rehearsal import stand_ins

    register()
    with stand_ins():
        yield "cpu"
