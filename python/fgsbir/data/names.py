"""Names of files: in one Unicode form, as tables write them, and as people are shown them."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path

LONGEST = 400  # letters of an error
SHOWN = 60  # letters of a text that is quoted


def one_form(text: str) -> str:
    """A name in the composed Unicode form (NFC), in which equal names are equal.

    A Mac takes accented letters apart, most other keyboards do not.
    """
    return unicodedata.normalize("NFC", text)


def printable(text: str) -> str:
    """A file's name for people: what is no character, or would steer a terminal, is replaced."""
    # A byte that is no character is a lone surrogate in Python's names of files.
    odd = r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]"
    return re.sub(odd, "\N{REPLACEMENT CHARACTER}", text)


def in_a_line(error: Exception) -> str:
    """What an error says, on one line that is not too long."""
    text = printable(" ".join(str(error).split())) or type(error).__name__
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def quoted(text: str) -> str:
    """A text of a file in quotes, as an error shows it; no more than its beginning."""
    shown = repr(text)  # cut after that: escaped characters are long
    return shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}...{shown[0]}"


class WrittenPaths:
    """Files that a table names, relative to its folder.

    A name is taken as it is where there is such a file. Else backslashes part folders, as Windows
    writes them, and of each folder the one name is taken that differs in Unicode form or in case
    alone.

    Args:
        folder: of the table.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: dict[Path, dict[str, list[str]]] = {}

    def find(self, written: str) -> Path:
        """The file that is meant; if there is none, the path as it is written."""
        plain = self._folder / written
        if _exists(plain):
            return plain
        found = self._folder
        for part in Path(written.replace("\\", "/")).parts:
            here = found / part
            if not _exists(here):
                alike = self._alike(found).get(_folded(part), [])
                same = [name for name in alike if one_form(name) == one_form(part)]
                chosen = same or alike
                if len(chosen) != 1:
                    return plain
                here = found / chosen[0]
            found = here
        return found

    def _alike(self, folder: Path) -> dict[str, list[str]]:
        if folder not in self._names:
            names: dict[str, list[str]] = {}
            for name in os.listdir(folder) if folder.is_dir() else []:
                names.setdefault(_folded(name), []).append(name)
            self._names[folder] = names
        return self._names[folder]


def _folded(name: str) -> str:
    return one_form(one_form(name).casefold())


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no file can have
        return False
