"""Training on several ranks: the same weights everywhere, one set of files, and resuming."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import normalize

from fgsbir.config import AugmentConfig, LossConfig, ModelConfig, OptimConfig, TrainConfig
from fgsbir.data import synthetic
from fgsbir.models import Output
from fgsbir.models.checkpoint import create_model, load_run
from fgsbir.training import distributed
from fgsbir.training.batches import Batch
from fgsbir.training.losses import Objective
from fgsbir.training.train import train
from tests.support.cases import METRICS
from tests.support.ranks import run_ranks

SMALL = TrainConfig(
    model=ModelConfig("resnet", size=32, width=4, embedding_dim=16, dropout=0.1),
    loss=LossConfig(contrastive_weight=1.0),
    optim=OptimConfig(epochs=3, batch_size=6, warmup_epochs=1, average_decay=0.5),
    holdout=4,
    eval_every=1,
    precision="float32",
)
STILL = AugmentConfig(rotate=0, scale=0, shear=0, shift=0, elastic=0, cutout=0, thicken=0, flip=0)
"""No randomness but the order of the pairs."""
PLAIN = TrainConfig(
    model=ModelConfig("sketchanet", embedding_dim=16, dropout=0),
    loss=LossConfig(contrastive_weight=1.0, attribute_guidance=0.5),
    optim=OptimConfig(epochs=1, batch_size=5, optimizer="sgd", lr=1e-3, warmup_epochs=0),
    augment=STILL,
    precision="float32",
)
"""No statistics over the batch either."""


# --- The objective --------------------------------------------------------------------------------

SHARES = {2: (4, 1), 4: (2, 0, 3, 1)}


def whole_batch(pairs: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Batch]:
    rng = torch.Generator().manual_seed(0)
    s, p = (normalize(torch.randn(pairs, 5, generator=rng)) for _ in range(2))
    a, b = (torch.randn(pairs, 3, generator=rng) for _ in range(2))
    known = torch.randint(-1, 2, (pairs, 3), generator=rng).to(torch.int8)
    return s, p, a, b, Batch(torch.empty(pairs), torch.empty(pairs), known, known)


def objective_of_rows(rows: slice, pairs: int) -> list[Any]:
    """Figures and gradients of the objective of some rows, for every metric."""
    results: list[Any] = []
    *outputs, batch = whole_batch(pairs)
    known = batch.sketch_attributes
    assert known is not None
    own = Batch(batch.sketch[rows], batch.photo[rows], known[rows], known[rows])
    for metric in METRICS:
        s, p, a, b = leaves = [x[rows].clone().requires_grad_() for x in outputs]
        config = LossConfig(metric=metric, contrastive_weight=2.0, attribute_guidance=0.5)
        total, figures = Objective(config)(Output(s, a), Output(p, b), own)
        total.backward()
        results.append((figures, [x.grad for x in leaves]))
    return results


def objective_on_a_rank() -> list[Any]:
    shares = SHARES[dist.get_world_size()]
    start = sum(shares[: dist.get_rank()])
    return objective_of_rows(slice(start, start + shares[dist.get_rank()]), sum(shares))


@pytest.mark.parametrize("ranks", SHARES)
def test_the_objective_is_that_of_the_whole_batch(ranks: int) -> None:
    shares = SHARES[ranks]
    expected = objective_of_rows(slice(None), sum(shares))
    start = 0
    for share, results in zip(shares, run_ranks(ranks, objective_on_a_rank), strict=True):
        rows = slice(start, start := start + share)
        for (figures, grads), (of_whole, whole_grads) in zip(results, expected, strict=True):
            assert figures == pytest.approx(of_whole, rel=1e-5)
            for grad, whole_grad in zip(grads, whole_grads, strict=True):
                torch.testing.assert_close(grad, ranks * whole_grad[rows], rtol=1e-5, atol=1e-5)


# --- The trainer ----------------------------------------------------------------------------------


def train_and_tell(config: TrainConfig, out: Path, instances: int) -> dict[str, Tensor]:
    data = synthetic("shoes", instances, "train", seed=0, size=64)
    return train(data, config, out, progress=False).model.state_dict()


def train_until_killed(config: TrainConfig, out: Path, instances: int) -> int:
    """Stops every rank in its second epoch; returns how many there are."""
    real, calls = distributed.average_buffers, []

    def average(model: Any) -> None:
        calls.append(1)
        if len(calls) > 2:
            raise KeyboardInterrupt
        real(model)

    with (
        mock.patch("fgsbir.training.train.average_buffers", average),
        pytest.raises(KeyboardInterrupt),
    ):
        train_and_tell(config, out, instances)
    return dist.get_world_size()


def test_all_ranks_end_with_the_same_weights_and_one_writes(tmp_path: Path) -> None:
    first, second = run_ranks(2, train_and_tell, SMALL, tmp_path / "run", 14)
    assert_same(first, second)
    assert_same(first, load_run(tmp_path / "run").model.state_dict())
    assert sorted(x.name for x in (tmp_path / "run").iterdir()) == [
        "log.jsonl",
        "model.safetensors",
    ]
    log = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert len(log) == 3
    assert all("held_out" in line for line in log)

    # Killed and started again, it goes on to the same weights.
    run_ranks(2, train_until_killed, SMALL, tmp_path / "killed", 14)
    assert len((tmp_path / "killed" / "log.jsonl").read_text().splitlines()) == 1
    for again in run_ranks(2, train_and_tell, SMALL, tmp_path / "killed", 14):
        assert_same(again, first)


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, x in one.items():
        assert torch.equal(x, other[name]), name


def test_without_batch_statistics_the_number_of_ranks_changes_nothing(tmp_path: Path) -> None:
    alone = train_and_tell(PLAIN, tmp_path / "alone", 10)
    for weights in run_ranks(2, train_and_tell, PLAIN, tmp_path / "two", 10):
        torch.testing.assert_close(weights, alone, rtol=0, atol=1e-5)
    torch.manual_seed(PLAIN.seed)
    drawn = create_model(PLAIN, load_run(tmp_path / "alone").data).state_dict()
    moved = max((x - drawn[name]).abs().max().item() for name, x in alone.items())
    assert moved > 1e-3  # so that equal weights mean equal gradients


def train_local_embeddings(out: Path) -> dict[str, Tensor]:
    data = synthetic("shoes", 10, "train", seed=0, size=64)
    plain = replace(data, sketch_attributes=None, photo_attributes=None, attribute_names=())
    loss = replace(PLAIN.loss, attribute_guidance=0.0)
    config = replace(PLAIN, model=replace(PLAIN.model, head="local"), loss=loss)
    return train(plain, config, out, progress=False).model.state_dict()


def test_layers_that_no_head_reads_stay_as_they_are(tmp_path: Path) -> None:
    first, second = run_ranks(2, train_local_embeddings, tmp_path / "run")
    assert_same(first, second)
    run = load_run(tmp_path / "run")
    torch.manual_seed(PLAIN.seed)
    drawn = create_model(run.config, run.data).state_dict()
    fc6 = max(drawn, key=lambda name: drawn[name].numel())
    assert torch.equal(first[fc6], drawn[fc6])
    assert not torch.equal(first["trunk.0.weight"], drawn["trunk.0.weight"])


def share_of(instances: int) -> Any:
    try:
        return distributed.own_share(torch.arange(instances)).tolist()
    except ValueError as error:
        return str(error)


def test_shares_of_a_batch() -> None:
    assert run_ranks(2, share_of, 5) == [[0, 1, 2], [3, 4]]
    assert share_of(5) == [0, 1, 2, 3, 4]
    for message in run_ranks(2, share_of, 1):
        assert message.startswith("batch_size: expected at least one pair for each of 2 processes")


@pytest.mark.slow
def test_torchrun_trains(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    command += ["2", "-m", "fgsbir", "train", "--out", str(tmp_path / "run")]
    command += ["--data", "synthetic:shoes?count=12&size=64"]
    command += ["--epochs", "1", "--size", "32", "--width", "4", "--warmup-epochs", "0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("Done.") == 1
    assert done.stderr.count("epoch   1") == 1
    assert load_run(tmp_path / "run").epoch == 1
