"""Damaged galleries: the damage is named, never a traceback."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from fgsbir.data import synthetic
from fgsbir.gallery import Gallery, store
from fgsbir.gallery.store import Store
from fgsbir.models.checkpoint import encode_run
from tests.support.gallery_cases import save_model, write_photos

SHARD = "shards/000000.safetensors"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    write_photos(synthetic("shoes", 3, "test"), folder / "photos", range(3))
    save_model(folder / "run")
    Gallery.build(folder / "photos", folder / "run", folder / "gallery", progress=False)
    return folder / "gallery"


@pytest.fixture
def gallery(whole: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(whole, tmp_path / "gallery"))


@pytest.mark.parametrize("name", ["gallery.json", "model.safetensors", SHARD])
def test_a_file_that_was_cut_is_named(gallery: Path, name: str) -> None:
    file = gallery / name
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(ValueError, match=name):
        Gallery.load(gallery)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "fgsbir-gallery-9"}, "fgsbir-gallery-9"),
        ({"folders": []}, "`folders` lacks number 0"),
        ({"folders": 5}, "damaged"),
        ({"folders": [5]}, "damaged"),
        ({"attributes": None}, "damaged"),
        ({"attributes": ["laces"]}, "expected columns as in gallery.json"),
        ({"embedding_dim": 7}, "expected columns as in gallery.json"),
        ({"embedding_dim": "7"}, "damaged"),
        ({"index": 3}, "damaged"),
        ({"colour": "red"}, "damaged"),
    ],
)
def test_a_manifest_that_cannot_be(gallery: Path, changes: dict[str, object], message: str) -> None:
    manifest = gallery / "gallery.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), **changes}))
    with pytest.raises(ValueError, match=message):
        Gallery.load(gallery)


def test_a_manifest_nested_without_end(gallery: Path) -> None:
    (gallery / "gallery.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="damaged"):
        Gallery.load(gallery)


@pytest.mark.parametrize("photos", [None, "{", "[1, 2]", '[["a", 2, 3, 4]]', "[" * 100_000])
def test_a_shard_whose_photos_cannot_be(gallery: Path, photos: str | None) -> None:
    metadata = {"format": "fgsbir-shard-1"} | ({} if photos is None else {"photos": photos})
    save_file(load_file(gallery / SHARD), gallery / SHARD, metadata)
    with pytest.raises(ValueError, match=f"{SHARD}: damaged"):
        Gallery.load(gallery)


@pytest.mark.parametrize(
    "change",
    [torch.Tensor.t, lambda rows: rows[:2], lambda rows: rows[0], lambda rows: rows[0, 0]],
)
def test_a_shard_whose_rows_cannot_be(gallery: Path, change: object) -> None:
    with safe_open(gallery / SHARD, framework="pt") as stored:
        metadata = stored.metadata()
    rows = {name: change(rows).contiguous() for name, rows in load_file(gallery / SHARD).items()}  # type: ignore[operator]
    save_file(rows, gallery / SHARD, metadata)
    with pytest.raises(ValueError, match=SHARD):
        Gallery.load(gallery)


def test_a_copy_beside_a_shard_is_left_alone(gallery: Path) -> None:
    shutil.copy(gallery / SHARD, gallery / "shards" / "000000 (copy).safetensors")
    assert len(Gallery.load(gallery)) == 3


def test_of_two_that_begin_at_once_one_makes_the_gallery(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = save_model(tmp_path / "run")
    arguments = (tmp_path / "gallery", encode_run(run), run)
    first: list[str] = []
    exclusive = store.exclusive

    @contextmanager
    def too_late(*arguments_: object) -> Iterator[None]:
        monkeypatch.setattr(store, "exclusive", exclusive)
        first.append(Store.create(*arguments).manifest.id)
        with exclusive(*arguments_):  # type: ignore[arg-type]
            yield

    monkeypatch.setattr(store, "exclusive", too_late)
    assert [Store.create(*arguments).manifest.id] == first
