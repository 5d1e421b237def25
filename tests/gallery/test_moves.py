"""Folders that were renamed, moved or lost, links that moved on, copies and deleted photos."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from fgsbir.cli import main
from fgsbir.cli.index import Index
from fgsbir.data import SketchPhotoSet, synthetic
from fgsbir.gallery import Gallery, Match
from fgsbir.gallery.figures import draw_map, draw_search
from tests.support.gallery_cases import save_model, write_photos

COUNT = 6


@pytest.fixture(scope="module")
def data() -> SketchPhotoSet:
    return synthetic("shoes", 2 * COUNT, "test")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    save_model(folder)
    return folder


@pytest.fixture
def gallery(tmp_path: Path, data: SketchPhotoSet, model: Path) -> Path:
    """The gallery of photos/ beside it."""
    write_photos(data, tmp_path / "photos", range(COUNT))
    Gallery.build(tmp_path / "photos", model, tmp_path / "gallery", progress=False)
    return tmp_path / "gallery"


def index(*arguments: Path | str) -> int:
    return main(["index", *map(str, arguments)])


def paths(gallery: Path) -> set[Path]:
    rows = Gallery.load(gallery).rows()
    assert len(set(rows.paths)) == len(rows)
    return {Path(path) for path in rows.paths}


def names(folder: Path) -> set[Path]:
    return set(folder.rglob("*.png"))


def test_a_renamed_folder_is_recognised(
    gallery: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = (tmp_path / "photos").rename(tmp_path / "shoes")
    assert index(new, "--out", gallery) == 0
    out, err = capsys.readouterr()
    assert "6 photos (0 embedded, 6 as they were, 0 removed" in out
    assert (
        f"{tmp_path / 'photos'} is gone, and its photos lie in {new}: they were taken over" in err
    )
    assert paths(gallery) == names(new)


def test_a_renamed_folder_is_recognised_though_it_changed(
    gallery: Path, tmp_path: Path, data: SketchPhotoSet
) -> None:
    new = (tmp_path / "photos").rename(tmp_path / "shoes")
    (new / "000.png").unlink()
    write_photos(data, new, range(COUNT, COUNT + 2))
    added = Gallery.load(gallery).add(new)
    assert (added.count, added.unchanged, added.removed) == (2, 5, 1)
    assert paths(gallery) == names(new)


def test_another_folder_is_not_taken_for_the_one_that_is_gone(
    gallery: Path, tmp_path: Path, data: SketchPhotoSet, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    write_photos(data, tmp_path / "others", range(COUNT, 2 * COUNT))
    assert index(tmp_path / "others", "--out", gallery) == 0
    out, err = capsys.readouterr()
    assert "12 photos (6 embedded" in out
    gone = tmp_path / "photos"
    assert f"note: {gone} is gone, with 6 photos of the gallery" in err
    assert f"--moved {gone} NEW, else --forget {gone}" in err
    assert index("--out", gallery, "--moved", gone, tmp_path / "elsewhere") == 0
    assert "12 photos\n" in capsys.readouterr().out
    assert paths(gallery) == names(tmp_path / "others") | names(tmp_path / "elsewhere")


def test_a_copy_of_the_folder_is_no_move(gallery: Path, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "photos", tmp_path / "copy")  # with the same times
    added = Gallery.load(gallery).add(tmp_path / "copy")
    assert added.count == COUNT
    assert len(paths(gallery)) == 2 * COUNT


def test_moved_photos_keep_their_numbers(gallery: Path, tmp_path: Path) -> None:
    before = Gallery.load(gallery)
    numbers = {before.photo_path(i).name: i for i in before.numbers(COUNT)}
    new = (tmp_path / "photos").rename(tmp_path / "shoes")
    loaded = Gallery.load(gallery)
    loaded.move({tmp_path / "photos": new})
    assert {loaded.photo_path(i).name: i for i in loaded.numbers(COUNT)} == numbers
    assert paths(gallery) == names(new)
    loaded.move({tmp_path / "photos": new})  # once more changes nothing
    assert paths(gallery) == names(new)


def test_photos_that_are_there_already_are_not_twice(gallery: Path, tmp_path: Path) -> None:
    """As after indexing the renamed folder by a version that did not recognise it."""
    shutil.copytree(tmp_path / "photos", tmp_path / "shoes")
    loaded = Gallery.load(gallery)
    loaded.add(tmp_path / "shoes")
    shutil.rmtree(tmp_path / "photos")
    assert len(paths(gallery)) == 2 * COUNT
    assert index(tmp_path / "shoes", "--out", gallery,
                 "--moved", tmp_path / "photos", tmp_path / "shoes") == 0  # fmt: skip
    assert paths(gallery) == names(tmp_path / "shoes")


def test_a_folder_may_be_forgotten(
    gallery: Path, tmp_path: Path, data: SketchPhotoSet, capsys: pytest.CaptureFixture[str]
) -> None:
    write_photos(data, tmp_path / "others", range(COUNT, 2 * COUNT))
    shutil.rmtree(tmp_path / "photos")
    assert index(tmp_path / "others", "--out", gallery, "--forget", tmp_path / "photos") == 0
    out, err = capsys.readouterr()
    assert "6 photos (6 embedded" in out
    assert f"6 photos of {tmp_path / 'photos'} forgotten" in err
    assert "is gone" not in err
    assert paths(gallery) == names(tmp_path / "others")
    assert index("--out", gallery, "--forget", tmp_path / "others" / "inner") == 0
    assert paths(gallery) == set((tmp_path / "others").glob("*.png"))
    assert index("--out", gallery, "--forget", tmp_path / "never") == 0
    assert f"0 photos of {tmp_path / 'never'} forgotten" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "PHOTOS: expected a folder; or --out GALLERY with --moved or --forget"),
        (["--forget", "photos"], "PHOTOS: expected a folder"),
        (["--out", "none", "--forget", "photos"], "none: no gallery here"),
        (["photos", "--out", "none", "--moved", "a", "b"], "none: no gallery here"),
        (["--out", "gallery", "--moved", "photos", "none"], "moved: no such folder: none"),
        (["--out", "gallery", "--moved", "none", "model"], "none is no folder of the gallery; its"),
        (["--out", "gallery", "--moved", "photos", "model"], "none of the photos of photos is in"),
        (
            ["--out", "gallery", "--moved", "photos", "model", "--moved", "model", "none"],
            "moved: no such folder: none",
        ),
    ],
)
def test_moves_that_are_none_are_one_line(
    arguments: list[str],
    message: str,
    gallery: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("model").mkdir()
    assert index(*arguments) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("fgsbir: error: ")
    assert message in error
    assert not Path("none").exists()
    assert paths(gallery) == names(tmp_path / "photos")


def test_all_may_be_forgotten(
    gallery: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert index("--out", gallery, "--forget", tmp_path / "photos") == 0
    assert "gallery: 0 photos" in capsys.readouterr().out


def test_folders_inside_of_each_other_move_together(
    tmp_path: Path, data: SketchPhotoSet, model: Path
) -> None:
    write_photos(data, tmp_path / "photos", range(COUNT))
    built = Gallery.build(tmp_path / "photos" / "inner", model, tmp_path / "gallery",
                          progress=False)  # fmt: skip
    built.add(tmp_path / "photos")
    new = (tmp_path / "photos").rename(tmp_path / "shoes")
    added = built.add(new)
    assert (added.count, added.removed) == (0, 0)
    assert paths(tmp_path / "gallery") == names(new)
    again = new.rename(tmp_path / "again")
    built.move({new: again})
    assert paths(tmp_path / "gallery") == names(again)
    built.move({again: again.rename(tmp_path / "photos")})
    assert paths(tmp_path / "gallery") == names(tmp_path / "photos")


def test_folders_are_merged_and_swapped(
    gallery: Path, tmp_path: Path, data: SketchPhotoSet
) -> None:
    write_photos(data, tmp_path / "others", range(COUNT, 2 * COUNT))
    loaded = Gallery.load(gallery)
    loaded.add(tmp_path / "others")
    (tmp_path / "photos").rename(tmp_path / "middle")
    (tmp_path / "others").rename(tmp_path / "photos")
    (tmp_path / "middle").rename(tmp_path / "others")
    arguments = ("--moved", tmp_path / "photos", tmp_path / "others")
    arguments += ("--moved", tmp_path / "others", tmp_path / "photos")
    assert index("--out", gallery, *arguments) == 0
    assert paths(gallery) == names(tmp_path / "photos") | names(tmp_path / "others")
    for photo in names(tmp_path / "photos"):
        target = tmp_path / "others" / photo.relative_to(tmp_path / "photos")
        photo.rename(target)
    loaded = Gallery.load(gallery)
    loaded.move({tmp_path / "photos": tmp_path / "others"})
    assert paths(gallery) == names(tmp_path / "others")
    (tmp_path / "others").rename(tmp_path / "all")
    loaded.move({tmp_path / "others": tmp_path / "all"})
    assert paths(gallery) == names(tmp_path / "all")
    assert loaded.add(tmp_path / "all").unchanged == 2 * COUNT


def test_links_that_lead_in_a_circle_are_no_folders(
    gallery: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    circle = tmp_path / "circle"
    circle.symlink_to(circle)
    assert index("--out", gallery, "--forget", circle) == 0
    assert index("--out", gallery, "--moved", circle, tmp_path / "photos") == 0
    assert index("--out", gallery, "--moved", tmp_path / "photos", circle) == 2
    (tmp_path / "photos").rename(tmp_path / "others")
    (tmp_path / "photos").symlink_to(tmp_path / "photos")
    assert index(tmp_path / "others", "--out", gallery) == 0
    assert paths(gallery) == names(tmp_path / "others")
    assert "Traceback" not in capsys.readouterr().err


def test_the_copy_of_a_part_is_not_taken_for_a_disk_that_is_away(
    gallery: Path, tmp_path: Path
) -> None:
    (tmp_path / "photos").rename(tmp_path / "away")
    shutil.copytree(tmp_path / "away", tmp_path / "part")
    for photo in sorted(names(tmp_path / "part"))[:2]:
        photo.unlink()
    Gallery.load(gallery).add(tmp_path / "part")
    assert len(paths(gallery)) == COUNT + COUNT - 2


def test_a_folder_by_a_link_is_forgotten_by_its_own_path(
    tmp_path: Path, data: SketchPhotoSet, model: Path
) -> None:
    write_photos(data, tmp_path / "v1", range(2))
    (tmp_path / "photos").symlink_to("v1")
    built = Gallery.build(tmp_path / "photos", model, tmp_path / "gallery", progress=False)
    assert built.forget(tmp_path / "v1" / "inner") == 1


def test_a_link_that_moved_on_is_followed(
    tmp_path: Path, data: SketchPhotoSet, model: Path
) -> None:
    write_photos(data, tmp_path / "v1", range(COUNT))
    shutil.copytree(tmp_path / "v1", tmp_path / "v2")
    (tmp_path / "v2" / "000.png").unlink()
    write_photos(data, tmp_path / "v2", range(COUNT, COUNT + 1))
    link = tmp_path / "photos"
    link.symlink_to("v1")
    built = Gallery.build(link, model, tmp_path / "gallery", progress=False)
    assert paths(tmp_path / "gallery") == {link / p.relative_to(tmp_path / "v1")
                                           for p in names(tmp_path / "v1")}  # fmt: skip
    link.unlink()
    link.symlink_to("v2")
    added = built.add(link)
    assert (added.count, added.unchanged, added.removed) == (1, 5, 1)
    assert {path.resolve() for path in paths(tmp_path / "gallery")} == names(tmp_path / "v2")


def test_one_folder_by_two_paths_is_one_folder(gallery: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    loaded = Gallery.load(gallery)
    for again in (tmp_path / "link" / "photos", tmp_path / "photos" / "inner"):
        added = loaded.add(again)
        assert (added.count, added.removed) == (0, 0)
    one = loaded.add(tmp_path / "link" / "photos" / "000.png")
    assert (one.count, one.unchanged) == (0, 1)
    assert len(paths(gallery)) == COUNT


def test_copies_are_shown_once(
    gallery: Path, tmp_path: Path, data: SketchPhotoSet, capsys: pytest.CaptureFixture[str]
) -> None:
    sketch = tmp_path / "sketch.png"
    Image.fromarray(data.sketches[0]).save(sketch)
    loaded = Gallery.load(gallery)
    before = [match.index for match in loaded.search(sketch, COUNT)]
    best = loaded.search(sketch, 1)[0].path
    for i in range(12):
        shutil.copyfile(best, tmp_path / "photos" / f"copy{i}.png")
    loaded.add(tmp_path / "photos")
    assert len(loaded) == COUNT + 12
    for k in (1, 3, COUNT, 100):
        matches = loaded.search(sketch, k)
        assert [match.index for match in matches] == before[:k]
        assert len(matches[0].copies) == 12
        assert {path.name for path in matches[0].copies} == {f"copy{i}.png" for i in range(12)}
        assert not any(match.copies for match in matches[1:])
    assert main(["search", str(gallery), str(sketch), "-k", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(f"{best} and 12 copies" in line for line in lines) == 1
    assert main(["search", str(gallery), str(sketch), "-k", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["matches"]
    assert sorted(found[0]["copies"]) == sorted(map(str, matches[0].copies))


def test_copies_may_differ_in_what_is_no_pixel(
    gallery: Path, tmp_path: Path, data: SketchPhotoSet
) -> None:
    loaded = Gallery.load(gallery)
    best = loaded.search(data.sketches[0], 1)[0].path
    exif = Image.Exif()
    exif[0x010E] = "a description"
    Image.open(best).save(tmp_path / "photos" / "described.webp", lossless=True, exif=exif)
    Image.open(best).save(tmp_path / "photos" / "packed.png", compress_level=0)
    loaded.add(tmp_path / "photos")
    first = loaded.search(data.sketches[0], 1)[0]
    assert {path.name for path in first.copies} == {"described.webp", "packed.png"}


@pytest.mark.parametrize("index_name", ["exact", "faiss"])
def test_many_copies_leave_room_for_others(
    index_name: str, tmp_path: Path, data: SketchPhotoSet, model: Path
) -> None:
    if index_name == "faiss":
        pytest.importorskip("faiss")
    paths = write_photos(data, tmp_path / "photos", range(4))
    for path in paths:
        for i in range(30):
            shutil.copyfile(path, path.with_name(f"{path.stem}-{i}.png"))
    gallery = Gallery.build(
        tmp_path / "photos", model, tmp_path / "gallery", index=index_name, progress=False
    )
    matches = gallery.search(data.sketches[0], 4)
    assert len({match.path.stem[:3] for match in matches}) == 4
    assert [len(match.copies) for match in matches] == [30] * 4


def test_other_photos_that_look_the_same_are_not_copies(
    tmp_path: Path, data: SketchPhotoSet, model: Path
) -> None:
    """A model of edges cannot tell these apart."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, grey in enumerate((200, 220, 240)):
        Image.new("L", (64, 64), grey).save(folder / f"{i}.bmp")
    gallery = Gallery.build(folder, model, tmp_path / "gallery", progress=False)
    matches = gallery.search(data.sketches[0], 3)
    assert [match.copies for match in matches] == [(), (), ()]


