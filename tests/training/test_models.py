"""Networks: the paper's layer table, shapes, determinism."""

import itertools
from dataclasses import replace
from typing import get_args

import pytest
import torch
from PIL import Image
from torch import nn

from fgsbir.cli import main
from fgsbir.config import BackboneName
from fgsbir.data import synthetic
from fgsbir.models import build_model, resnet
from fgsbir.models.checkpoint import DataFacts, create_model, load_run
from fgsbir.models.inference import without_normalisation
from fgsbir.models.preprocess import Preprocessing
from fgsbir.models.retrieval import LocalEmbedding
from fgsbir.presets import PRESETS, PRETRAINING

# Table of Sketch-a-Net in "Sketch Me That Shoe": weights and biases of each layer.
PAPER_LAYERS = {
    "conv1": 64 * 1 * 15 * 15 + 64,
    "conv2": 128 * 64 * 5 * 5 + 128,
    "conv3": 256 * 128 * 3 * 3 + 256,
    "conv4": 256 * 256 * 3 * 3 + 256,
    "conv5": 256 * 256 * 3 * 3 + 256,
    "fc6": 512 * 256 * 7 * 7 + 512,
    "fc7": 256 * 512 + 256,
}


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_sketchanet_has_the_papers_parameters():
    assert parameters(build_model("sketchanet")) == sum(PAPER_LAYERS.values()) == 8_249_088
    head = parameters(build_model("sketchanet", attributes=21)) - sum(PAPER_LAYERS.values())
    assert head == 512 * 21 + 21


def test_sketchanet_has_the_papers_map_sizes():
    model = build_model("sketchanet")
    sides, x = [], torch.zeros(1, 1, 225, 225)
    for layer in model.trunk:
        x = layer(x)
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
            sides.append(x.shape[-1])
    assert sides == [71, 35, 31, 15, 15, 15, 15, 7, 1]


@pytest.mark.parametrize(("name", "size"), [("sketchanet", 225), ("resnet", 96)])
@pytest.mark.parametrize("attributes", [0, 5])
def test_output_shapes(name, size, attributes):
    model = build_model(name, attributes=attributes, embedding_dim=32)
    assert model.preprocessing.size == size
    embedding, logits = model(torch.rand(3, 1, size, size))
    assert embedding.shape == (3, 32)
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(3))
    assert (logits is None) if attributes == 0 else (logits.shape == (3, attributes))


@pytest.mark.parametrize(
    ("name", "options", "length"),
    [
        ("sketchanet", {}, 6 * 7 * 7),  # 256 / 49 = 5.2
        ("resnet", {"width": 8}, 8 * 6 * 6),
        ("resnet", {"width": 8, "size": 50}, 16 * 4 * 4),
        ("resnet", {"width": 8, "embedding_dim": 36}, 36),
    ],
)
@pytest.mark.parametrize("attributes", [0, 5])
def test_local_embeddings_take_whole_cells(name, options, length, attributes):
    model = build_model(name, head="local", attributes=attributes, **options)
    ink = torch.rand(3, 1, *2 * (model.preprocessing.size,))
    embedding, logits = model(ink)
    assert embedding.shape == (3, length)
    assert model.embedding_dim == length
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(3))
    assert (logits is None) if attributes == 0 else (logits.shape == (3, attributes))


def test_a_local_embedding_has_the_same_weights_for_every_cell():
    torch.manual_seed(0)
    local = LocalEmbedding(5, 3)
    cells = torch.randn(2, 5, 4, 4)
    embedded = local(cells).view(2, 3, 4, 4)
    weight, bias = local.cell.weight[:, :, 0, 0], local.cell.bias
    torch.testing.assert_close(embedded[1, :, 2, 3], weight @ cells[1, :, 2, 3] + bias)
    torch.testing.assert_close(local(cells.roll(1, 3)).view(2, 3, 4, 4), embedded.roll(1, 3))


def test_resnet_takes_other_sizes():
    model = build_model("resnet", size=64, width=8)
    assert model(torch.rand(2, 1, 64, 64)).embedding.shape == (2, 256)


def test_untrained_sketchanet_keeps_its_signal():
    """Without normalisation a poor initialisation makes all embeddings alike."""
    torch.manual_seed(0)
    model = build_model("sketchanet").eval()
    ink = (torch.rand(8, 1, 225, 225) < 0.05).float()
    with torch.no_grad():
        features = model.trunk(ink)
    assert 0.01 < features.std() < 100
    assert torch.pdist(features).min() > 1e-3


