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

Folder: a sketch belongs to the photo of the same stem, or of the stem before ``_NUMBER`` or
``-NUMBER``, in a folder of the same name, or wherever no other photo has that stem.

    photos/NAME.jpg  sketches/NAME.png  sketches/NAME_2.png  attributes.csv
    photos/CLASS/NAME.jpg  sketches/CLASS/NAME-1.png

Either directly, with a fifth held out as above, or once in ``train/`` and once in ``test/``.
``attributes.csv`` is optional and lies at the top, with a column ``name`` (the photo's stem, where
several have that its path in ``photos/``) and one column per attribute.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from .dataset import SketchPhotoSet
from .image_folders import kinds_of, list_all_images
from .images import SIZE
from .layout import Layout
from .names import WrittenPaths, one_form, quoted
from .pairs import SPLITS, Pair, build_set
from .tables import REFUSED, SUFFIXES, is_missing, read_table, read_tristate

COLUMNS = ("sketch", "photo", "id", "split")
PREFIX = "attr:"
PHOTOS, SKETCHES = ("photos", "photo"), ("sketches", "sketch")


def load_csv(path: str | Path, split: str = "train", *, size: int = SIZE) -> SketchPhotoSet:
    """Read one split of the pairs that a CSV file lists (form: `fgsbir.data.pair_files`).

    Args:
        path: The CSV file (what is read as one: `fgsbir.data.tables`).
        split: ``"train"`` or ``"test"``.
        size: Images are fitted into white squares of so many pixels, keeping their proportions.

    Raises:
        FileNotFoundError: No such file, or it names an image that is missing.
        ValueError: The first thing in it that is wrong, with file and line.
    """
    path = Path(path)
    table = read_table(path, COLUMNS, COLUMNS[:2], prefix=PREFIX)
    attributes = {c: _attribute(c) for c in table.columns if c not in COLUMNS}
    _check_once(table.where, attributes.values())
    for column, name in attributes.items():
        if not name:
            raise ValueError(
                f"{table.where}: unknown column {quoted(column)}; known are "
                f"{', '.join(COLUMNS[:-1])} and {COLUMNS[-1]}, and '{PREFIX}NAME' for an attribute"
            )
    if not table.rows:
        raise ValueError(f"{table.where}: no pairs; there is no line under the header")
    files = WrittenPaths(path.parent)
    # A column without anything is none.
    has_splits = any(not is_missing(row.get("split", "")) for _, row in table.rows)
    pairs = []
    for where, row in table.rows:
        if is_missing(row["photo"]):
            raise ValueError(f"{where}: column 'photo' is empty")
        split_of_row = row["split"].casefold() if has_splits else None
        if split_of_row is not None and split_of_row not in SPLITS:
            raise ValueError(f"{where}: split must be one of {SPLITS}, got {quoted(row['split'])}")
        photo = _file(files, row, "photo", where)
        drawn = not is_missing(row["sketch"])
        pairs.append(
            Pair(
                photo=photo,
                sketch=_file(files, row, "sketch", where) if drawn else None,
                instance=row["id"]
                if not is_missing(row.get("id", ""))
                else one_form(os.path.relpath(photo, path.parent)),
                split=split_of_row,
                attributes={name: _value(row, c, where) for c, name in attributes.items()},
                where=where,
            )
        )
    return build_set(pairs, split, name=path.stem, size=size, attributes=attributes.values())


def load_folder(path: str | Path, split: str = "train", *, size: int = SIZE) -> SketchPhotoSet:
    """Read one split of the pairs in a folder (layout: `fgsbir.data.pair_files`).

    Arguments and errors are those of `load_csv`. Files that are no images which are read are left
    out with a warning.
    """
    path = Path(path)
    parts = [part for part in SPLITS if (path / part).is_dir()]
    found = [_PairFolder(path / part, part) for part in parts] or [_PairFolder(path, None)]
    annotated = path / "attributes.csv"
    names, attributes = _read_attributes(annotated, found) if annotated.is_file() else ([], {})
    pairs = [pair for part in found for pair in part.pairs(attributes)]
    return build_set(pairs, split, name=path.resolve().name, size=size, attributes=names)


def is_pair_folder(path: str | Path) -> bool:
    """Whether ``path`` has the folders that `load_folder` reads."""
    parts = [Path(path), *(Path(path) / part for part in SPLITS)]
    return any(all(_inner(part, names).is_dir() for names in (PHOTOS, SKETCHES)) for part in parts)


def _file(files: WrittenPaths, row: dict[str, str], column: str, where: str) -> Path:
    found = files.find(row[column])
    if re.match(r"[A-Za-z]:[\\/]", row[column]) and not found.exists():
        raise FileNotFoundError(
            f"{where}: {column}: {quoted(row[column])} is on a Windows machine; write it relative "
            "to the folder of the table"
        )
    return found


