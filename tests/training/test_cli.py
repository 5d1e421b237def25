"""Command line, from end to end and with wrong input."""

import json
import re
import shlex
import subprocess
import sys
from typing import get_args

import pytest
from PIL import Image

from fgsbir import config
from fgsbir.cli import main
from fgsbir.config import BackboneName
from fgsbir.data import synthetic
from fgsbir.gallery import Gallery
from fgsbir_ext import types
from tests.support.paths import ROOT

TINY = ["--epochs=1", "--size=32", "--width=8", "--embedding-dim=16", "--batch-size=8"]
DATA = "synthetic:shoes?count=12&size=64"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A model that one short `fgsbir train` left behind."""
    out = tmp_path_factory.mktemp("runs") / "shoes"
    assert main(["train", "--data", DATA, "--out", str(out), *TINY]) == 0
    return out


def test_train_then_evaluate(run, capsys, tmp_path):
    picture = tmp_path / "retrievals.png"
    command = ["evaluate", str(run), "--data", DATA, "--picture", str(picture)]
    assert main(command) == 0
    table = capsys.readouterr().out
    assert "acc@1 " in table
    assert "8.3%" in table  # chance, one photo of twelve
    assert min(Image.open(picture).size) > 300

    assert main([*command, "--json", "--attribute-weight", "0.5", "--views", "flip"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert {"acc@1", "acc@10", "trip_acc"} <= set(scores)
    assert all(0 <= scores[key] <= 100 for key in ("acc@1", "acc@10", "trip_acc"))


def test_train_reports_progress_and_the_next_command(tmp_path, capfd):
    assert main(["train", "--data", DATA, "--out", str(tmp_path), *TINY]) == 0
    out, err = capfd.readouterr()
    assert f"fgsbir evaluate {tmp_path} --data '{DATA}'" in out
    lines = [line for line in err.splitlines() if "loss" in line]
    assert len(lines) == 1
    assert "epoch   1" in lines[0]


def test_quickstart_leaves_everything_it_promises(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("fgsbir.quickstart.TRAIN_PAIRS", 12)
    monkeypatch.setattr("fgsbir.quickstart.TEST_PAIRS", 12)
    out = tmp_path / "my first run"
    assert main(["quickstart", "--out", str(out), "--epochs", "1"]) == 0
    printed = capsys.readouterr().out
    names = {"model.safetensors", "log.jsonl", "scores.json", "retrievals.png"}
    names |= {"photos", "sketches"}
    assert names == {path.name for path in out.iterdir()}
    assert all(str(out / name) in printed for name in names)
    assert "chance" in printed

    commands = re.findall(r"^  (fgsbir (?:index|serve|search) .*)$", printed, re.MULTILINE)
    index, serve, search = map(shlex.split, commands)
    assert main(index[1:]) == 0
    assert len(Gallery.load(serve[2])) == 12
    capsys.readouterr()
    assert main([*search[1:], "-k", "12"]) == 0
    assert str(out / "photos" / "shoe-000.png") in capsys.readouterr().out


def test_a_command_that_is_stopped_says_so_in_one_line(monkeypatch, capsys):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fgsbir.quickstart.quickstart", interrupted)
    assert main(["quickstart"]) == 130
    assert capsys.readouterr().err == "\nfgsbir: stopped\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--data", "/no/such/folder", "--out", "OUT"], "/no/such/folder"),
        (["train", "--data", DATA, "--out", "OUT", "--size", "8"], "at least 32 pixels, got 8"),
        (["train", "--data", DATA, "--out", "OUT", "--holdout", "11"], "holdout: expected 1 to 10"),
        (["train", "--data", DATA, "--out", "OUT", "--device", "gpu"], "device: "),
        (["train", "--data", DATA, "--out", "OUT", "--margin", "-1"], "margin"),
        (["train", "--data", DATA, "--out", "OUT", "--epochs", "0"], "epochs: "),
        (["train", "--data", DATA, "--out", "OUT", "--dropout", "2"], "dropout: "),
        (["evaluate", "OUT/none", "--data", DATA], "no such checkpoint"),
    ],
)
def test_wrong_input_ends_in_one_line_and_exit_code_2(arguments, message, tmp_path, capsys):
    arguments = [a.replace("OUT", str(tmp_path)) for a in arguments]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("fgsbir: error: ")
    assert message in error
    assert error.count("\n") == 1


def test_a_model_is_not_scored_on_other_attributes(run, capsys):
    chairs = "synthetic:chairs?count=4&size=64"
    assert main(["evaluate", str(run), "--data", chairs, "--category", "chairs"]) == 2
    assert "attributes" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["train"], ["nonsense"], ["evaluate", "--bogus", "1"]])
def test_wrong_options_exit_with_2(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", [module.stem for module in sorted((ROOT / "python/fgsbir/cli").glob("[a-z]*.py"))]
)
def test_every_module_is_a_command_and_its_help_carries_an_example(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    assert f"Example: fgsbir {command}" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["pretrain", "train", "reproduce"])
@pytest.mark.parametrize("backbone", get_args(BackboneName))
def test_help_shows_the_defaults_of_the_backbone(command, backbone, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([command, "--backbone", backbone, "--help"])
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert f"--backbone {{{','.join(get_args(BackboneName))}}}" in shown
    assert f"(default: {backbone})" in shown


@pytest.mark.parametrize(
    "code",
    [
        "import fgsbir",
        "from fgsbir.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as end: assert not end.code",
    ],
)
def test_the_package_and_its_help_load_neither_torch_nor_numpy(code):
    code += "\nimport sys; sys.exit(not sys.modules.keys().isdisjoint({'torch', 'numpy'}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", ["AttributeMetric", "Margin", "Metric"])
def test_options_of_the_configuration_are_those_of_the_loss(name):
    assert getattr(config, name) == getattr(types, name)


def test_module_entry_point_gives_the_exit_code() -> None:
    command = [sys.executable, "-m", "fgsbir", "evaluate", "no-such-run", "--data", "synthetic"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("fgsbir: error: no-such-run")
    assert "Traceback" not in done.stderr


def test_a_model_of_a_category_scores_own_pairs(run, capsys, tmp_path):
    for name in "abcdefghij":
        for kind in ("photos", "sketches"):
            (tmp_path / kind).mkdir(exist_ok=True)
            Image.fromarray(synthetic("shoes", 1).sketches[0]).save(tmp_path / kind / f"{name}.png")
    assert main(["evaluate", str(run), "--data", str(tmp_path), "--split", "train"]) == 0
    assert "acc@1 " in capsys.readouterr().out
