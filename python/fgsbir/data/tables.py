"""Tables of text, CSV, as spreadsheets, pandas and Windows write them.

A header line, then a line a row. Read are UTF-8, UTF-16 with or without its mark, and Windows'
Western encoding where nothing else is likely; fields parted by commas, semicolons, tabs or bars,
with or without Excel's ``sep=`` line; and the column of numbers that pandas puts first is left
out, as are columns and lines without anything.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from .names import one_form, quoted

SUFFIXES = (".csv", ".tsv")
REFUSED = (".xlsx", ".xls", ".ods", ".parquet")
"""Endings of tables that are not text, which `read_table` says."""
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
MISSING = frozenset({"", "nan", "na", "n/a", "#n/a", "null", "none", "<na>", "nat"})
"""What stands for nothing, in lower case."""
WORDS = {"true": 1, "yes": 1, "false": 0, "no": 0}
_NUMBER = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]*)?(?:e[+-]?[0-9]+)?", re.IGNORECASE)
DIGITS = 40  # that a number may have
_INDEX = re.compile(r"(?:unnamed: [\d.]+|index|level_\d+)?", re.IGNORECASE)
LISTED = 8  # names of columns that an error lists
_SAVE = "save it as 'CSV UTF-8'"
_STARTS = {
    b"PK\3\4": "a spreadsheet",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet",
    b"PAR1": "Parquet",
}


class Table(NamedTuple):
    """A table as it was read.

    Attributes:
        where: the header is, "file:line".
        columns: their names.
        rows: each as ("file:line", {column: text}).
    """

    where: str
    columns: list[str]
    rows: list[tuple[str, dict[str, str]]]


def read_table(
    path: Path, known: Sequence[str], required: Sequence[str], *, prefix: str | None = None
) -> Table:
    """Reads a table.

    Args:
        path: the file.
        known: names of columns that are found whatever their case.
        required: those of them that must be there.
        prefix: of the names of other columns that are kept though they have no content.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the first thing that is wrong, with file and line.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    text = _decode(path, path.read_bytes()).replace("\r\n", "\n").replace("\r", "\n")
    first, text = _without_separator_line(text)
    separator = _separator(text, required)
    numbered = _split(path, text, separator, first)
    if not numbered:
        raise ValueError(f"{path}:1: no column {required[0]!r}; the file is empty")
    (line, header), *lines = numbered
    columns = [_known(one_form(name), known) for name in header]
    fields = [[row[i] for _, row in lines if i < len(row)] for i in range(len(columns))]
    first = next((i for i in range(len(columns)) if not _is_index(columns[i], fields[i])), 0)
    kept = [
        i
        for i in range(first, len(columns))
        if columns[i] in known
        or not all(map(is_missing, fields[i]))
        or (columns[i] and prefix is not None and columns[i].casefold().startswith(prefix))
        or (columns[i] and not lines)
    ]
    names = [columns[i] for i in kept]
    for column in required:
        if column not in names:
            raise ValueError(
                f"{path}:{line}: no column {column!r}; the columns, parted by "
                f"{SEPARATORS[separator]}, are {_listed(names)}"
            )
    if len(set(names)) < len(names):
        raise ValueError(f"{path}:{line}: a column occurs twice in {_listed(names)}")
    if "" in names:
        number = 1 + kept[names.index("")]
        raise ValueError(
            f"{path}:{line}: column {number} has values and no name; name or delete it"
        )
    rows = []
    for number, row in lines:
        where = f"{path}:{number}"
        if len(row) < len(columns) or any(row[len(columns) :]):
            raise ValueError(f"{where}: {len(row)} fields, but the header has {len(columns)}")
        rows.append((where, {columns[i]: one_form(row[i]) for i in kept}))
    return Table(f"{path}:{line}", names, rows)


def is_missing(text: str) -> bool:
    """Whether a field says that there is nothing."""
    return text.casefold() in MISSING


def read_whole(text: str) -> int | None:
    """A whole number, also as a table of floats has it, ``3.0``; None for anything else."""
    if len(text) > DIGITS or not _NUMBER.fullmatch(text):
        return None
    number = float(text.replace(",", "."))
    return int(number) if number.is_integer() else None


