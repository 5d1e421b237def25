"""Files of an earlier version can still be read: checkpoints and galleries.

``stored/`` holds what version 0.1.0 wrote in November 2026 of the drawings below; results of it are
in ``stored/expected.json``. Nothing in it is ever written anew: what cannot be read needs a new
format with its own name.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fgsbir import load
from fgsbir.config import ModelConfig, OptimConfig, TrainConfig
from fgsbir.data import SketchPhotoSet
from fgsbir.data.decoding import to_array
from fgsbir.gallery import Gallery
from fgsbir.models.checkpoint import load_pretrained
from fgsbir.models.preprocess import to_ink
from fgsbir.sketches import SketchReading
from fgsbir.training.train import train

STORED = Path(__file__).parent / "stored"
EXPECTED = json.loads((STORED / "expected.json").read_text())
COUNT = 8
ATTRIBUTES = ("bar", "small", "third")
CONFIG = TrainConfig(
    model=ModelConfig("resnet", size=64, width=2, embedding_dim=8, dropout=0.1),
    optim=OptimConfig(epochs=2, batch_size=4, warmup_epochs=0.5, average_decay=0.5),
    precision="float32",
    eval_every=1,
)


def drawing(instance: int, shorter: int = 0) -> NDArray[np.uint8]:
    """(64, 64): a frame whose place and size, and maybe a bar, tell an instance."""
    image = np.full((64, 64), 255, np.uint8)
    low, high = 8 + 2 * (instance % 4), 56 - 3 * (instance // 4) - shorter
    for edge in (low, high - 2):
        image[low:high, edge : edge + 2] = image[edge : edge + 2, low:high] = 0
    if instance % 2:
        image[31:33, low:high] = 0
    return image


def drawings() -> SketchPhotoSet:
    photos = np.stack([drawing(i) for i in range(COUNT)])
    attributes = [[i % 2, i // 4 % 2, -1 if i == 3 else i % 3 == 0] for i in range(COUNT)]
    return SketchPhotoSet(
        name="drawings/train",
        sketches=np.stack([drawing(i, shorter=1) for i in range(COUNT)]),
        edges=photos,
        photos=photos,
        sketch_labels=np.arange(COUNT),
        photo_labels=np.arange(COUNT),
        photo_attributes=np.array(attributes, np.int8),
        attribute_names=ATTRIBUTES,
    )


def test_a_checkpoint() -> None:
    run = load(STORED / "run")
    assert run.config == CONFIG
    assert (run.data.name, run.data.category, run.epoch) == ("drawings/train", "drawings", 2)
    assert run.data.attribute_names == ATTRIBUTES
    assert run.data.digest == EXPECTED["digest"]


def test_a_pretrained_backbone() -> None:
    pretrained = load_pretrained(STORED / "pretrained")
    assert (pretrained.data, pretrained.epoch) == ("drawings", 1)
    assert pretrained.digest == EXPECTED["pretrained digest"]


def test_a_finished_run_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Version 0.1.0 trained on sketches as they were decoded.
    monkeypatch.setattr("fgsbir.training.training_images.sketches_to_ink", to_ink)
    shutil.copytree(STORED / "run", tmp_path, dirs_exist_ok=True)
    before = (tmp_path / "model.safetensors").stat().st_mtime_ns
    train(drawings(), CONFIG, tmp_path, category="drawings", progress=False)
    assert (tmp_path / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize("index", ["exact", "faiss"])
def test_a_gallery(index: str, tmp_path: Path) -> None:
    if index == "faiss":
        pytest.importorskip("faiss")
    shutil.copytree(STORED / f"{index}.gallery", tmp_path / "gallery")
    gallery = Gallery.load(tmp_path / "gallery")
    for number, expected in enumerate(EXPECTED["searches"]):
        # As version 0.1.0 took it: as it is, in a square of 256.
        image = Image.fromarray(drawing(number, shorter=1))
        sketch = SketchReading(to_array(image, mode="L", size=256), ())
        found = gallery.search(sketch, k=COUNT, attribute_weight=0.5)
        distance = {str(match.path): match.distance for match in found}
        assert distance == pytest.approx(expected, abs=1e-4)