def test_every_parameter_gets_a_gradient():
    small = {"sketchanet": {}, "resnet": {"width": 8}}
    for name, head, source in itertools.product(
        small, ("global", "local"), ("features", "embedding")
    ):
        if (name, head, source) == ("sketchanet", "local", "embedding"):
            continue  # nothing reads what lies behind the map
        model = build_model(name, head=head, attributes=4, attributes_from=source, **small[name])
        output = model(torch.rand(4, 1, *2 * (model.preprocessing.size,)))
        direction = torch.randn_like(output.embedding)
        ((output.embedding * direction).sum() + output.logits.square().sum()).backward()
        for key, parameter in model.named_parameters():
            assert parameter.grad is not None, key
            assert parameter.grad.abs().max() > 0, key


@pytest.mark.parametrize("name", get_args(BackboneName))
@pytest.mark.parametrize("presets", [PRESETS, PRETRAINING])
def test_every_backbone_is_built_from_its_presets(name, presets):
    config = presets[name]
    config.check()
    assert config.model.backbone == name
    model = create_model(config, DataFacts("x")).eval()
    ink = torch.rand(1, model.preprocessing.channels, *2 * (model.preprocessing.size,))
    assert model(ink).embedding.shape == (1, model.embedding_dim)


def test_same_seed_gives_same_weights():
    weights = []
    for _ in range(2):
        torch.manual_seed(7)
        weights.append(build_model("resnet", width=8, attributes=2).state_dict())
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("vgg", {}, f"backbone: expected one of {', '.join(get_args(BackboneName))}, got 'vgg'"),
        ("sketchanet", {"size": 224}, "fixed input of 225 pixels, got 224"),
        ("resnet", {"size": 16}, "at least 32 pixels, got 16"),
    ],
)
def test_impossible_models_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        build_model(name, **options)


def of_three_channels(config, size):
    backbone = resnet.residual_net(size, config.width)
    backbone.layers[0] = nn.Conv2d(3, config.width, 5, stride=2, padding=2, bias=False)
    return backbone._replace(preprocessing=Preprocessing(size, "colour", (0.5,) * 3, (0.5,) * 3))


def test_channels_of_the_input_are_those_that_the_backbone_takes(monkeypatch, tmp_path):
    monkeypatch.setattr(resnet, "ENTRY", replace(resnet.ENTRY, build=of_three_channels))
    photos, classes = tmp_path / "photos", tmp_path / "classes"
    for kind, folder in itertools.product(("shoes", "chairs"), (photos, classes)):
        drawn = synthetic(kind, 9, size=32)
        (folder / kind).mkdir(parents=True)
        for i, image in enumerate(drawn.sketches if folder == classes else drawn.photos):
            Image.fromarray(image).save(folder / kind / f"{i}.png")
    tiny = ["--backbone=resnet", "--epochs=1", "--size=32", "--width=4", "--batch-size=8"]
    data = ["--data", "synthetic:shoes?count=9&size=32"]
    pretrained, run, gallery = (str(tmp_path / name) for name in ("pretrained", "run", "gallery"))
    assert main(["pretrain", "--data", str(classes), "--out", pretrained, *tiny]) == 0
    assert main(["train", *data, "--init", pretrained, "--out", run, *tiny]) == 0
    assert load_run(run).model.trunk[0].in_channels == 3
    assert main(["evaluate", run, *data]) == 0
    assert main(["index", str(photos), "--model", run, "--out", gallery]) == 0
    assert main(["search", gallery, str(classes / "shoes" / "0.png")]) == 0


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match=r"expected \(B, 1, 96, 96\), got \(2, 3, 96, 96\)"):
        build_model("resnet", width=8)(torch.zeros(2, 3, 96, 96))


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet", {"size": 96}),
        ("sketchanet", {"batch_norm": True}),
        ("efficientnet-lite0", {"size": 96}),
        ("efficientnet-lite2", {"size": 96, "maps": 2}),
    ],
)
def test_convolutions_do_what_their_normalisation_did(name, options):
    torch.manual_seed(0)
    model = build_model(name, **options).double().eval()
    changed = 0
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for values in (layer.weight, layer.running_var):
                values.uniform_(0.5, 2)
            for values in (layer.bias, layer.running_mean):
                values.normal_()
            changed += 1
    given = model.preprocessing
    ink = torch.rand(2, given.channels, given.size, given.size, dtype=torch.float64)
    expected = model.trunk(ink)
    fused = without_normalisation(model.train().trunk)
    torch.testing.assert_close(fused(ink), expected, rtol=1e-9, atol=1e-9)
    assert len(fused) == len(model.trunk)
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in fused.modules()) == 0
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in model.modules()) == changed > 0
