"""A user's own pairs, listed in one CSV file or laid out in a folder.

CSV: a header line, then one line per sketch. Paths are relative to the CSV's folder.

    sketch,photo,id,split,attr:open toe,attr:high heel
    sketches/a1.png,photos/a.jpg,a,train,0,1
    sketches/a2.png,photos/a.jpg,a,train,0,1
    ,photos/b.jpg,b,test,,1

* ``sketch``, ``photo``: required columns. A photo without a sketch is a gallery photo that no
  query asks for. The same photo in several lines is one photo.
* ``id``: lines of the same id are the same instance. Left out, or empty: the photo is the id.
* ``split``: ``train`` or ``test``, on every line. Without this column a fifth of the instances is
  the test split, chosen by a hash of the id (see `fgsbir.data.pairs.Pair`).
* ``attr:NAME``: attribute NAME of the photo, 1 yes, 0 no, -1 or empty unknown.

Folder: a sketch belongs to the photo of the same stem, or of the stem before ``_NUMBER``.

    photos/NAME.jpg  sketches/NAME.png  sketches/NAME_2.png  attributes.csv

Either directly, with a fifth held out as above, or once in ``train/`` and once in ``test/``.
``attributes.csv`` is optional and lies at the top, with a column ``name`` (the photo's stem) and
one column per attribute.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from .dataset import SketchPhotoSet
from .images import SIZE, SUFFIXES
from .layout import Layout
from .pairs import SPLITS, Pair, build_set

PREFIX = "attr:"
VALUES = {"1": 1, "0": 0, "-1": -1, "": -1}


def load_csv(path: str | Path, split: str = "train", *, size: int = SIZE) -> SketchPhotoSet:
    """Read one split of the pairs that a CSV file lists (form: `fgsbir.data.pair_files`).

    Args:
        path: The CSV file, UTF-8.
        split: ``"train"`` or ``"test"``.
        size: Images are fitted into white squares of so many pixels, keeping their proportions.

    Raises:
        FileNotFoundError: No such file, or it names an image that is missing.
        ValueError: The first thing in it that is wrong, with file and line.
    """
    path = Path(path)
    header, lines = read_table(path, ("sketch", "photo"))
    optional = [c for c in header if c not in ("sketch", "photo", "id", "split")]
    for column in optional:
        if not column.removeprefix(PREFIX) or not column.startswith(PREFIX):
            raise ValueError(
                f"{path}:1: unknown column {column!r}; known are sketch, photo, id, split and "
                f"'{PREFIX}NAME' for an attribute"
            )
    pairs = []
    for where, row in lines:
        if not row["photo"]:
            raise ValueError(f"{where}: column 'photo' is empty")
        if "split" in row and row["split"] not in SPLITS:
            raise ValueError(f"{where}: split must be one of {SPLITS}, got {row['split']!r}")
        pairs.append(
            Pair(
                photo=path.parent / row["photo"],
                sketch=path.parent / row["sketch"] if row["sketch"] else None,
                instance=row.get("id") or str(Path(row["photo"])),
                split=row.get("split"),
                attributes={c.removeprefix(PREFIX): _value(row, c, where) for c in optional},
                where=where,
            )
        )
    names = [column.removeprefix(PREFIX) for column in optional]
    return build_set(pairs, split, name=path.stem, size=size, attributes=names)


def load_folder(path: str | Path, split: str = "train", *, size: int = SIZE) -> SketchPhotoSet:
    """Read one split of the pairs in a folder (layout: `fgsbir.data.pair_files`).

    Arguments and errors are those of `load_csv`.
    """
    path = Path(path)
    parts = [part for part in SPLITS if (path / part).is_dir()]
    annotated = path / "attributes.csv"
    names, attributes = _read_attributes(annotated) if annotated.is_file() else ([], {})
    pairs: list[Pair] = []
    for part in parts:
        pairs += _pairs_in(path / part, part, attributes)
    if not parts:
        pairs += _pairs_in(path, None, attributes)
    stems = {pair.photo.stem for pair in pairs}
    for stem, (where, _) in attributes.items():
        if stem not in stems:
            raise ValueError(f"{where}: there is no photo of the name {stem!r}")
    return build_set(pairs, split, name=path.resolve().name, size=size, attributes=names)


def is_pair_folder(path: str | Path) -> bool:
    """Whether ``path`` has the folders that `load_folder` reads."""
    return any(all((p / d).is_dir() for d in ("photos", "sketches")) for p in _parts(Path(path)))


def _parts(path: Path) -> list[Path]:
    return [path, *(path / part for part in SPLITS)]


def _pairs_in(
    folder: Path, split: str | None, attributes: dict[str, tuple[str, dict[str, int]]]
) -> Iterator[Pair]:
    photos: dict[str, Path] = {}
    for photo in _images(folder / "photos"):
        if photos.setdefault(photo.stem, photo) != photo:
            raise ValueError(f"{photo}: {photos[photo.stem].name} has the same name")
    sketches: dict[str, list[Path]] = {stem: [] for stem in photos}
    for sketch in _images(folder / "sketches"):
        stem = sketch.stem if sketch.stem in photos else re.sub(r"_\d+$", "", sketch.stem)
        if stem not in photos:
            raise ValueError(f"{sketch}: there is no photo {stem}.* in {folder / 'photos'}")
        sketches[stem].append(sketch)
    for stem, photo in photos.items():
        values = attributes.get(stem, ("", {}))[1]
        # The same name in train/ and test/ is another instance: the folder is part of the id.
        instance = f"{split}/{stem}" if split else stem
        for sketch in sketches[stem]:
            yield Pair(photo, sketch, instance, split, values, where=str(sketch))
        if not sketches[stem]:
            yield Pair(photo, None, instance, split, values, where=str(photo))


def _images(folder: Path) -> Sequence[Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder: {folder}")
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def _read_attributes(path: Path) -> tuple[list[str], dict[str, tuple[str, dict[str, int]]]]:
    """Names, and for each photo's stem the line that annotates it and its attributes."""
    header, lines = read_table(path, ("name",))
    names = [column for column in header if column != "name"]
    rows: dict[str, tuple[str, dict[str, int]]] = {}
    for where, row in lines:
        if row["name"] in rows:
            raise ValueError(f"{where}: {row['name']!r} was annotated at {rows[row['name']][0]}")
        rows[row["name"]] = (where, {name: _value(row, name, where) for name in names})
    return names, rows


