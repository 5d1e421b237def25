"""Runs that are killed at any moment and resumed, and folders that hold a run already."""

import dataclasses
import json
import multiprocessing
import os
import signal
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from fgsbir.atomic_files import exclusive
from fgsbir.config import OptimConfig, TrainConfig
from fgsbir.models.checkpoint import BACKBONE_NAME, FILE_NAME, load_run
from fgsbir.training.frozen_features import FOLDER
from fgsbir.training.optim import average_of
from fgsbir.training.run_log import LOG_NAME
from fgsbir.training.train import train
from fgsbir.training.training_state import STATE_NAME
from tests.support import killed

CHECKPOINT = {
    "train": FILE_NAME,
    "joint": FILE_NAME,
    "frozen": FILE_NAME,
    "pretrain": BACKBONE_NAME,
}


@pytest.fixture(scope="module")
def start():
    """Starts a training in a process of its own, to be killed at a moment; gives its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        # One process imports torch, and every training is a fork of it.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.support.killed"])

        def run(kind: str, folder: Path, moment: str) -> int | None:
            process = context.Process(target=killed.run_and_die, args=(kind, folder, moment))
            process.start()
            process.join(timeout=120)
            return process.exitcode

        yield run


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, Path]:
    """Finished runs of every kind that nothing has disturbed."""
    torch.set_num_threads(1)
    folders = {kind: tmp_path_factory.mktemp(kind) for kind in CHECKPOINT}
    for kind, folder in folders.items():
        killed.run(kind, folder)
    return folders


def without_times(log: Path) -> list[dict]:
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [{k: v for k, v in line.items() if "seconds" not in k} for line in lines]


@pytest.mark.parametrize(
    ("kind", "moment"),
    [
        ("train", "step:2"),  # before anything is on disk
        ("train", "step:7"),  # in the last epoch
        ("joint", "step:8"),
        ("frozen", "before *.safetensors:5"),  # among the features
        ("frozen", "step:2"),
        ("frozen", "step:7"),
        ("train", "before state.pt:1"),
        ("train", "before state.pt:2"),
        ("train", "after state.pt:3"),  # all epochs done, no final checkpoint
        ("train", "before model.safetensors:1"),
        ("train", "before model.safetensors:3"),
        ("train", "after model.safetensors:3"),
        ("train", "removing state.pt:0"),
        ("pretrain", "step:5"),
        ("pretrain", "before state.pt:2"),
        ("pretrain", "after state.pt:3"),
    ],
)
def test_a_killed_run_ends_in_the_same_weights(start, kind, moment, undisturbed, tmp_path):
    assert start(kind, tmp_path, moment) == -signal.SIGKILL
    killed.run(kind, tmp_path)
    name = CHECKPOINT[kind]
    ours, theirs = load_file(tmp_path / name), load_file(undisturbed[kind] / name)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert without_times(tmp_path / LOG_NAME) == without_times(undisturbed[kind] / LOG_NAME)
    features = {FOLDER} if kind == "frozen" else set()
    assert {path.name for path in tmp_path.iterdir()} == {name, LOG_NAME} | features


def test_a_run_goes_on_scored_more_often_and_elsewhere(start, undisturbed, tmp_path):
    """The device is none that this machine has two of; where it was is not asked for."""
    start("train", tmp_path, "step:5")
    state = tmp_path / STATE_NAME
    content = torch.load(state, weights_only=True)
    task = json.loads(content["task"])
    assert task["config"]["device"] == "cpu"
    task["config"]["device"] = "cuda:1"
    torch.save({**content, "task": json.dumps(task)}, state)
    killed.run("train", tmp_path, {"eval_every": 2})
    ours, theirs = (load_file(f / CHECKPOINT["train"]) for f in (tmp_path, undisturbed["train"]))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_half_a_line_of_the_log_is_dropped(start, undisturbed, tmp_path):
    start("train", tmp_path, "step:5")
    with open(tmp_path / LOG_NAME, "a") as log:
        log.write('{"epoch": 2, "loss": 0.')
    killed.run("train", tmp_path)
    assert without_times(tmp_path / LOG_NAME) == without_times(undisturbed["train"] / LOG_NAME)


def test_a_finished_run_is_given_back_and_not_trained_again(undisturbed):
    folder = undisturbed["train"]
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    weights = killed.run("train", folder)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    stored = load_run(folder).model.state_dict()
    assert all(torch.equal(stored[name], value) for name, value in weights.items())


SMALL = TrainConfig(model=killed.MODEL, optim=OptimConfig(epochs=1, batch_size=4))


@pytest.mark.parametrize("unfinished", [True, False])
def test_a_run_with_other_settings_or_data_is_refused(start, unfinished, tmp_path):
    if unfinished:
        start("train", tmp_path, "step:5")
    else:
        killed.run("train", tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=r"optim\.epochs 3 instead of 1.*--init from"):
        train(killed.pairs(), SMALL, tmp_path, progress=False)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    train(killed.pairs(), SMALL, tmp_path, progress=False, overwrite=True)
    assert load_run(tmp_path).config == SMALL
    assert len(without_times(tmp_path / LOG_NAME)) == 1
    with pytest.raises(ValueError, match=r"data\.digest"):
        train(dataclasses.replace(killed.pairs(1), name="pairs 0"), SMALL, tmp_path, progress=False)


def test_wrong_settings_leave_an_earlier_run_alone(tmp_path):
    train(killed.pairs(), SMALL, tmp_path, progress=False)
    before = (tmp_path / LOG_NAME).read_bytes()
    for wrong in (
        dataclasses.replace(SMALL, holdout=100),
        dataclasses.replace(SMALL, device="meta"),
        dataclasses.replace(SMALL, seed=-1),
        dataclasses.replace(SMALL, init="/no/such/run"),
    ):
        with pytest.raises((ValueError, FileNotFoundError)):
            train(killed.pairs(), wrong, tmp_path, progress=False, overwrite=True)
    assert (tmp_path / LOG_NAME).read_bytes() == before


def test_a_damaged_state_is_named(tmp_path):
    (tmp_path / STATE_NAME).write_bytes(b"half of a sta")
    with pytest.raises(ValueError, match=r"state\.pt: damaged.*delete it"):
        train(killed.pairs(), SMALL, tmp_path, progress=False)


def test_two_runs_in_one_folder_are_refused(tmp_path):
    with exclusive(tmp_path), pytest.raises(ValueError, match="another run is writing"):
        train(killed.pairs(), SMALL, tmp_path, progress=False)
    assert not list(tmp_path.iterdir())
    train(killed.pairs(), SMALL, tmp_path, progress=False)


def test_the_folder_is_free_again_when_a_run_is_killed(start, tmp_path):
    assert start("train", tmp_path, "step:5") == -signal.SIGKILL
    with exclusive(tmp_path), pytest.raises(ValueError, match="another run"), exclusive(tmp_path):
        pass
    with exclusive(tmp_path):
        pass


def test_the_average_forgets_the_drawn_weights_and_takes_in_the_statistics():
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    averaged = average_of(network, 0.5)
    assert averaged is not None
    history = []
    for step in range(4):
        with torch.no_grad():
            for value in network.state_dict().values():
                value.copy_(torch.full_like(value, 10 * step))
        history.append(10.0 * step)
        averaged.update_parameters(network)
    expected = history[0]
    for seen, new in enumerate(history[1:], 1):
        kept = min(0.5, (1 + seen) / (10 + seen))
        expected = kept * expected + (1 - kept) * new
    stored = averaged.module.state_dict()
    assert stored["0.weight"].flatten().tolist() == pytest.approx([expected] * 4)
    assert stored["1.running_var"].tolist() == pytest.approx([expected] * 2)
    assert stored["1.num_batches_tracked"] == 30
    assert average_of(network, 0.0) is None


def test_what_is_saved_and_scored_is_the_average(tmp_path):
    plain = dataclasses.replace(SMALL, optim=dataclasses.replace(SMALL.optim, epochs=2))
    average = dataclasses.replace(plain, optim=dataclasses.replace(plain.optim, average_decay=0.9))
    first = train(killed.pairs(), plain, tmp_path / "plain", progress=False)
    second = train(killed.pairs(), average, tmp_path / "average", progress=False)
    stored = load_run(tmp_path / "average").model.state_dict()
    own = second.model.state_dict()
    assert all(torch.equal(stored[name], value) for name, value in own.items())
    assert not torch.equal(own["embedding.weight"], first.model.state_dict()["embedding.weight"])
