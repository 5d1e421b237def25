"""Tables as spreadsheets, pandas and Windows write them."""

from __future__ import annotations

import codecs
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from fgsbir.cli import main
from fgsbir.data import SketchPhotoSet, load_csv, open_dataset
from fgsbir.data.tables import read_table, read_tristate

HEAD = "sketch,photo,id,split,attr:open toe,attr:heel"
ROWS = [
    f"sketches/{n}.png,photos/{n}.jpg,{n},{'test' if n in 'ef' else 'train'},{i % 2},1"
    for i, n in enumerate("abcdef")
]
TEXT = "\n".join([HEAD, *ROWS]) + "\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    for name in "abcdef":
        for inner, suffix in (("photos", "jpg"), ("sketches", "png")):
            path = folder / inner / f"{name}.{suffix}"
            path.parent.mkdir(exist_ok=True)
            Image.new("RGB", (32, 32), "white").save(path)
    return folder


def load(folder: Path, content: str | bytes, name: str = "pairs.csv") -> SketchPhotoSet:
    """Reads a table; text is of UTF-8."""
    content = content if isinstance(content, bytes) else content.encode()
    (folder / name).write_bytes(content)
    return open_dataset(folder / name)


def with_index(head: str) -> str:
    return "\n".join([f"{head}{HEAD}", *(f"{i},{row}" for i, row in enumerate(ROWS))]) + "\n"


def edited(*edits: tuple[str, str]) -> str:
    text = TEXT
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    return text


def ended(end: str) -> str:
    return TEXT.replace("\n", end)


BAR = TEXT.replace(",", "|")
SEMICOLONS = TEXT.replace(",", ";")
GOOD: dict[str, str | bytes] = {
    "as it should be": TEXT,
    "floats of pandas": edited((",0,1\n", ",0.0,1.0\n"), (",1,1\n", ",1.0,1.0\n")),
    "floats with a comma": SEMICOLONS.replace(";0;1\n", ";0,0;1,0\n"),
    "words of Excel": edited((",0,1\n", ",FALSE,TRUE\n"), (",1,1\n", ",TRUE,true\n")),
    "yes and no": edited((",0,1\n", ",no,yes\n"), (",1,1\n", ",Yes,YES\n")),
    "an index of pandas": with_index(","),
    "an index that was read back": with_index("Unnamed: 0,"),
    "an index that was reset": with_index("index,"),
    "an index that was saved twice": with_index(",Unnamed: 0,").strip().replace("\n", "\n0.0,"),
    "an index of several levels": with_index("level_0,index,").strip().replace("\n", "\n-1,"),
    "empty columns with names": "\n".join(
        [f"Unnamed: 5,{HEAD},notes", *(f",{row},NaN" for row in ROWS)]
    ),
    "two marks": b"\xef\xbb\xbf" + TEXT.encode("utf-8-sig"),
    "numbers of NumPy": edited((",0,1\n", ",0.000000e+00,1e0\n"), (",1,1\n", ",1e+00,1E0\n")),
    "empty columns behind": "\n".join(f"{line},," for line in [HEAD, *ROWS]),
    "empty lines before and between": "\n\n" + TEXT.replace("\n", "\n\n,,,,,\n"),
    "semicolons": SEMICOLONS,
    "tabs": TEXT.replace(",", "\t"),
    "bars": BAR,
    "Excel's separator line": "sep=;\n" + SEMICOLONS,
    "Excel's separator line with tabs": "sep=\t\r\n" + TEXT.replace(",", "\t"),
    "lines of Windows": ended("\r\n"),
    "lines of old Macs": ended("\r"),
    "UTF-8 with a mark": TEXT.encode("utf-8-sig"),
    "UTF-16": TEXT.encode("utf-16"),
    "UTF-16, the other way": codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
    "UTF-16 without a mark": TEXT.encode("utf-16-le"),
    "UTF-16 without a mark, the other way": TEXT.encode("utf-16-be"),
    "UTF-16 of Excel, with tabs": TEXT.replace(",", "\t").replace("\n", "\r\n").encode("utf-16"),
    "UTF-32": TEXT.encode("utf-32"),
    "paths of Windows": edited(("sketches/", "sketches\\"), ("photos/", ".\\photos\\")),
    "paths in other letters": edited(("photos/a.jpg", "Photos/A.JPG"), ("s/b.png", "s/B.png")),
    "names of columns in capitals": edited(
        ("sketch,photo,id,split,attr:", "Sketch,PHOTO,Id,Split,Attr:")
    ),
    "splits in capitals": edited(("train", "Train"), ("test", "TEST")),
    "quotes around everything": "\n".join(
        ",".join(f'"{field}"' for field in line.split(",")) for line in [HEAD, *ROWS]
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_tables_are_read_however_they_were_saved(name: str, folder: Path) -> None:
    data = load(folder, GOOD[name])
    assert data.attribute_names == ("open toe", "heel")
    assert data.photo_attributes is not None
    assert data.photo_attributes.tolist() == [[0, 1], [1, 1], [0, 1], [1, 1]]
    assert data.sketch_labels.tolist() == data.photo_labels.tolist() == [0, 1, 2, 3]
    assert [path.name for path in data.photos.paths] == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    assert data.photos[0].shape == (256, 256, 3)


def test_a_file_of_tabs_may_end_in_tsv(folder: Path) -> None:
    assert len(load(folder, TEXT.replace(",", "\t"), "pairs.tsv").photos) == 4


def test_a_spreadsheet_by_its_ending_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"pairs\.xlsx: is a spreadsheet, no CSV file; save it as"):
        load(folder, b"PK\3\4rest", "pairs.xlsx")
    with pytest.raises(ValueError, match=r"pairs\.ods: is a spreadsheet"):
        load(folder, b"PK\3\4rest", "pairs.ods")


@pytest.mark.parametrize("text", ["NaN", "nan", "", "NA", "N/A", "#N/A", "None", "null", "<NA>"])
def test_what_stands_for_nothing_is_unknown(text: str, folder: Path) -> None:
    data = load(folder, edited((",a,train,0,", f",a,train,{text},")))
    assert data.photo_attributes is not None
    assert data.photo_attributes[0].tolist() == [-1, 1]
    data = load(folder, edited(("sketches/a.png", text)))  # a photo that nobody sketched
    assert (len(data.photos), len(data.sketches)) == (4, 3)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1), ("0", 0), ("-1", -1), ("1.0", 1), ("0.000", 0), ("-1.0", -1), ("-0.0", 0),
     ("1,0", 1), ("+1", 1), ("2", None), ("0.5", None), ("1.01", None), ("-2.0", None),
     ("maybe", None), ("\u0661", None), ("1e0", 1), ("0.000000e+00", 0), ("1" * 5000, None)],
)  # fmt: skip
def test_attributes_are_whole(text: str, value: int | None) -> None:
    assert read_tristate(text) == value