def read_table(
    path: Path, required: Sequence[str]
) -> tuple[list[str], list[tuple[str, dict[str, str]]]]:
    """Header, and each line as ("file:line", {column: text}). Blank lines are skipped."""
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    content = path.read_bytes()
    try:
        # utf-8-sig: spreadsheets put a byte order mark in front of the first column's name.
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = 1 + error.object[: error.start].count(b"\n")
        raise ValueError(f"{path}:{line}: not UTF-8 ({error.reason})") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    table: list[tuple[int, list[str]]] = []
    line = 1  # where the row begins: a quote that is never closed runs to the end of the file
    try:
        for row in reader:
            table.append((line, [field.strip() for field in row]))
            line = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{path}:{line}: not CSV ({error})") from error
    header = table[0][1] if table else []
    for column in required:
        if column not in header:
            raise ValueError(f"{path}:1: no column {column!r}; the columns are {header}")
    if len(set(header)) < len(header):
        raise ValueError(f"{path}:1: a column occurs twice in {header}")
    lines = []
    for number, row in table[1:]:
        if not any(row):
            continue
        where = f"{path}:{number}"
        if len(row) != len(header):
            raise ValueError(f"{where}: {len(row)} fields, but the header has {len(header)}")
        lines.append((where, dict(zip(header, row, strict=True))))
    return header, lines


def _value(row: dict[str, str], column: str, where: str) -> int:
    if row[column] not in VALUES:
        raise ValueError(
            f"{where}: column {column!r} must be 1, 0, -1 or empty, got {row[column]!r}"
        )
    return VALUES[row[column]]


def _is_csv(path: str | Path) -> bool:
    return Path(path).suffix.lower() == ".csv" and Path(path).is_file()


def _of_no_category(
    load: Callable[[str | Path, str], SketchPhotoSet],
) -> Callable[[str | Path, str | None, str], SketchPhotoSet]:
    def load_whole(path: str | Path, category: str | None, split: str) -> SketchPhotoSet:
        if category is not None:
            raise ValueError(f"{path}: own pairs have no categories; leave out {category!r}")
        return load(path, split)

    return load_whole


CSV_FILE = Layout("a .csv file of pairs", _is_csv, _of_no_category(load_csv))
PAIR_FOLDER = Layout(
    "a folder of pairs (photos/ and sketches/, also under train/ and test/)",
    is_pair_folder,
    _of_no_category(load_folder),
)
