"""Pretraining of a backbone, and what both trainings share: devices, logs, early errors."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

import fgsbir
from fgsbir.cli import main
from fgsbir.config import ModelConfig, OptimConfig, PretrainConfig, TrainConfig
from fgsbir.data import synthetic
from fgsbir.data.classified_images import ClassifiedSketches, open_classes
from fgsbir.models.checkpoint import BACKBONE_NAME, load_pretrained
from fgsbir.training.device import choose_device
from fgsbir.training.pretrain import pretrain
from fgsbir.training.run_log import LOG_NAME, RunLog
from fgsbir.training.train import train

MODEL = ModelConfig("resnet", size=32, width=4, embedding_dim=16)
SMALL = PretrainConfig(model=MODEL, optim=OptimConfig(epochs=1, batch_size=4, warmup_epochs=0))


def bars(count: int = 40) -> ClassifiedSketches:
    """Upright and level bars, somewhere."""
    images = np.full((count, 32, 32), 255, np.uint8)
    for i, place in enumerate(np.random.default_rng(0).integers(4, 28, count)):
        if i % 2:
            images[i, 4:28, place - 1 : place + 1] = 0
        else:
            images[i, place - 1 : place + 1, 4:28] = 0
    return ClassifiedSketches("bars", images, np.arange(count) % 2, ("level", "upright"))


def test_it_learns_classes_and_leaves_a_backbone_to_start_from(tmp_path):
    optim = OptimConfig(epochs=12, batch_size=8, warmup_epochs=1, lr=3e-3)
    config = dataclasses.replace(SMALL, optim=optim, holdout=8, label_smoothing=0.0)
    done = pretrain(bars(), config, tmp_path, progress=False)
    lines = [json.loads(line) for line in (tmp_path / LOG_NAME).read_text().splitlines()]
    assert lines[-1]["loss"] < 0.5 * lines[0]["loss"]
    assert lines[-1]["held_out_accuracy"] >= 75
    stored = load_pretrained(tmp_path)
    assert stored.config == config
    assert stored.digest == done.digest
    weights = stored.backbone.state_dict()
    assert all(torch.equal(weights[k], v) for k, v in done.backbone.state_dict().items())

    start = TrainConfig(model=MODEL, optim=dataclasses.replace(SMALL.optim, lr=1e-12))
    start = dataclasses.replace(start, init=str(tmp_path))
    run = train(synthetic("shoes", 8, "train", size=32), start, tmp_path / "run", progress=False)
    ours = run.model.trunk[0].weight
    torch.testing.assert_close(ours, stored.backbone[0].weight, atol=1e-6, rtol=0)


def test_quick_draw_is_learnt_from(tmp_path, capsys):
    ring = Image.new("L", (28, 28))
    ImageDraw.Draw(ring).ellipse((3, 3, 24, 24), outline=255, width=2)
    np.save(tmp_path / "ring.npy", np.stack([np.asarray(ring).ravel()] * 20))
    line = json.dumps({"word": "cross", "drawing": [[[0, 255], [0, 255]], [[0, 255], [255, 0]]]})
    (tmp_path / "cross.ndjson").write_text(f"{line}\n" * 30)
    arguments = ["--data", tmp_path, "--out", tmp_path / "run", "--per-class", "8"]
    sizes = ["--size", "32", "--width", "4", "--embedding-dim", "16", "--epochs", "1"]
    options = [*sizes, "--batch-size", "8", "--holdout", "0", "--warmup-epochs", "0"]
    assert main(["pretrain", *map(str, arguments), *options]) == 0, capsys.readouterr().err
    assert load_pretrained(tmp_path / "run").epoch == 1


def test_more_images_than_fit_into_memory_are_refused(tmp_path):
    class Many:
        def __len__(self):
            return 10**8

    many = dataclasses.replace(bars(), images=Many())
    with pytest.raises(ValueError, match=r"100000000 images take .* GB.* per_class takes fewer"):
        pretrain(many, dataclasses.replace(SMALL, holdout=0), tmp_path / "run", progress=False)


def test_an_image_that_cannot_be_read_is_named_before_anything_is_written(tmp_path, capsys):
    for name in ("cat", "dog"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(4):
            Image.fromarray(synthetic("shoes", 1).sketches[0]).save(
                tmp_path / "data" / name / f"{i}.png"
            )
    (tmp_path / "data" / "dog" / "3.png").write_bytes(b"\x89PNG cut off")
    out = tmp_path / "out"
    options = ["--size=32", "--width=4", "--batch-size=4", "--epochs=1"]
    command = ["pretrain", "--data", str(tmp_path / "data"), "--out", str(out), *options]
    assert main(command) == 2
    assert "3.png" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": -1}, "seed: expected 0 or more, below"),
        ({"device": "meta"}, "device: expected cpu, cuda, cuda:1 ..., got meta"),
        ({"device": "mps"}, "device: expected cpu, cuda, cuda:1 ..., got mps"),
        ({"device": "toaster"}, "device: "),
        ({"holdout": 38}, "bars: 2 images are less than one batch"),
        ({"label_smoothing": 1.0}, "label_smoothing: expected in"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_written(change, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        pretrain(bars(), dataclasses.replace(SMALL, **change), tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="cuda asked for, but torch sees no GPU"):
        choose_device("cuda")


def test_classes_of_a_folder_and_of_packed_bits_are_the_same(tmp_path):
    ink = np.random.default_rng(0).integers(0, 2, (4, 16, 16), dtype=np.uint8)
    for i, image in enumerate(ink):
        folder = tmp_path / "folder" / "ab"[i // 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(255 * (1 - image)).save(folder / f"{i}.png")
    labels = np.repeat(np.arange(2), 2)
    np.savez(tmp_path / "x.npz", bits=np.packbits(ink, axis=2), labels=labels, classes=["a", "b"])
    first, second = open_classes(tmp_path / "folder"), open_classes(tmp_path / "x.npz")
    assert first.classes == second.classes == ("a", "b")
    assert np.array_equal(first.labels, second.labels)
    assert all(np.array_equal(a, b) for a, b in zip(first.images, second.images, strict=True))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"bits": np.zeros((2, 8, 1), np.uint8)}, "expected a folder of classes, or an .npz"),
        (
            {"bits": np.zeros((2, 8, 1)), "labels": np.arange(2), "classes": ["a", "b"]},
            "expected bits",
        ),
        (
            {"bits": np.zeros((2, 8, 1), np.uint8), "labels": [0, 2], "classes": ["a", "b"]},
            r"labels in \[0, 2\)",
        ),
        (
            {"bits": np.zeros((2, 8, 1), np.uint8), "labels": [0, 0], "classes": ["a"]},
            "at least two classes",
        ),
    ],
)
def test_packed_bits_of_another_form_are_refused(content, message, tmp_path):
    np.savez(tmp_path / "x.npz", **content)
    with pytest.raises(ValueError, match=message):
        open_classes(tmp_path / "x.npz")


def test_figures_go_to_tensorboard(tmp_path):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="no tensorboard"
    )
    config = dataclasses.replace(SMALL, holdout=4)
    pretrain(bars(), config, tmp_path, tensorboard=True, progress=False)
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    (line,) = (tmp_path / LOG_NAME).read_text().splitlines()
    for name in ("loss", "lr", "held_out_accuracy"):
        (scalar,) = events.Scalars(name)
        assert scalar.step == 1
        assert scalar.value == pytest.approx(json.loads(line)[name], rel=1e-6)
    pretrain(bars(), config, tmp_path, overwrite=True, progress=False)
    assert not (tmp_path / "tensorboard").exists()


def test_without_tensorboard_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ValueError, match=r"tensorboard.*fgsbir-ext\[tensorboard\]"):
        pretrain(bars(), SMALL, tmp_path / "out", tensorboard=True, progress=False)


def test_nested_figures_are_scalars_of_a_path(tmp_path, capfd):
    with RunLog(tmp_path, 0, progress=True, tensorboard=False) as log:
        log.write({"epoch": 1, "loss": 0.5, "held_out": {"acc@1": 3.0, "attributes": {"x": 1.0}}})
    assert capfd.readouterr().err.splitlines()[-1] == "epoch   1  loss 0.5  held_out/acc@1 3"


def test_quickstart_refuses_before_it_draws(tmp_path, capsys):
    assert main(["quickstart", "--epochs", "0", "--out", str(tmp_path / "out")]) == 2
    out, err = capsys.readouterr()
    assert "epochs: expected 1 or more, got 0" in err
    assert out == ""
    assert not (tmp_path / "out").exists()


def test_one_call_opens_a_run_and_the_package_stays_light(tmp_path):
    config = TrainConfig(model=MODEL, optim=SMALL.optim)
    run = train(synthetic("shoes", 8, "train", size=32), config, tmp_path, progress=False)
    loaded = fgsbir.load(tmp_path)
    assert loaded.config == config
    assert torch.equal(loaded.model.embedding.weight, run.model.embedding.weight)
    code = "import fgsbir, sys; sys.exit('torch' in sys.modules or not fgsbir.load)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    pretrain(bars(), SMALL, tmp_path / "backbone", progress=False)
    with pytest.raises(ValueError, match="expected the format fgsbir-1"):
        fgsbir.load(tmp_path / "backbone" / BACKBONE_NAME)