def test_a_column_of_nothing_is_none(folder: Path) -> None:
    """Without splits a fifth is held out, and without ids the photo is the id."""
    for nothing in ("", "NaN", "null"):
        lines = ["sketch,photo,id,split"]
        lines += [f"sketches/{n}.png,photos/{n}.jpg,{nothing},{nothing}" for n in "abcdef"]
        (folder / "bare.csv").write_text("\n".join(lines))
        sets = [load_csv(folder / "bare.csv", split) for split in ("train", "test")]
        assert [len(one.photos) for one in sets] == [5, 1]
        assert len(set(sets[0].photo_labels)) == 5


def test_an_attribute_that_nothing_is_known_of_is_one(folder: Path) -> None:
    text = edited((",0,1\n", ",,1\n"), (",1,1\n", ",NaN,1\n"))
    data = load(folder, text)
    assert data.attribute_names == ("open toe", "heel")
    assert data.photo_attributes is not None
    assert set(data.photo_attributes[:, 0]) == {-1}


def test_an_attribute_has_one_column(folder: Path) -> None:
    for head in ("attr:open toe,ATTR:open toe", "attr:open toe,attr: open toe"):
        text = edited(("attr:open toe,attr:heel", head))
        with pytest.raises(ValueError, match=r"pairs\.csv:1: attribute 'open toe' has 2 columns"):
            load(folder, text)


def test_windows_letters_are_read(folder: Path) -> None:
    text = edited(("attr:heel", "attr:Absatz \u2013 größer"), (",a,", ",Müller,"))
    data = load(folder, text.encode("cp1252"))
    assert data.attribute_names == ("open toe", "Absatz \u2013 größer")


def test_names_are_compared_in_one_form(folder: Path) -> None:
    apart, together = (unicodedata.normalize(form, "bärü") for form in ("NFD", "NFC"))
    assert apart != together
    Image.new("RGB", (32, 32)).save(folder / "photos" / f"{apart}.jpg")
    Image.new("RGB", (32, 32)).save(folder / "sketches" / f"{together}.png")
    for form in (apart, together):
        line = f"sketches/{form}.png,photos/{form}.jpg,{form},train,1,0\n"
        assert load(folder, TEXT + line).photos.paths[-1].name == f"{apart}.jpg"


