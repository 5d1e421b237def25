"""Sketches of classes: folders as they come, and the files of Quick, Draw!."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fgsbir.data.classified_images import open_classes
from fgsbir.data.images import name_of
from fgsbir.data.quick_draw import class_of
from fgsbir.sketches import read_sketch

HOUSE = [[[10, 10, 200, 200, 10], [100, 220, 220, 100, 100]], [[10, 105, 200], [100, 20, 100]]]


def draw(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (32, 32), 255).save(path)


def bitmap() -> NDArray[np.uint8]:
    """A ring, white on black, as large as those of Quick, Draw!."""
    image = Image.new("L", (112, 112), 0)
    ImageDraw.Draw(image).ellipse((8, 8, 104, 104), outline=255, width=7)
    return np.asarray(image.resize((28, 28), Image.Resampling.BOX))


@pytest.mark.parametrize(
    "inner",
    ["", "256x256/sketch/tx_000000000000/", "png/"],
)
def test_the_only_folder_in_a_folder_is_looked_into(inner: str, tmp_path: Path) -> None:
    for kind in ("airplane", "zebra"):
        for i in range(3):
            draw(tmp_path / f"{inner}{kind}" / f"{i}.png")
    found = open_classes(tmp_path)
    assert found.classes == ("airplane", "zebra")
    assert found.labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_folders_of_splits_are_put_together(tmp_path: Path) -> None:
    for split, kinds in (("train", "abc"), ("test", "ab"), ("Val", "c")):
        for kind in kinds:
            draw(tmp_path / split / kind / f"{split}.png")
    found = open_classes(tmp_path)
    assert found.classes == ("a", "b", "c")
    assert sorted(found.labels.tolist()) == [0, 0, 1, 1, 2, 2]


def test_sketchys_transforms_and_its_photos(tmp_path: Path) -> None:
    for transform in ("tx_000000000000", "tx_000100000000"):
        for kind in ("cat", "dog"):
            draw(tmp_path / "sketch" / transform / kind / f"{transform}.png")
            draw(tmp_path / "photo" / transform / kind / f"{transform}.png")
    found = open_classes(tmp_path)
    assert found.classes == ("cat", "dog")
    assert found.labels.tolist() == [0, 0, 1, 1]
    assert all("sketch" in name_of(found.images, i) for i in range(4))


def test_images_above_the_classes_do_not_matter(tmp_path: Path) -> None:
    for split in ("train", "dev"):
        for kind in ("cat", "dog"):
            for i in range(6):
                draw(tmp_path / split / kind / f"{i}.png")
        draw(tmp_path / split / "contact sheet.png")
    draw(tmp_path / "preview.png")
    found = open_classes(tmp_path)
    assert found.classes == ("cat", "dog")
    assert len(found.labels) == 24


def test_classes_are_compared_in_one_unicode_form(tmp_path: Path) -> None:
    names = [unicodedata.normalize(form, "café") for form in ("NFC", "NFD")]
    draw(tmp_path / "train" / names[0] / "1.png")
    draw(tmp_path / "test" / names[1] / "2.png")
    draw(tmp_path / "train" / "dog" / "1.png")
    assert open_classes(tmp_path).classes == (names[0], "dog")


def test_links_to_classes_are_followed(tmp_path: Path) -> None:
    for kind in ("cat", "dog"):
        draw(tmp_path / "all" / kind / "1.png")
    (tmp_path / "chosen").mkdir()
    for kind in ("cat", "dog"):
        (tmp_path / "chosen" / kind).symlink_to(tmp_path / "all" / kind)
    (tmp_path / "chosen" / "again").symlink_to(tmp_path / "chosen")
    assert open_classes(tmp_path / "chosen").classes == ("cat", "dog")


def test_the_name_of_a_class_is_not_cut() -> None:
    names = ("straw_hat", "full_simplified_straw_hat", "numpy_bitmap_cat", "raw_egg", "raw_")
    assert [class_of(Path(f"{name}.ndjson")) for name in names] == [
        "straw_hat",
        "straw_hat",
        "cat",
        "egg",
        "raw_",
    ]


def test_a_class_may_have_folders_of_its_own(tmp_path: Path) -> None:
    for path in ("cat/1.png", "cat/old/2.png", "cat/old/3.png", "dog/old/1.png"):
        draw(tmp_path / path)
    found = open_classes(tmp_path)
    assert found.classes == ("cat", "dog")
    assert found.labels.tolist() == [0, 0, 0, 1]


def test_bitmaps_of_quick_draw_are_lines_on_white(tmp_path: Path) -> None:
    rows = np.stack([bitmap().ravel()] * 4)
    np.save(tmp_path / "full_numpy_bitmap_alarm clock.npy", rows)
    np.save(tmp_path / "ring.npy", rows[:2].reshape(-1, 28, 28))
    found = open_classes(tmp_path)
    assert found.classes == ("alarm clock", "ring")
    assert found.labels.tolist() == [0, 0, 0, 0, 1, 1]
    image = found.images[5]
    assert image.shape == (280, 280)
    assert image[0, 0] == 255
    assert 0.01 < np.mean(image == 0) < 0.05
    read = read_sketch(image).image
    ys, xs = np.nonzero(read < 128)
    radius = np.hypot(ys - ys.mean(), xs - xs.mean())
    assert radius.std() < 0.06 * radius.mean()  # one ring, and a thin one
    assert name_of(found.images, 5) == f"{tmp_path / 'ring.npy'}, drawing 2"


@pytest.mark.parametrize("scale", [1, 7.5, 0.01])
def test_strokes_of_quick_draw_are_drawn(scale: float, tmp_path: Path) -> None:
    strokes = [[[scale * v for v in axis] for axis in stroke] for stroke in HOUSE]
    raw = [[*stroke, [0] * len(stroke[0])] for stroke in strokes]  # with times
    for kind, drawing in (("house", strokes), ("barn", raw)):
        line = json.dumps({"word": kind, "drawing": drawing})
        (tmp_path / f"full_simplified_{kind}.ndjson").write_text(f"{line}\n\n{line}\n")
    found = open_classes(tmp_path)
    assert found.classes == ("barn", "house")
    assert found.labels.tolist() == [0, 0, 1, 1]
    assert np.array_equal(found.images[0], found.images[3])
    image = found.images[0]
    assert image.shape == (256, 256)
    if scale >= 1:
        ys, xs = np.nonzero(image < 128)
        assert max(np.ptp(ys), np.ptp(xs)) == pytest.approx(224, abs=4)
        assert not read_sketch(image).changes


def test_so_many_of_each_class_are_spread_over_it(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(100, dtype=np.uint8)[:, None].repeat(784, 1))
    np.save(tmp_path / "b.npy", np.zeros((3, 784), np.uint8))
    found = open_classes(tmp_path, per_class=10)
    assert found.labels.tolist() == [0] * 10 + [1] * 3
    assert [name_of(found.images, i).split()[-1] for i in range(10)] == [
        str(i + 1) for i in range(0, 100, 10)
    ]
    with pytest.raises(ValueError, match="per_class: expected 1 or more, got 0"):
        open_classes(tmp_path, per_class=0)


BAD = {
    "not an array": ("a.npy", b"\x93NUMPY junk", r"a\.npy: not an array of NumPy"),
    "an empty file": ("a.npy", b"", r"a\.npy: not an array of NumPy"),
    "strokes without JSON": ("a.ndjson", b"{not json\n", r"a\.ndjson: drawing 1 is no line"),
    "no drawing": ("a.ndjson", b'{"word": "a"}\n', r"a\.ndjson: drawing 1 is no line"),
    "a drawing of words": ("a.ndjson", b'{"drawing": [["x", "y"]]}\n', r"drawing 1 is no line"),
    "a short stroke": ("a.ndjson", b'{"drawing": [[[1]]]}\n', r"drawing 1 is no line"),
    "strokes too far apart": ("a.ndjson", b'{"drawing": [[[1e308, -1e308], [0, 1]]]}\n',
                              r"drawing 1 is no line"),
    "uneven strokes": ("a.ndjson", b'{"drawing": [[[1, 2], [1]]]}\n', r"drawing 1 is no line"),
    "no number": ("a.ndjson", b'{"drawing": [[[NaN], [1]]]}\n', r"drawing 1 is no line"),
    "deep brackets": ("a.ndjson", b"[" * 100_000 + b"\n", r"drawing 1 is no line"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_other_files_are_one_sentence(name: str, tmp_path: Path) -> None:
    file, content, message = BAD[name]
    (tmp_path / file).write_bytes(content)
    np.save(tmp_path / "b.npy", np.zeros((3, 784), np.uint8))
    with pytest.raises(ValueError, match=message):
        open_classes(tmp_path).images[0]


def test_arrays_of_other_shapes_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((3, 100), np.uint8))
    with pytest.raises(ValueError, match=r"expected bitmaps \(n, 784\).* got \(3, 100\) of uint8"):
        open_classes(tmp_path)
    np.save(tmp_path / "a.npy", np.array([{"x": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"a\.npy: not an array of NumPy"):
        open_classes(tmp_path)
    with pytest.raises(ValueError, match=r"is of one class; give the folder"):
        open_classes(tmp_path / "a.npy")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"expected at least two classes.* found 0"):
        open_classes(tmp_path / "empty")
