"""Figures of a step as lines of JSON in its log, so that those of a killed step survive."""

from __future__ import annotations

import contextlib
import json
import traceback
from collections.abc import Callable
from typing import Any

Figures = dict[str, Any]

_MARK = "FIGURE "
MOST_OF_AN_ERROR = 4000  # characters


def figure_line(name: str, **figures: Any) -> str:
    """A figure as a line that :func:`parse` finds in a log."""
    return _MARK + json.dumps({"name": name, **figures})


def emit(name: str, **figures: Any) -> None:
    """Prints a figure."""
    print(figure_line(name, **figures), flush=True)


def parse(log: str) -> list[Figures]:
    """The figures of a log, without what is none, as a last line that was cut off."""
    found = []
    for line in log.splitlines():
        if line.startswith(_MARK):
            with contextlib.suppress(json.JSONDecodeError):
                figure = json.loads(line.removeprefix(_MARK))
                if isinstance(figure, dict) and isinstance(figure.get("name"), str):
                    found.append(figure)
    return found


def attempt(name: str, work: Callable[[], Figures], **about: Any) -> bool:
    """Emits what ``work`` returns, or its exception, with ``passed`` and what it was ``about``."""
    try:
        figures = work()
    except Exception:  # a check that fails is a result, and the others still count
        emit(name, **about, passed=False, error=traceback.format_exc()[-MOST_OF_AN_ERROR:])
        return False
    emit(name, **about, passed=True, **figures)
    return True