def read_tristate(text: str) -> int | None:
    """1 for yes, 0 for no and -1 for unknown, as a field says it; None for anything else."""
    if is_missing(text):
        return -1
    whole = read_whole(text)
    if whole is not None:
        return whole if -1 <= whole <= 1 else None
    return WORDS.get(text.casefold())


def _decode(path: Path, content: bytes) -> str:
    for start, kind in _STARTS.items():
        if content.startswith(start):
            raise ValueError(f"{path}: is {kind}, no CSV file; {_SAVE}")
    if content.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        encoding = "utf-32"
    elif content.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif b"\0" in content[:2]:  # the first character is of a column's name, one byte and a zero
        encoding = "utf-16-be" if content[0] == 0 else "utf-16-le"
    else:
        encoding = "utf-8-sig"  # spreadsheets put a byte order mark before the first name
    try:
        text = content.decode(encoding).lstrip("\ufeff")  # of a file that was marked twice
    except UnicodeDecodeError as error:
        western = _western(content) if encoding == "utf-8-sig" else None
        if western is not None:
            return western
        line = 1 + error.object[: error.start].count(b"\n")
        name = encoding.upper().removesuffix("-SIG")
        raise ValueError(f"{path}:{line}: not {name} ({error.reason}); {_SAVE}") from error
    before, zero, _ = text.partition("\0")
    if zero:
        line = 1 + before.count("\n")
        raise ValueError(f"{path}:{line}: has a character of code 0, so is no text; {_SAVE}")
    return text


def _western(content: bytes) -> str | None:
    """The text in Windows' Western encoding; None where it looks like that of another script."""
    try:
        text = content.decode("cp1252")
    except UnicodeDecodeError:
        return None
    # Words of other scripts come out as accented letters side by side, and what is no text at all
    # as control characters.
    return None if re.search(r"[^\x00-\x7f]{3}|[\x00-\x08\x0e-\x1f]", text) else text


def _without_separator_line(text: str) -> tuple[int, str]:
    """The number of the first line that counts, and the text from there, without Excel's line."""
    match = re.match(r'"?sep=(.)"?[;,\t]*\n', text, re.IGNORECASE)
    return (2, text[match.end() :]) if match else (1, text)


def _separator(text: str, required: Sequence[str]) -> str:
    """The one by which the header has the most of the columns that are required."""
    header = next((line for line in text.split("\n") if line.strip(" ,;\t|")), "")

    def found(separator: str) -> int:
        names = next(csv.reader([header], delimiter=separator), [])
        written = {name.strip().casefold() for name in names}
        return sum(column in written for column in required)

    try:
        return max(SEPARATORS, key=lambda one: (found(one), header.count(one) if found(one) else 0))
    except csv.Error:  # which splitting tells of, with the line
        return ","


def _split(path: Path, text: str, separator: str, first: int) -> list[tuple[int, list[str]]]:
    """Fields of the lines that have any, with the number of each line."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    table: list[tuple[int, list[str]]] = []
    line = first  # where the row begins: a quote that is never closed runs to the end of the file
    try:
        for row in reader:
            fields = [field.strip() for field in row]
            if any(fields):
                table.append((line, fields))
            line = first + reader.line_num
    except csv.Error as error:
        raise ValueError(f"{path}:{line}: not CSV ({error})") from error
    return table


def _listed(names: Sequence[str]) -> str:
    more = [f"{len(names) - LISTED} more"] if len(names) > LISTED else []
    return ", ".join([*map(quoted, names[:LISTED]), *more])


def _known(name: str, known: Sequence[str]) -> str:
    return name.casefold() if name.casefold() in known else name


def _is_index(name: str, fields: Sequence[str]) -> bool:
    """Whether a column is the numbers of rows, which pandas puts first whenever it saves."""
    return bool(_INDEX.fullmatch(name)) and all(
        is_missing(text) or read_whole(text) is not None for text in fields
    )
