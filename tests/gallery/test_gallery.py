"""Galleries: building, adding, removing, searching."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fgsbir.atomic_files import exclusive
from fgsbir.config import EvalConfig
from fgsbir.data import SketchPhotoSet, synthetic
from fgsbir.evaluation.ranking import rank
from fgsbir.gallery import Gallery, Match
from fgsbir.gallery import add as adding
from fgsbir.models.checkpoint import Run
from tests.support.gallery_cases import NAMES, save_model, write_photos

COUNT = 12


@pytest.fixture(scope="module")
def data() -> SketchPhotoSet:
    return synthetic("shoes", COUNT + 4, "test")


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    save_model(folder)
    return folder


@pytest.fixture(scope="module")
def run(run_folder: Path) -> Run:
    return save_model(run_folder)


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory, data: SketchPhotoSet, run_folder: Path
) -> Gallery:
    """A gallery that tests only search."""
    folder = tmp_path_factory.mktemp("shared")
    write_photos(data, folder / "photos", range(COUNT))
    return Gallery.build(folder / "photos", run_folder, folder / "gallery", progress=False)


@pytest.fixture
def build(tmp_path: Path, run_folder: Path) -> Callable[[], Gallery]:
    """Builds, or brings up to date, the gallery of `tmp_path / "photos"`."""
    return lambda: Gallery.build(
        tmp_path / "photos", run_folder, tmp_path / "gallery", progress=False
    )


@pytest.mark.parametrize("mu", [0.0, 0.7])
def test_ranks_as_evaluation_does(
    shared: Gallery, data: SketchPhotoSet, run: Run, mu: float
) -> None:
    expected = rank(
        run.model, data.take(range(COUNT), range(COUNT)), EvalConfig(attribute_weight=mu)
    )
    for i in range(COUNT):
        matches = shared.search(data.sketches[i], COUNT, attribute_weight=mu)
        assert [int(match.path.stem) for match in matches] == expected.order[i].tolist()
        distances = torch.tensor([match.distance for match in matches])
        torch.testing.assert_close(distances, expected.distances[i], atol=1e-5, rtol=1e-4)


def test_a_match_is_explained(shared: Gallery, data: SketchPhotoSet) -> None:
    sketch = shared.predicted(data.sketches[0])
    assert tuple(sketch) == shared.attribute_names == NAMES
    for match in shared.search(data.sketches[0], COUNT, attribute_weight=0.5):
        d, big_d = match.embedding_distance, match.attribute_distance
        assert match.distance == pytest.approx(d + 0.5 * big_d)
        differences = [match.attributes[name] - sketch[name] for name in NAMES]
        assert big_d == pytest.approx(sum(x * x for x in differences), rel=1e-4)
        same = {n for n in NAMES if (match.attributes[n] > 0.5) == (sketch[n] > 0.5)}
        assert set(match.agree) == same
        assert set(match.differ) == set(NAMES) - same
        assert shared.photo_path(match.index) == match.path


@pytest.mark.parametrize("mu", [0.0, 0.7])
@pytest.mark.parametrize(
    "required", [{NAMES[0]: True}, {NAMES[0]: False, NAMES[1]: True}, dict.fromkeys(NAMES, True)]
)
def test_required_attributes_filter(
    shared: Gallery, data: SketchPhotoSet, required: dict[str, bool], mu: float
) -> None:
    everything = shared.search(data.sketches[1], COUNT, attribute_weight=mu)
    expected = [
        match
        for match in everything
        if all((match.attributes[name] > 0.5) == on for name, on in required.items())
    ]
    for k in (1, 3, COUNT):
        found = shared.search(data.sketches[1], k, attribute_weight=mu, required=required)
        assert [match.index for match in found] == [match.index for match in expected[:k]]


def test_attributes_filter_some(shared: Gallery, data: SketchPhotoSet) -> None:
    on = [len(shared.search(data.sketches[1], COUNT, required={n: True})) for n in NAMES]
    assert any(0 < count < COUNT for count in on)  # or the test above compares nothing


def test_any_kind_of_sketch(shared: Gallery, data: SketchPhotoSet, tmp_path: Path) -> None:
    drawn = data.sketches[2]
    expected = numbers(shared.search(drawn))
    grey = Image.fromarray(drawn)
    grey.save(tmp_path / "sketch.png")
    clear = np.zeros((*drawn.shape, 4), dtype=np.uint8)
    clear[..., 3] = 255 - drawn  # black ink on nothing, as a canvas exports it
    coloured = np.stack([drawn] * 3, -1)
    kinds = (tmp_path / "sketch.png", str(tmp_path / "sketch.png"), grey, clear, coloured)
    for sketch in (*kinds, Image.fromarray(clear), drawn[:, ::-1][:, ::-1]):
        assert numbers(shared.search(sketch)) == expected


def test_fewer_than_k(shared: Gallery, data: SketchPhotoSet) -> None:
    assert len(shared.search(data.sketches[0], 10**12)) == COUNT == len(shared)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"k": 0}, ValueError, "k: expected 1 or more, got 0"),
        ({"attribute_weight": -1.0}, ValueError, "attribute_weight: .*got -1"),
        ({"attribute_weight": float("nan")}, ValueError, "attribute_weight: .*got nan"),
        ({"required": {"wings": True}}, ValueError, "no attribute 'wings'; .*open toe"),
        ({"sketch": "no/such.png"}, FileNotFoundError, r"no/such\.png"),
        ({"sketch": __file__}, ValueError, "cannot decode image"),
        ({"sketch": 5}, TypeError, "sketch: .*got int"),
        ({"sketch": np.zeros((4, 4))}, TypeError, "uint8, got float64"),
        ({"sketch": np.zeros((4, 4, 2), np.uint8)}, ValueError, r"got \(4, 4, 2\)"),
        ({"sketch": np.zeros((0, 4), np.uint8)}, ValueError, r"got \(0, 4\)"),
    ],
)
def test_wrong_arguments(
    shared: Gallery,
    data: SketchPhotoSet,
    arguments: dict[str, object],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        shared.search(**{"sketch": data.sketches[0], **arguments})  # type: ignore[arg-type]


def test_no_photo_of_that_number(shared: Gallery) -> None:
    for number in (-1, COUNT):
        with pytest.raises(IndexError, match=str(number)):
            shared.photo_path(number)


def test_a_model_without_attributes(tmp_path: Path, data: SketchPhotoSet) -> None:
    save_model(tmp_path / "run", names=())
    write_photos(data, tmp_path / "photos", range(3))
    Gallery.build(tmp_path / "photos", tmp_path / "run", tmp_path / "g", progress=False)
    gallery = Gallery.load(tmp_path / "g")
    assert gallery.attribute_names == ()
    assert gallery.predicted(data.sketches[0]) == {}
    matches = gallery.search(data.sketches[0])
    assert [(m.attributes, m.agree, m.differ) for m in matches] == [({}, (), ())] * 3
    with pytest.raises(ValueError, match="predicts no attributes"):
        gallery.search(data.sketches[0], attribute_weight=1)


def test_what_is_no_photo_is_skipped_and_listed(
    tmp_path: Path, data: SketchPhotoSet, build: Callable[[], Gallery]
) -> None:
    photos = tmp_path / "photos"
    write_photos(data, photos, range(2))
    odd = os.fsdecode(b"caf\xe9.png")  # not UTF-8
    Image.fromarray(data.photos[2]).save(photos / odd)
    (photos / "notes.txt").write_text("no photo")
    (photos / "._000.png").write_bytes(b"hidden")
    (photos / "empty.jpg").write_bytes(b"")
    whole = (photos / "000.png").read_bytes()
    (photos / "cut.PNG").write_bytes(whole[: len(whole) // 2])
    (photos / "gone.png").symlink_to(photos / "nothing")
    os.mkfifo(photos / "pipe.png")  # opening it would wait for ever
    (photos / "red\x1b[31m\n.png").write_bytes(b"")
    with pytest.warns(UserWarning, match="5 unreadable") as warned:
        gallery = build()
    listed = str(warned[0].message)
    names = ("empty.jpg", "cut.PNG", "gone.png", "pipe.png", "red\N{REPLACEMENT CHARACTER}[31m")
    assert all(name in listed for name in names)
    assert "\x1b" not in listed
    assert len(listed.splitlines()) == 6
    found = {match.path.name for match in gallery.search(data.sketches[0])}
    assert found == {"000.png", "001.png", odd}
    again = Gallery.load(tmp_path / "gallery").add(photos)
    assert (again.count, again.unchanged, len(again.skipped)) == (0, 3, 5)


def test_only_what_changed_is_embedded(
    tmp_path: Path,
    data: SketchPhotoSet,
    build: Callable[[], Gallery],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    photos = tmp_path / "photos"
    paths = write_photos(data, photos, range(6))
    before = {match.path: match.index for match in build().search(data.sketches[0])}

    write_photos(data, photos, range(6, 8))
    Image.fromarray(data.photos[9]).save(paths[2])
    paths[4].unlink()
    gallery = Gallery.load(tmp_path / "gallery")
    read: list[str] = []
    ink = gallery._encoder.photo_ink
    monkeypatch.setattr(gallery._encoder, "photo_ink", lambda p: (read.append(p), ink(p))[1])
    added = gallery.add(photos)
    assert (added.count, added.unchanged, added.removed) == (3, 4, 1)
    assert sorted(Path(path).name for path in read) == ["002.png", "006.png", "007.png"]

    after = {match.path: match.index for match in gallery.search(data.sketches[0])}
    kept = [path for i, path in enumerate(paths) if i not in (2, 4)]
    assert {path: after[path] for path in kept} == {path: before[path] for path in kept}
    assert set(after) == set(paths) - {paths[4]} | {photos / "006.png", photos / "inner/007.png"}
    # The changed photo is new: it is found as what it shows now, under another number.
    assert after[paths[2]] not in before.values()
    assert [m.index for m in Gallery.load(tmp_path / "gallery").search(data.sketches[0])] == [
        m.index for m in gallery.search(data.sketches[0])
    ]


def test_folders_beside_and_within_each_other(
    tmp_path: Path, data: SketchPhotoSet, build: Callable[[], Gallery]
) -> None:
    write_photos(data, tmp_path / "photos", range(4))
    (other,) = write_photos(data, tmp_path / "others", range(4, 5))
    gallery = build()
    assert gallery.add(tmp_path / "others").count == 1
    assert gallery.add(tmp_path / "photos" / "inner").unchanged == 2
    added = gallery.add(tmp_path)
    assert (added.count, added.unchanged, added.removed) == (0, 5, 0)
    other.unlink()
    assert gallery.add(tmp_path / "photos").removed == 0  # says nothing of the other folder
    assert gallery.add(tmp_path).removed == 1
    one = write_photos(data, tmp_path / "photos", range(6, 7))[0]
    added = gallery.add(one)
    assert (added.count, added.unchanged, added.removed) == (1, 0, 0)
    assert len(gallery) == 5


def test_a_folder_that_is_closed_loses_no_photo(
    tmp_path: Path,
    data: SketchPhotoSet,
    build: Callable[[], Gallery],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_photos(data, tmp_path / "photos", range(4))
    gallery = build()
    scandir = os.scandir

    def refuse(path: str | Path) -> object:
        if os.fspath(path).endswith("inner"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    added = gallery.add(tmp_path / "photos")
    assert (added.unchanged, added.removed) == (2, 0)
    assert [skipped.path.name for skipped in added.skipped] == ["inner"]
    assert len(gallery) == 4


def test_a_gallery_among_the_photos_is_no_photo(
    tmp_path: Path, data: SketchPhotoSet, build: Callable[[], Gallery]
) -> None:
    write_photos(data, tmp_path / "photos", range(2))
    gallery = build()
    write_photos(data, tmp_path / "gallery" / "thumbnails", range(2))  # as a page may leave them
    assert gallery.add(tmp_path).unchanged == 2
    assert len(gallery) == 2


def test_an_empty_folder_empties_no_gallery(
    tmp_path: Path, data: SketchPhotoSet, build: Callable[[], Gallery]
) -> None:
    paths = write_photos(data, tmp_path / "photos", range(2))
    gallery = build()
    for path in paths:
        path.unlink()
    with pytest.raises(ValueError, match="no images of a kind that is read here"):
        gallery.add(tmp_path / "photos")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        gallery.add(tmp_path / "nothing")
    assert len(Gallery.load(tmp_path / "gallery")) == 2


def test_moved_photos_are_found_by_editing_one_line(
    tmp_path: Path, data: SketchPhotoSet, build: Callable[[], Gallery]
) -> None:
    write_photos(data, tmp_path / "photos", range(2))
    build()
    (tmp_path / "photos").rename(tmp_path / "moved")
    facts = tmp_path / "gallery" / "gallery.json"
    facts.write_text(facts.read_text().replace("/photos", "/moved"))
    gallery = Gallery.load(tmp_path / "gallery")
    assert all(match.path.is_file() for match in gallery.search(data.sketches[0]))
    assert gallery.add(tmp_path / "moved").unchanged == 2


def test_another_model_or_folder_is_refused(
    tmp_path: Path, data: SketchPhotoSet, build: Callable[[], Gallery], run_folder: Path
) -> None:
    photos = tmp_path / "photos"
    write_photos(data, photos, range(2))
    build()
    save_model(tmp_path / "other", seed=1)
    with pytest.raises(ValueError, match="another model"):
        Gallery.build(photos, tmp_path / "other", tmp_path / "gallery")
    with pytest.raises(FileExistsError, match="not a gallery"):
        Gallery.build(photos, run_folder, photos)
    with pytest.raises(FileNotFoundError, match="no gallery here"):
        Gallery.load(photos)
    with pytest.raises(FileNotFoundError, match="no such checkpoint"):
        Gallery.build(photos, tmp_path / "none", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_one_writer_at_a_time(
    tmp_path: Path, data: SketchPhotoSet, build: Callable[[], Gallery]
) -> None:
    write_photos(data, tmp_path / "photos", range(1))
    gallery = build()
    with exclusive(tmp_path / "gallery"), pytest.raises(ValueError, match="writing into this"):
        gallery.add(tmp_path / "photos")
    assert gallery.add(tmp_path / "photos").unchanged == 1


KILLED = """
import os, signal, sys
from fgsbir.gallery import Gallery, add
add.BATCH = 3
at, replace = int(sys.argv[4]), os.replace
def killing(*paths):
    global at
    at -= 1
    if not at:
        os.kill(os.getpid(), signal.SIGKILL)  # the new file is written, but not yet in its place
    replace(*paths)
