"""Own pairs from a CSV file or a folder, images of every kind, edge extraction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage

from fgsbir.data import (
    ImageFiles,
    PhotoEdges,
    extract_edges,
    load_csv,
    load_folder,
    load_sbir,
    open_dataset,
    read_image,
)


def picture(path: Path, size: tuple[int, int] = (40, 30), colour: str = "brown") -> Path:
    """A coloured disc on white."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).ellipse((8, 8, size[0] - 8, size[1] - 8), fill=colour)
    image.save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in "abc":
        picture(tmp_path / "photos" / f"{name}.jpg")
        picture(tmp_path / "sketches" / f"{name}.png", colour="black")
    picture(tmp_path / "sketches" / "a_2.png", colour="black")
    return tmp_path


def write(folder: Path, *lines: str, name: str = "pairs.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


GOOD = (
    "sketch,photo,id,split,attr:open toe,attr:heel",
    "sketches/a.png,photos/a.jpg,A,train,1,0",
    "sketches/a_2.png,photos/a.jpg,A,train,1,",
    "",
    "sketches/b.png,photos/b.jpg,B,train,-1,1",
    ",photos/c.jpg,C,test,0,0",
    "sketches/c.png,photos/c.jpg,C,test,,",
)


def test_csv_gives_sketches_photos_labels_and_attributes(folder: Path) -> None:
    data = open_dataset(write(folder, *GOOD))
    assert data.name == "pairs/train"
    assert data.sketch_labels.tolist() == [0, 0, 1]
    assert data.photo_labels.tolist() == [0, 1]
    assert data.attribute_names == ("open toe", "heel")
    assert data.photo_attributes.tolist() == [[1, 0], [-1, 1]]
    assert data.sketch_attributes.tolist() == [[1, 0], [1, 0], [-1, 1]]
    assert data.triplets is None
    assert data.sketches[2].shape == (30, 40, 3)  # as it is, for read_sketch
    assert data.edges[1].shape == (256, 256)
    assert data.photos[1].shape == (256, 256, 3)
    test = open_dataset(folder / "pairs.csv", split="test")
    assert test.sketch_labels.tolist() == test.photo_labels.tolist() == [2]
    assert test.photo_attributes.tolist() == [[0, 0]]


def test_csv_needs_only_sketch_and_photo(folder: Path) -> None:
    rows = [f"sketches/{name}.png,photos/{name}.jpg" for name in ("a", "b", "c")]
    path = write(folder, "sketch,photo", *rows, "sketches/a_2.png,photos/a.jpg")
    train, test = load_csv(path), load_csv(path, "test")
    assert train.attribute_names == ()
    assert train.photo_attributes is None
    assert set(train.photo_labels) | set(test.photo_labels) == {0, 1, 2}
    assert not set(train.photo_labels) & set(test.photo_labels)
    # The order of the lines does not change who is held out.
    other = load_csv(write(folder, "sketch,photo", *rows[::-1], name="turned.csv"), "test")
    assert other.photos.paths == test.photos.paths


def test_several_photos_may_show_one_instance(folder: Path) -> None:
    path = write(
        folder,
        "sketch,photo,id,split",
        "sketches/a.png,photos/a.jpg,A,train",
        ",photos/b.jpg,A,train",
    )
    data = load_csv(path)
    assert data.photo_labels.tolist() == [0, 0]
    assert data.sketch_labels.tolist() == [0]


def test_a_byte_order_mark_and_spaces_do_no_harm(folder: Path) -> None:
    path = folder / "excel.csv"
    text = "sketch , photo,split\r\n sketches/a.png ,photos/a.jpg,train\r\n"
    path.write_text(text, encoding="utf-8-sig")
    assert len(load_csv(path).sketches) == 1


HEAD = "sketch,photo,id,split,attr:heel"
ROW = "sketches/a.png,photos/a.jpg,A,train,1"
BAD_CSV = {
    "no column": (["sketch,picture", "a,b"], r":1: no column 'photo'"),
    "empty file": ([""], r":1: no column 'sketch'"),
    "twice": (["sketch,photo,photo", "a,b,c"], r":1: a column occurs twice"),
    "unknown column": (["sketch,photo,heel", "a,b,1"], r":1: unknown column 'heel'.*attr:NAME"),
    "nameless attribute": (["sketch,photo,attr:", "a,b,1"], r":1: unknown column 'attr:'"),
    "short line": ([HEAD, ROW, "sketches/b.png,photos/b.jpg"], r":3: 2 fields.* header has 5"),
    "no photo": ([HEAD, "sketches/a.png,,A,train,1"], r":2: column 'photo' is empty"),
    "bad value": ([HEAD, ROW.replace(",1", ",2")], r":2: column 'attr:heel' must be .* got '2'"),
    "bad split": ([HEAD, ROW.replace("train", "dev")], r":2: split must be .* got 'dev'"),
    "no rows": ([HEAD], r"no pairs"),
    "other id": (
        [HEAD, ROW, "sketches/a_2.png,photos/a.jpg,B,train,1"],
        r":3: photo a\.jpg shows instance 'B' here, but 'A' at .*:2",
    ),
    "other split": (
        [HEAD, ROW, "sketches/b.png,photos/b.jpg,A,test,1"],
        r":3: instance 'A' is in split 'test' here, but in 'train' at .*:2",
    ),
    "other attributes": (
        [HEAD, ROW.replace(",1", ","), ROW.replace("a.png", "a_2.png"),
         "sketches/b.png,photos/a.jpg,A,train,0"],
        r":4: attribute 'heel' of photo a\.jpg is 0 here, but 1 at .*:3",
    ),
    "sketch twice": ([HEAD, ROW, ROW], r":3: sketch a\.png is listed at .*:2 too"),
    "missing photo": (
        [HEAD, ROW, "sketches/b.png,photos/x.jpg,B,train,1"],
        r":3: photo: no such file: .*x\.jpg",
    ),
    "missing sketch": (
        [HEAD, "sketches/x.png,photos/a.jpg,A,train,1"],
        r":2: sketch: no such file: .*x\.png",
    ),
    "not an image": ([HEAD, "pairs.csv,photos/a.jpg,A,train,1"], r":2: sketch: not a readable"),
    "no sketches": ([HEAD, ",photos/a.jpg,A,train,1"], r"the train split has no sketch"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_CSV)
def test_csv_errors_name_file_and_line(folder: Path, case: str) -> None:
    lines, message = BAD_CSV[case]
    path = write(folder, *lines)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        load_csv(path)
    assert "pairs" in str(caught.value)


def test_a_file_that_is_no_csv_is_refused(folder: Path) -> None:
    path = folder / "binary.csv"
    path.write_bytes(b"sketch,photo\n\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"binary\.csv:2: not UTF-8"):
        load_csv(path)
    path = write(folder, "sketch,photo", "a,b", 'c,"d', "e,f", "g,h", name="quote.csv")
    with pytest.raises(ValueError, match=r"quote\.csv:3: not CSV \(unexpected end of data\)"):
        load_csv(path)
    with pytest.raises(FileNotFoundError, match=r"no such file: .*none\.csv"):
        load_csv(folder / "none.csv")
    with pytest.raises(ValueError, match="own pairs have no categories"):
        open_dataset(write(folder, *GOOD), "shoes")


def test_a_split_without_rows_is_refused(folder: Path) -> None:
    path = write(folder, HEAD, ROW)
    with pytest.raises(ValueError, match=r"the test split has no sketch \(1 pairs in all\)"):
        load_csv(path, "test")
    with pytest.raises(ValueError, match="split must be one of"):
        load_csv(path, "val")


def test_a_truncated_image_is_refused_with_its_line(folder: Path) -> None:
    photo = folder / "photos" / "a.jpg"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(photo)
    whole = photo.read_bytes()
    data = load_csv(write(folder, HEAD, ROW))
    photo.write_bytes(whole[:-800])
    with pytest.raises(ValueError, match=r"pairs\.csv:2: photo: not a readable image: .*a\.jpg"):
        load_csv(folder / "pairs.csv")
    with pytest.raises(ValueError, match=r"cannot decode image: .*a\.jpg"):  # damaged since
        data.photos[0]


def test_folder_matches_sketches_to_photos_by_name(folder: Path) -> None:
    write(folder, "name,heel,open toe", "a,1,0", "c,,1", name="attributes.csv")
    train, test = load_folder(folder), open_dataset(folder, split="test")
    both = sorted(path.name for data in (train, test) for path in data.sketches.paths)
    assert both == ["a.png", "a_2.png", "b.png", "c.png"]
    assert train.attribute_names == ("heel", "open toe")
    for data in (train, test):
        for path, row in zip(data.photos.paths, data.photo_attributes, strict=True):
            assert row.tolist() == {"a": [1, 0], "b": [-1, -1], "c": [-1, 1]}[path.stem]
        for path, label in zip(data.sketches.paths, data.sketch_labels, strict=True):
            shown = data.photos.paths[int(np.flatnonzero(data.photo_labels == label)[0])]
            assert shown.stem == path.stem[0]


def test_folder_with_train_and_test(tmp_path: Path) -> None:
    for part, names in (("train", "ab"), ("test", "a")):
        for name in names:
            picture(tmp_path / part / "photos" / f"{name}.png")
            picture(tmp_path / part / "sketches" / f"{name}.png")
    picture(tmp_path / "test" / "photos" / "unasked.png")
    train, test = open_dataset(tmp_path), open_dataset(tmp_path, split="test")
    assert (len(train.sketches), len(train.photos)) == (2, 2)
    assert (len(test.sketches), len(test.photos)) == (1, 2)
    assert not set(train.photo_labels) & set(test.photo_labels)


def test_folder_errors_name_the_file(folder: Path) -> None:
    stray = picture(folder / "sketches" / "z_1.png")
    with pytest.raises(ValueError, match=r"z_1\.png: there is no photo z\.\*"):
        load_folder(folder)
    stray.unlink()
    twin = picture(folder / "photos" / "a.png")
    with pytest.raises(ValueError, match=r"a\.png: a\.jpg has the same name"):
        load_folder(folder)
    twin.unlink()
    write(folder, "name,heel", "a,1", "q,0", name="attributes.csv")
    with pytest.raises(ValueError, match=r"attributes\.csv:3: there is no photo of the name 'q'"):
        load_folder(folder)
    write(folder, "name,heel", "a,1", "a,0", name="attributes.csv")
    with pytest.raises(ValueError, match=r"attributes\.csv:3: 'a' was annotated at .*:2"):
        load_folder(folder)
    (folder / "attributes.csv").unlink()
    (folder / "sketches" / "b.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"b\.png: sketch: not a readable image"):
        load_folder(folder)
    with pytest.raises(FileNotFoundError, match=r"no such folder: .*photos"):
        load_folder(folder / "sketches")


def test_images_are_fitted_into_a_white_square(tmp_path: Path) -> None:
    Image.new("RGB", (100, 50), "black").save(tmp_path / "wide.png")
    image = ImageFiles([tmp_path / "wide.png"], mode="L", size=64)[0]
    assert image.shape == (64, 64)
    assert np.all(image[:15] == 255)
    assert np.all(image[17:47] == 0)


def test_edges_are_dark_lines_on_white_and_kept(tmp_path: Path) -> None:
    photo = read_image(picture(tmp_path / "disc.png", (256, 256)))
    edges = extract_edges(photo)
    assert edges.dtype == np.uint8
    assert edges[0, 0] == edges[128, 128] == 255
    assert 0.002 < np.mean(edges < 160) < 0.02
    assert not (extract_edges(np.full((64, 48, 3), 200, np.uint8)) < 255).any()
    kept = PhotoEdges([photo, photo])
    assert kept[1] is kept[-1]
    assert np.array_equal(kept[0], edges)
    with pytest.raises(IndexError):
        kept[2]


@pytest.mark.parametrize("category", ["shoes", "chairs"])
def test_extracted_edges_come_close_to_the_published_ones(data_root: Path, category: str) -> None:
    data = load_sbir(data_root / "sbir_cvpr2016", category, "test")
    found, recalled, ink = [], [], []
    for i in range(0, len(data.photos), 10):
        ours, theirs = extract_edges(data.photos[i]) < 200, data.edges[i] < 160
        found.append(np.mean(ndimage.distance_transform_edt(~theirs)[ours] <= 2))
        recalled.append(np.mean(ndimage.distance_transform_edt(~ours)[theirs] <= 2))
        ink.append(np.mean(255.0 - extract_edges(data.photos[i])) / np.mean(255.0 - data.edges[i]))
    assert np.mean(found) > 0.8
    assert np.mean(recalled) > 0.8
    assert 0.75 < np.mean(ink) < 1.25
