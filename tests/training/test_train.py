"""Training loop: determinism, checkpoints, the log, and that it learns."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fgsbir.config import AugmentConfig, LossConfig, ModelConfig, OptimConfig, TrainConfig
from fgsbir.data import synthetic
from fgsbir.data.dataset import SketchPhotoSet
from fgsbir.data.splits import hold_out
from fgsbir.evaluation.metrics import evaluate
from fgsbir.models import Output
from fgsbir.models.checkpoint import FILE_NAME, DataFacts, Run, create_model, load_run, save_run
from fgsbir.training.batches import PairBatches
from fgsbir.training.device import has_fast_bfloat16
from fgsbir.training.losses import Objective, contrastive
from fgsbir.training.optim import create_optimizer, lr_factor
from fgsbir.training.run_log import LOG_NAME
from fgsbir.training.train import train
from tests.support.training import seen

SMALL = TrainConfig(
    model=ModelConfig("resnet", size=48, width=8, embedding_dim=32, dropout=0.1),
    optim=OptimConfig(epochs=2, batch_size=8, warmup_epochs=1),
)


@pytest.fixture(scope="module")
def shoes() -> SketchPhotoSet:
    return synthetic("shoes", 16, "train", seed=0, size=64)


def record(path) -> list[dict]:
    return [json.loads(line) for line in (path / LOG_NAME).read_text().splitlines()]


def test_same_seed_same_weights(shoes, tmp_path):
    runs = [
        train(shoes, dataclasses.replace(SMALL, seed=s), tmp_path / str(i), progress=False)
        for i, s in enumerate([0, 0, 1])
    ]
    first, again, other = (run.model.state_dict() for run in runs)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


def test_a_run_leaves_its_log_and_a_checkpoint_that_gives_the_model_back(shoes, tmp_path):
    config = dataclasses.replace(SMALL, holdout=6, eval_every=1)
    run = train(shoes, config, tmp_path, category="shoes", progress=False)
    lines = record(tmp_path)
    assert [line["epoch"] for line in lines] == [1, 2]
    assert {"loss", "triplet", "attributes", "lr", "seconds", "held_out"} <= set(lines[0])
    assert lines[0]["held_out"]["photos"] == 6
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([LOG_NAME, FILE_NAME])

    for path in (tmp_path, tmp_path / FILE_NAME):
        loaded = load_run(path)
        assert loaded.config == config
        assert loaded.data == DataFacts(shoes.name, "shoes", shoes.attribute_names)
        assert loaded.epoch == 2
        theirs = loaded.model.state_dict()
        assert all(torch.equal(x, theirs[key]) for key, x in run.model.state_dict().items())
        images = torch.rand(2, 1, 48, 48)
        torch.testing.assert_close(run.model(images), loaded.model(images))


def test_an_interrupted_write_leaves_the_old_checkpoint(shoes, tmp_path, monkeypatch):
    facts = DataFacts("shoes/train")
    save_run(tmp_path, Run(create_model(SMALL, facts), SMALL, facts, 1))
    before = (tmp_path / FILE_NAME).read_bytes()
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save_run(tmp_path, Run(create_model(SMALL, facts), SMALL, facts, 2))
    assert [p.name for p in tmp_path.iterdir()] == [FILE_NAME]
    assert (tmp_path / FILE_NAME).read_bytes() == before


def test_checkpoints_that_are_none_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such checkpoint"):
        load_run(tmp_path)
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match="not a safetensors file"):
        load_run(damaged)
    save_file({"w": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(ValueError, match="expected the format fgsbir-1, got none"):
        load_run(tmp_path / "foreign.safetensors")


def test_config_survives_json():
    config = dataclasses.replace(SMALL, loss=LossConfig(margin=0.2, attribute_margin="soft"))
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_every_epoch_shows_every_instance_once(shoes):
    # Instance 5 has a second sketch, instance 0 no photo.
    extended = dataclasses.replace(
        shoes,
        sketches=[*shoes.sketches, shoes.sketches[5]],
        sketch_labels=np.append(shoes.sketch_labels, shoes.sketch_labels[5]),
        sketch_attributes=np.vstack([shoes.sketch_attributes, shoes.sketch_attributes[5]]),
    ).take(np.arange(17), np.arange(1, 16))
    config = dataclasses.replace(AugmentConfig(), flip=0.5)
    batches = PairBatches(extended, seen(32, config), 6, torch.Generator().manual_seed(0))
    sizes = [len(batch.sketch) for batch in batches]
    assert len(batches) == len(sizes) == 3
    assert sizes == [5, 5, 5]


def test_holding_out_is_by_instance(shoes):
    rest, held = hold_out(shoes, 5, seed=0)
    assert len(held.sketches) == len(held.photos) == 5
    assert not set(rest.sketch_labels) & set(held.photo_labels)
    assert set(rest.photo_labels) | set(held.photo_labels) == set(shoes.photo_labels)
    assert np.array_equal(hold_out(shoes, 5, seed=0)[1].photo_labels, held.photo_labels)
    with pytest.raises(ValueError, match="holdout: expected 1 to 14 of the 16 instances"):
        hold_out(shoes, 15, seed=0)


def test_training_without_attributes(shoes, tmp_path):
    plain = dataclasses.replace(
        shoes, sketch_attributes=None, photo_attributes=None, attribute_names=()
    )
    run = train(plain, SMALL, tmp_path, progress=False)
    assert run.model.attributes == 0
    assert "attributes" not in record(tmp_path)[0]


def test_one_domain_without_annotation_counts_as_unknown(shoes, tmp_path):
    half = dataclasses.replace(shoes, sketch_attributes=None)
    train(half, SMALL, tmp_path, progress=False)
    assert record(tmp_path)[0]["attributes"] == 0


def test_too_small_a_set_is_refused(shoes, tmp_path):
    with pytest.raises(ValueError, match="at least two instances with a sketch and a photo, got 1"):
        train(shoes.take([0], [0, 1]), SMALL, tmp_path, progress=False)


def test_a_diverging_run_says_so(shoes, tmp_path):
    config = dataclasses.replace(
        SMALL, optim=dataclasses.replace(SMALL.optim, lr=float("inf"), warmup_epochs=0)
    )
    with pytest.raises(FloatingPointError, match=r"the loss is nan.*--lr"):
        train(shoes, config, tmp_path, progress=False)


def test_contrastive_term_by_hand():
    sketch = torch.tensor([[0.0, 0.0], [3.0, 0.0]])
    photo = torch.tensor([[1.0, 0.0], [3.0, 0.0]])
    # squared distances: 1 9 / 4 0
    rows = np.log(1 + np.exp([1.0 - 9, 0.0 - 4])).mean()
    columns = np.log(1 + np.exp([1.0 - 4, 0.0 - 9])).mean()
    value = contrastive(sketch, photo, "sqeuclidean")
    assert value.item() == pytest.approx((rows + columns) / 2, rel=1e-6)


def test_objective_is_the_loss_of_scaled_embeddings(shoes):
    batch = next(iter(PairBatches(shoes, seen(32), 8, torch.Generator())))
    sketch, photo = (
        Output(
            torch.nn.functional.normalize(torch.randn(8, 4)),
            torch.randn(8, len(shoes.attribute_names)),
        )
        for _ in range(2)
    )
    config = LossConfig(embedding_scale=3.0, contrastive_weight=0.5)
    total, figures = Objective(config)(sketch, photo, batch)
    plain, _ = Objective(dataclasses.replace(config, contrastive_weight=0.0))(sketch, photo, batch)
    assert figures["loss"] == pytest.approx(total.item())
    assert (total - plain).item() == pytest.approx(0.5 * figures["contrastive"], rel=1e-5)
    expected = contrastive(3 * sketch.embedding, 3 * photo.embedding, "sqeuclidean").item()
    assert figures["contrastive"] == pytest.approx(expected)


def test_learning_rate_warms_up_and_falls_to_zero():
    config = OptimConfig(epochs=10, warmup_epochs=2)
    factors = [lr_factor(e, config) for e in np.linspace(0, 10, 101)]
    assert 0 < factors[0] < 0.1
    assert max(factors) == factors[20] == 1
    assert factors[-1] == pytest.approx(0)
    assert factors[60] == pytest.approx(0.5)
    assert all(np.diff(factors[:21]) > 0)
    assert all(np.diff(factors[20:]) < 0)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_only_matrices_decay(name):
    model = create_model(SMALL, DataFacts("x"))
    optimizer = create_optimizer(model, OptimConfig(optimizer=name, weight_decay=0.3))
    decayed, free = optimizer.param_groups
    assert decayed["weight_decay"] == 0.3
    assert free["weight_decay"] == 0
    assert all(p.ndim <= 1 for p in free["params"])
    assert len(decayed["params"]) + len(free["params"]) == len(list(model.parameters()))


@pytest.mark.slow
def test_it_learns_to_find_what_it_has_never_seen(tmp_path):
    """Chance is 2.5% and 25%; the test instances are none of the training ones.

    Seeds reach 12 to 33% and 95 to 100%.
    """
    config = TrainConfig(
        model=ModelConfig("resnet", size=48, width=16, embedding_dim=64),
        loss=LossConfig(contrastive_weight=1.0),
        optim=OptimConfig(epochs=20, batch_size=24, lr=2e-3, warmup_epochs=1),
        augment=AugmentConfig(
            rotate=3, scale=0.03, shear=0.03, shift=0.02, elastic=0.005, cutout=0.2
        ),
        precision="float32",
    )
    run = train(synthetic("shoes", 120, "train", size=96), config, tmp_path, progress=False)
    scores = evaluate(run.model, synthetic("shoes", 40, "test", size=96))
    lines = record(tmp_path)
    assert lines[-1]["contrastive"] < 0.7 * lines[0]["contrastive"]
    assert scores.acc[1] >= 7.5
    assert scores.acc[10] >= 80


def test_automatic_precision_asks_the_processor(monkeypatch):
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx512_bf16": False}, raising=False)
    assert not has_fast_bfloat16(torch.device("cpu"))
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    assert has_fast_bfloat16(torch.device("cpu"))
