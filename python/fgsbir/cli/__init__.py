"""Command line, ``fgsbir COMMAND``: one module a command.

Every command is a dataclass whose fields are its options and whose ``run`` does it; heavy imports
wait until one runs.
"""

from __future__ import annotations

import argparse
import io
import os
import select
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from inspect import cleandoc
from typing import Protocol, TextIO, cast

import tyro

from ..config import PretrainConfig, TrainConfig
from .evaluate import Evaluate
from .index import Index
from .pretrain import Pretrain
from .quickstart import Quickstart
from .reproduce import Reproduce
from .search import Search
from .serve import Serve
from .train import Train
from .triplets import MakeTriplets


class Command(Protocol):
    """What a parsed command line is."""

    def run(self) -> None:
        """Does it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code: 0, 2 for input that it cannot work with, or 130
    when stopped by Ctrl+C.

    Letters that the terminal does not have are printed as ``?``.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    _show_any_text()
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # of metadata
            _parse(arguments).run()
            sys.stdout.flush()
    except (OSError, ValueError, FloatingPointError) as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        if os.environ.get("FGSBIR_TRACEBACK"):
            raise
        from ..data.names import printable

        _say(f"fgsbir: error: {printable(str(error))}")
        return 2
    except KeyboardInterrupt:
        _say("\nfgsbir: stopped")
        return 130
    return 0


def _nobody_reads() -> bool:
    """Whether the reader of stdout has gone, as `head` does when it has read enough."""
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), select.POLLOUT)
    except io.UnsupportedOperation:  # it is no file
        return False
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _show_any_text() -> None:
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # it was closed before
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _say(text: str) -> None:
    with suppress(OSError):  # where nobody reads any more
        print(text, file=sys.stderr, flush=True)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A warning that is meant for users as one line; any other as Python has it."""
    if category is UserWarning:
        _say(f"fgsbir: warning: {message}")
    else:
        _say(warnings.formatwarning(message, category, filename, lineno, line))


def _parse(arguments: list[str]) -> Command:
    training, pretraining = _defaults(arguments)
    commands = {
        "quickstart": Quickstart(),
        "pretrain": Pretrain(tyro.MISSING, tyro.MISSING, config=pretraining),
        "train": Train(tyro.MISSING, tyro.MISSING, config=training),
        "evaluate": Evaluate(tyro.MISSING, tyro.MISSING),
        "reproduce": Reproduce(tyro.MISSING, tyro.MISSING, config=training),
        "triplets": MakeTriplets(tyro.MISSING, tyro.MISSING),
        "index": Index(),
        "search": Search(tyro.MISSING, tyro.MISSING),
        "serve": Serve(tyro.MISSING),
    }
    parsed = tyro.cli(
        tyro.extras.subcommand_type_from_defaults(
            commands,
            descriptions={name: cleandoc(type(c).__doc__ or "") for name, c in commands.items()},
        ),
        prog="fgsbir",
        description="Find the one photo that a sketch shows.",
        args=arguments,
    )
    return cast(Command, parsed)


def _defaults(arguments: list[str]) -> tuple[TrainConfig, PretrainConfig]:
    """The presets of the backbone asked for, which is read ahead of the rest; any configurations
    for a command that has no options of training, since presets load torch.
    """
    command = arguments[:1]
    if command not in (["train"], ["pretrain"], ["reproduce"]):
        return TrainConfig(), PretrainConfig()
    from ..presets import PRESETS, PRETRAINING

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    # The paper's network is what reproduces the paper.
    default = "sketchanet" if command == ["reproduce"] else "resnet"
    parser.add_argument("--backbone", default=default)
    name: str = parser.parse_known_args(arguments)[0].backbone
    if name not in PRESETS:
        name = default  # the full parser says what is wrong with it
    return PRESETS[name], PRETRAINING[name]