os.replace = killing
Gallery.build(*sys.argv[1:4], progress=False)
"""


@pytest.mark.slow
def test_killed_at_any_write_it_goes_on(
    tmp_path: Path, data: SketchPhotoSet, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "gallery"
    write_photos(data, photos, range(COUNT))
    # gallery.json; the model; gallery.json with the folder; then a shard for three photos.
    for at in (1, 2, 4):
        command = [sys.executable, "-c", textwrap.dedent(KILLED), photos, run_folder, out, str(at)]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120)
        assert done.returncode == -signal.SIGKILL, done.stderr
    monkeypatch.setattr(adding, "BATCH", 3)
    left = Gallery.load(out)
    assert 0 < len(left) < COUNT
    added = left.add(photos)
    assert (added.count, added.unchanged) == (COUNT - added.unchanged, added.unchanged)
    assert added.unchanged > 0
    whole = Gallery.build(photos, run_folder, tmp_path / "whole", progress=False)
    assert left.rows().paths == whole.rows().paths
    torch.testing.assert_close(left.rows().output.embedding, whole.rows().output.embedding)
    assert [path.name for path in out.rglob(".*")] == []


def test_threads_search_while_photos_are_added(
    tmp_path: Path, data: SketchPhotoSet, build: Callable[[], Gallery]
) -> None:
    write_photos(data, tmp_path / "photos", range(4))
    gallery = build()
    expected = {i: numbers(gallery.search(data.sketches[i], 12)) for i in range(8)}
    wrong: list[object] = []
    stop = threading.Event()

    def search() -> None:
        try:
            while not stop.is_set():
                for i in range(8):
                    found = [n for n in numbers(gallery.search(data.sketches[i], 12)) if n < 4]
                    if found != expected[i]:
                        wrong.append((i, found))
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    write_photos(data, tmp_path / "photos", range(4, 12))
    gallery.add(tmp_path / "photos")
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(gallery) == 12


def numbers(matches: list[Match]) -> list[int]:
    return [match.index for match in matches]
