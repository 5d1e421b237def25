"""Training on photos that nobody sketched. (Extra sketches: test_sbir.py.)"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fgsbir.cli import main
from fgsbir.config import ExtraData
from fgsbir.data import extract_edges, load_photos, synthetic, with_extra
from fgsbir.models.checkpoint import load_run
from fgsbir.models.preprocess import Preprocessing, photos_to_ink


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    data = synthetic("shoes", 6, "train", size=64)
    for i in range(6):
        Image.fromarray(np.asarray(data.photos[i])).save(folder / f"{i}.png")
    (folder / "readme.txt").write_text("not a photo")
    return folder


def test_the_edges_of_a_photo_stand_in_for_its_sketch(photos: Path) -> None:
    data = load_photos(photos)
    assert len(data.sketches) == len(data.photos) == 6
    assert data.name == photos.name
    assert np.array_equal(data.sketches[2], data.edges[2])
    assert np.array_equal(data.edges[2], extract_edges(data.photos[2]))
    assert data.sketch_labels.tolist() == data.photo_labels.tolist() == list(range(6))
    assert data.photo_attributes is None


def test_photos_that_face_the_other_way_are_flipped(photos: Path) -> None:
    plain, mirrored = load_photos(photos), load_photos(photos, mirror=True)
    assert np.array_equal(mirrored.photos[0], plain.photos[0][:, ::-1])
    assert np.array_equal(mirrored.edges[0], extract_edges(plain.photos[0][:, ::-1]))
    given = Preprocessing(32, "colour", mean=(0.5,) * 3, std=(0.2,) * 3)
    inks = [photos_to_ink(one.photos, given).int() for one in (plain, mirrored)]
    assert (inks[1] - inks[0].flip(-1)).abs().max() <= 1  # as resizing rounds
    assert not torch.equal(inks[1], inks[0])


def test_a_folder_without_photos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least two images, got 0"):
        load_photos(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        load_photos(tmp_path / "missing")


def test_training_with_extra_photos(photos: Path, tmp_path: Path, capsys) -> None:
    tiny = ["--epochs=1", "--size=32", "--width=8", "--embedding-dim=16", "--batch-size=8"]
    data = ["--data", "synthetic?count=12&size=32", "--category", "shoes", *tiny]
    with_photos = [*data, "--extra-photos", str(photos), "--mirror-extra-photos"]
    assert main(["train", *with_photos, "--out", str(tmp_path / "more")]) == 0
    assert main(["train", *data, "--out", str(tmp_path / "plain")]) == 0
    more, plain = load_run(tmp_path / "more"), load_run(tmp_path / "plain")
    assert photos.name in more.data.name
    assert more.data.attribute_names == plain.data.attribute_names
    assert more.data.digest != plain.data.digest

    refused = main(["train", *data, "--extra-sketches", str(photos), "--out", str(tmp_path / "no")])
    assert refused == 2
    assert "are of the benchmark's train shoes" in capsys.readouterr().err


def test_nothing_is_added_unless_asked_for() -> None:
    sets = [synthetic("shoes", 4, "train", size=32)]
    assert with_extra(sets, ExtraData()) == sets