def test_of_copies_one_that_is_there_is_shown(
    gallery: Path, tmp_path: Path, data: SketchPhotoSet
) -> None:
    loaded = Gallery.load(gallery)
    best = loaded.search(data.sketches[0], 1)[0].path
    copy = tmp_path / "photos" / "z.png"
    shutil.copyfile(best, copy)
    loaded.add(tmp_path / "photos")
    best.unlink()
    first = loaded.search(data.sketches[0], 2)[0]
    assert (first.path, first.copies) == (copy, (best,))


def test_a_deleted_photo_ends_no_picture(
    gallery: Path, tmp_path: Path, data: SketchPhotoSet, capsys: pytest.CaptureFixture[str]
) -> None:
    sketch = tmp_path / "sketch.png"
    Image.fromarray(data.sketches[0]).save(sketch)
    matches: list[Match] = Gallery.load(gallery).search(sketch, 5)
    matches[1].path.unlink()
    matches[2].path.write_bytes(b"no image")
    picture = tmp_path / "found.png"
    assert main(["search", str(gallery), str(sketch), "--picture", str(picture)]) == 0
    assert "note: 1 of these photos are gone" in capsys.readouterr().err
    assert min(Image.open(picture).size) > 100
    assert draw_search(sketch, {}, matches, tmp_path / "drawn.png").is_file()
    assert draw_map(Gallery.load(gallery), tmp_path / "map.png").is_file()
    os.mkfifo(matches[1].path)  # opening it would wait for ever
    assert draw_map(Gallery.load(gallery), tmp_path / "map.png").is_file()
    shutil.rmtree(tmp_path / "photos")
    assert draw_map(Gallery.load(gallery), tmp_path / "map.png").is_file()