def test_one_file_is_one_photo_however_it_is_written(folder: Path) -> None:
    lines = ["sketch,photo", "sketches/a.png,photos/a.jpg", "sketches\\b.png,photos\\a.jpg"]
    (folder / "two.csv").write_text("\n".join([*lines, "sketches/c.png,photos/c.jpg"]))
    sets = [load_csv(folder / "two.csv", "train"), load_csv_or_none(folder / "two.csv", "test")]
    assert sum(len(one.photos) for one in sets if one) == 2


def load_csv_or_none(path: Path, split: str) -> SketchPhotoSet | None:
    try:
        return load_csv(path, split)
    except ValueError:  # nothing was held out
        return None


def test_of_several_names_that_are_alike_none_is_taken(folder: Path) -> None:
    for name in ("X.jpg", "x.JPG"):
        Image.new("RGB", (32, 32)).save(folder / "photos" / name, "JPEG")
    with pytest.raises(FileNotFoundError, match=r"pairs\.csv:2: photo: no such file"):
        load(folder, edited(("photos/a.jpg", "photos/x.jpg")))


CYRILLIC = edited(("attr:heel", "attr:каблук"))
BAD: dict[str, tuple[str | bytes, str]] = {
    "letters of another script": (CYRILLIC.encode("cp1251"), r":1: not UTF-8 .*'CSV UTF-8'"),
    "Japanese letters": (edited(("attr:heel", "attr:写真")).encode("shift_jis"), r":1: not UTF-8"),
    "no text": (b"sketch,photo\n\xff\xfe\x00", r":2: not UTF-8"),
    "UTF-16 behind other letters": (b"ab" + TEXT.encode("utf-16-le"),
                                    r":1: has a character of code 0, .*'CSV UTF-8'"),
    "UTF-16 that is cut off": (TEXT.encode("utf-16")[:-1], r":.*: not UTF-16"),
    "a spreadsheet": (b"PK\3\4rest", r": is a spreadsheet, no CSV file; save it as 'CSV UTF-8'"),
    "an old spreadsheet": (b"\xd0\xcf\x11\xe0rest", r": is an old spreadsheet"),
    "Parquet": (b"PAR1rest", r": is Parquet"),
    "colons": (TEXT.replace("attr:", "a").replace(",", ":"), r":1: no column 'sketch'.*commas"),
    "a column without a name": (with_index(",").replace("\n1,", "\nx,"),
                                r":1: column 1 has values and no name; name or delete it"),
    "a value between": (edited((",a,train,0,", ",a,train,0.5,")), r":2: column 'attr:open toe'"),
    "a number on a separator line": ("sep=;\n" + SEMICOLONS.replace("a;train;0", "a;train;7"),
                                     r":3: column 'attr:open toe' must be .* got '7'"),
    "a path of another machine": (edited(("photos/a.jpg", r"C:\Users\me\a.jpg")),
                                  r":2: photo: .* is on a Windows machine; write it relative"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_ambiguous_is_one_sentence(name: str, folder: Path) -> None:
    content, message = BAD[name]
    with pytest.raises((ValueError, FileNotFoundError), match=rf"pairs\.csv{message}"):
        load(folder, content)


def test_names_of_columns_are_cut_however_they_are_escaped(folder: Path) -> None:
    odd = "".join(f"attr:{chr(0xE0001) * 50}{i}," for i in range(9))
    with pytest.raises(ValueError, match="no column 'sketch'") as refusal:
        load(folder, f"{odd}photo\n")
    assert len(str(refusal.value)) < 700 + len(str(folder))


def test_a_long_table_is_read_quickly(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_text("name,heel\n" + "".join(f"photo{i},{i % 2}.0\n" for i in range(20_000)))
    table = read_table(path, ("name",), ("name",))
    assert (len(table.rows), table.columns) == (20_000, ["name", "heel"])
    assert table.rows[-1] == (f"{path}:20001", {"name": "photo19999", "heel": "1.0"})


def test_the_command_line_ends_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (folder / "pairs.csv").write_bytes(CYRILLIC.encode("cp1251"))
    assert main(["train", "--data", str(folder / "pairs.csv"), "--out", str(tmp_path / "run")]) == 2
    err = capsys.readouterr().err
    assert err.startswith("fgsbir: error: ")
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()
