"""Which files of a folder are images, in every loader."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from fgsbir.data import load_folder, load_photos
from fgsbir.data.classified_images import open_classes
from fgsbir.data.image_folders import image_suffixes, kinds_of, list_images
from fgsbir.gallery.folder import find_photos


def draw(path: Path, kind: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (32, 32), 255).save(path, kind)
    return path


LITTER = (
    ".hidden.jpg",
    "._photo.jpg",
    "__MACOSX/photo.jpg",
    "__MACOSX/._photo.jpg",
    ".ipynb_checkpoints/photo-checkpoint.jpg",
    ".thumbnails/large/photo.jpg",
    "@eaDir/photo.jpg/SYNOPHOTO_THUMB_M.jpg",
    "$RECYCLE.BIN/photo.jpg",
    ".DS_Store",
    "Thumbs.db",
    "desktop.ini",
)


def litter(folder: Path) -> None:
    """Leaves in a folder what systems leave, none of which is an image."""
    for name in LITTER:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\0\5\x16\7Mac OS X        ")


def from_gallery(folder: Path) -> list[Path]:
    return [Path(photo.path) for photo in find_photos(folder / "photos").photos]


def from_pairs(folder: Path) -> list[Path]:
    return [path for split in ("train", "test") for path in load_folder(folder, split).photos.paths]


def from_classes(folder: Path) -> list[Path]:
    opened = open_classes(folder)
    assert opened.classes == ("photos", "sketches")
    parts = opened.images.parts
    return list(parts[0].paths)


def from_photos(folder: Path) -> list[Path]:
    return list(load_photos(folder / "photos").photos.paths)


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("read", [from_gallery, from_pairs, from_classes, from_photos])
def test_what_is_hidden_or_the_systems_is_left_out(
    read: Callable[[Path], list[Path]], tmp_path: Path
) -> None:
    names = [f"{name}.jpg" for name in "abcde"]
    for name in names:
        draw(tmp_path / "photos" / name)
        draw(tmp_path / "sketches" / name)
    for folder in (tmp_path, tmp_path / "photos", tmp_path / "sketches"):
        litter(folder)
    litter(draw(tmp_path / "photos" / "more" / "f.jpg").parent)
    draw(tmp_path / "sketches" / "more" / "f.jpg")
    expected = names if read is from_photos else [*names, "f.jpg"]
    assert sorted(path.name for path in read(tmp_path)) == expected


def test_a_hidden_folder_that_is_named_is_looked_into(tmp_path: Path) -> None:
    draw(tmp_path / ".photos" / "a.png")
    assert len(list_images(tmp_path / ".photos").images) == 1


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [(".jfif", "JPEG"), (".JPG", None), (".jpe", "JPEG"), (".avif", None), (".jp2", None),
     (".tga", None), (".PPM", None), (".ico", None), (".qoi", None), (".dib", None)],
)  # fmt: skip
def test_every_kind_that_pillow_reads_is_taken(
    suffix: str, kind: str | None, tmp_path: Path
) -> None:
    try:
        path = draw(tmp_path / f"photo{suffix}", kind)
    except (KeyError, OSError, ValueError):
        pytest.skip(f"this Pillow writes no {suffix}")
    assert list_images(tmp_path) == ([path], [], [])


def test_what_needs_another_program_is_not_taken() -> None:
    assert not image_suffixes() & {".eps", ".ps", ".pdf", ".wmf", ".mpg", ".h5", ".grib", ".svg"}


def test_kinds_that_are_not_read_are_counted_and_named(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    for name in ("1.heic", "2.HEIC", "inner/3.heic", "raw.cr2", "README", "od\x1bd.\x1b[7m"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\0\0\0\x18ftypheic")
    listing = list_images(tmp_path)
    assert len(listing.images) == 1
    first, *others = kinds_of(listing.others).split(", ")
    assert first == "3 .heic"
    assert set(others) == {
        "1 .cr2",
        "1 without an ending",
        "1 .\N{REPLACEMENT CHARACTER}[7m",
    }
    many = [Path(f"{i}.{'abcdefgh'[i % 8]}") for i in range(20)]
    assert kinds_of(many) == "3 .a, 3 .b, 3 .c, 3 .d, 2 .e, 6 of other kinds"
    assert kinds_of([]) == ""


def test_loaders_say_what_they_do_not_read(tmp_path: Path) -> None:
    for name in "abcde":
        draw(tmp_path / "photos" / f"{name}.jpg")
        draw(tmp_path / "sketches" / f"{name}.png")
    (tmp_path / "photos" / "f.heic").write_bytes(b"\0\0\0\x18ftypheic")
    for read in (from_pairs, from_classes, from_photos):
        with pytest.warns(UserWarning, match=r"not read: 1 \.heic"):
            read(tmp_path)
    assert kinds_of(find_photos(tmp_path / "photos").others) == "1 .heic"
    draw(tmp_path / "sketches" / "f.png")
    with (
        pytest.warns(UserWarning, match=r"not read"),
        pytest.raises(ValueError, match=r"f\.png: there is no photo f\.\* in .*1 \.heic"),
    ):
        load_folder(tmp_path)


def test_a_folder_of_other_kinds_alone_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(b"heic")
    with pytest.raises(ValueError, match=r"no images of a kind that is read here; there are 1 \.h"):
        find_photos(tmp_path)


def paths_of(folder: Path) -> dict[str, list[str]]:
    """Of each photo of a pair folder, by its path, those of its sketches."""
    found: dict[str, list[str]] = {}
    for split in ("train", "test"):
        data = load_folder(folder, split)
        for label, photo in zip(data.photo_labels, data.photos.paths, strict=True):
            found[photo.relative_to(folder).as_posix()] = [
                path.relative_to(folder).as_posix()
                for own, path in zip(data.sketch_labels, data.sketches.paths, strict=True)
                if own == label
            ]
    return found


@pytest.mark.parametrize("names", [("photos", "sketches"), ("photo", "sketch")])
def test_sketchys_folders_are_pairs(names: tuple[str, str], tmp_path: Path) -> None:
    """A folder a class, and of each photo several sketches, by a hyphen and a number."""
    photos, sketches = (tmp_path / name for name in names)
    for kind in ("airplane", "zebra"):
        for number in (10151, 10154, 10168):
            draw(photos / "tx_0" / kind / f"n02691156_{number}.jpg")
            for i in (1, 2):
                draw(sketches / "tx_0" / kind / f"n02691156_{number}-{i}.png")
    found = paths_of(tmp_path)
    assert len(found) == 6
    stem = "tx_0/zebra/n02691156_10154"
    assert sorted(found[f"{names[0]}/{stem}.jpg"]) == [
        f"{names[1]}/{stem}-1.png",
        f"{names[1]}/{stem}-2.png",
    ]


def test_a_number_may_be_part_of_a_photos_name(tmp_path: Path) -> None:
    for name in ("boot", "boot-1", "boot_2", "shoe", "heel"):
        draw(tmp_path / "photos" / f"{name}.jpg")
        draw(tmp_path / "sketches" / f"{name}.png")
    draw(tmp_path / "sketches" / "boot-1-1.png")
    draw(tmp_path / "sketches" / "boot_7.png")
    found = paths_of(tmp_path)
    assert found["photos/boot-1.jpg"] == ["sketches/boot-1-1.png", "sketches/boot-1.png"]
    assert found["photos/boot_2.jpg"] == ["sketches/boot_2.png"]
    assert sorted(found["photos/boot.jpg"]) == ["sketches/boot.png", "sketches/boot_7.png"]


def test_sketches_need_not_lie_as_photos_do(tmp_path: Path) -> None:
    for i, name in enumerate("abcde"):
        draw(tmp_path / "photos" / f"class{i % 2}" / f"{name}.jpg")
        draw(tmp_path / "sketches" / f"{name}-1.png")
    assert all(len(sketches) == 1 for sketches in paths_of(tmp_path).values())
    draw(tmp_path / "photos" / "class0" / "b.jpg")  # there is one in class1
    with pytest.raises(ValueError, match=r"b-1\.png: there is no photo b\.\*"):
        load_folder(tmp_path)


def test_names_are_compared_in_one_unicode_form(tmp_path: Path) -> None:
    apart, together = (unicodedata.normalize(form, "stövel") for form in ("NFD", "NFC"))
    draw(tmp_path / "photos" / f"{apart}.jpg")
    draw(tmp_path / "sketches" / f"{together}.png")
    for name in "abcd":
        draw(tmp_path / "photos" / f"{name}.jpg")
        draw(tmp_path / "sketches" / f"{name}.png")
    (tmp_path / "attributes.csv").write_text(f"name,heel,\n{together},1,\na.jpg,0,\n", "utf-8")
    found = paths_of(tmp_path)
    assert found[f"photos/{apart}.jpg"] == [f"sketches/{together}.png"]
    annotated = {
        path.stem: value
        for split in ("train", "test")
        for data in [load_folder(tmp_path, split)]
        for path, (value,) in zip(data.photos.paths, data.photo_attributes.tolist(), strict=True)
    }
    assert annotated == {apart: 1, "a": 0, "b": -1, "c": -1, "d": -1}