def test_a_reader_that_has_enough_is_no_error(gallery: Path, tmp_path: Path,
                                              data: SketchPhotoSet) -> None:  # fmt: skip
    sketch = tmp_path / "sketch.png"
    Image.fromarray(data.sketches[0]).save(sketch)
    command = [sys.executable, "-u", "-m", "fgsbir", "search", str(gallery), str(sketch)]
    searching = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ}
    )
    assert searching.stdout is not None
    searching.stdout.close()
    assert searching.stderr is not None
    assert searching.stderr.read() == b""
    assert searching.wait() == 0


@pytest.mark.parametrize(
    ("arguments", "redirected", "code"),
    [
        ("--help", ">&- 2>&-", 0),
        ("index --out '{gallery}' --forget none", ">&-", 0),
        ("index --moved a b", "2>&-", 2),
    ],
)
def test_output_that_is_closed_before_is_no_error(
    arguments: str, redirected: str, code: int, gallery: Path
) -> None:
    """Of the shell: >&-, 2>&-, and an error that nobody reads."""
    command = f"'{sys.executable}' -m fgsbir {arguments.format(gallery=gallery)} {redirected}"
    done = subprocess.run(command, shell=True, capture_output=True)
    assert done.returncode == code
    assert b"Traceback" not in done.stdout + done.stderr


def test_a_pipe_that_broke_elsewhere_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(self: Index) -> None:
        raise BrokenPipeError(32, "the database has gone")

    monkeypatch.setattr(Index, "run", fail)
    assert main(["index", "photos"]) == 2
    assert "the database has gone" in capsys.readouterr().err


def test_letters_that_the_terminal_lacks_are_replaced(
    gallery: Path, tmp_path: Path, data: SketchPhotoSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = (tmp_path / "photos").rename(tmp_path / "bärenschuhe 靴")
    sketch = tmp_path / "sketch.png"
    Image.fromarray(data.sketches[0]).save(sketch)
    for arguments in (
        ["index", str(new), "--out", str(gallery)],
        ["search", str(gallery), str(sketch)],
    ):
        shown = io.BytesIO()
        for stream in ("stdout", "stderr"):
            monkeypatch.setattr(sys, stream, io.TextIOWrapper(shown, "ascii", write_through=True))
        assert main(arguments) == 0
        assert b"b?renschuhe ?" in shown.getvalue()