class _PairFolder:
    """The photos and sketches of one split in a folder, by key.

    A photo's key is its path in the folder of photos, without the ending and in one Unicode form.
    """

    def __init__(self, folder: Path, split: str | None) -> None:
        self.split = split
        self.photos: dict[str, Path] = {}
        top = _inner(folder, PHOTOS)
        listing = list_all_images(top)
        for photo in listing.images:
            key = _key(photo, top)
            if self.photos.setdefault(key, photo) != photo:
                raise ValueError(f"{photo}: {self.photos[key].name} has the same name")
        self._by_stem: dict[str, list[str]] = {}
        for key in self.photos:
            self._by_stem.setdefault(key.rpartition("/")[2], []).append(key)
        self._sketches: dict[str, list[Path]] = {key: [] for key in self.photos}
        drawn = _inner(folder, SKETCHES)
        for sketch in list_all_images(drawn).images:
            key = _key(sketch, drawn)
            stem = re.sub(r"[_-]\d+$", "", key)
            shown = self.find(key) or self.find(stem)
            if shown is None:
                same = self._by_stem.get(stem.rpartition("/")[2], [])
                others = kinds_of(listing.others)
                also = f"; not read there: {others}" if others else ""
                also = f"; of that name there are {', '.join(same)}" if same else also
                raise ValueError(f"{sketch}: there is no photo {stem}.* in {top}{also}")
            self._sketches[shown].append(sketch)

    def find(self, name: str) -> str | None:
        """The key of the photo of a name: its path, or its file's name where that is its alone."""
        if name in self.photos:
            return name
        same = self._by_stem.get(name.rpartition("/")[2], [])
        return same[0] if len(same) == 1 else None

    def pairs(self, attributes: Mapping[Path, Mapping[str, int]]) -> Iterator[Pair]:
        """A pair a sketch, and one for a photo without any."""
        for key, photo in self.photos.items():
            values = attributes.get(photo, {})
            # The same name in train/ and test/ is another instance: the folder is part of the id.
            instance = f"{self.split}/{key}" if self.split else key
            for sketch in self._sketches[key]:
                yield Pair(photo, sketch, instance, self.split, values, where=str(sketch))
            if not self._sketches[key]:
                yield Pair(photo, None, instance, self.split, values, where=str(photo))


def _inner(folder: Path, names: Sequence[str]) -> Path:
    """The folder in a folder that has one of some names; by the first where there is none."""
    return next((folder / name for name in names if (folder / name).is_dir()), folder / names[0])


def _key(file: Path, folder: Path) -> str:
    return one_form(file.relative_to(folder).with_suffix("").as_posix())


def _read_attributes(
    path: Path, folders: Sequence[_PairFolder]
) -> tuple[list[str], dict[Path, dict[str, int]]]:
    """Names, and the attributes of each photo that a line annotates."""
    where_header, columns, rows = read_table(path, ("name",), ("name",), prefix="")
    names = {column: _attribute(column) or column for column in columns if column != "name"}
    _check_once(where_header, names.values())
    annotated: dict[Path, str] = {}
    values: dict[Path, dict[str, int]] = {}
    for where, row in rows:
        name = row["name"].replace("\\", "/")
        photos = [
            folder.photos[key]
            for folder in folders
            if (key := folder.find(name) or folder.find(os.path.splitext(name)[0])) is not None
        ]
        if not photos:
            raise ValueError(f"{where}: there is no photo of the name {quoted(row['name'])}")
        for photo in photos:
            if photo in annotated:
                raise ValueError(
                    f"{where}: {quoted(row['name'])} was annotated at {annotated[photo]}"
                )
            annotated[photo] = where
            values[photo] = {name: _value(row, column, where) for column, name in names.items()}
    return list(names.values()), values


def _check_once(where: str, attributes: Iterable[str]) -> None:
    for name, count in Counter(attributes).items():
        if name and count > 1:
            raise ValueError(f"{where}: attribute {quoted(name)} has {count} columns")


def _attribute(column: str) -> str:
    """The attribute that a column is of; empty for a column of anything else."""
    is_one = column[: len(PREFIX)].casefold() == PREFIX
    return column[len(PREFIX) :].strip() if is_one else ""


def _value(row: dict[str, str], column: str, where: str) -> int:
    value = read_tristate(row[column])
    if value is None:
        raise ValueError(
            f"{where}: column {quoted(column)} must be 1, 0, -1 or empty, got {quoted(row[column])}"
        )
    return value


def _is_csv(path: str | Path) -> bool:
    return Path(path).suffix.lower() in (*SUFFIXES, *REFUSED) and Path(path).is_file()


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
