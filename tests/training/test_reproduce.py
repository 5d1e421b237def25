"""Reproduction: what each row trains, that it resumes and repeats nothing, and the report."""

import dataclasses
import json
import re

import numpy as np
import pytest
from PIL import Image

from fgsbir.cli import main
from fgsbir.config import EvalConfig, TrainConfig
from fgsbir.data import synthetic
from fgsbir.evaluation.distortions import DISTORTIONS
from fgsbir.evaluation.metrics import score
from fgsbir.evaluation.ranking import rank_together
from fgsbir.models.checkpoint import load_run
from fgsbir.reproduce import runner
from fgsbir.reproduce.provenance import versions
from fgsbir.reproduce.published import PUBLISHED
from fgsbir.reproduce.report import summarise, write_report
from fgsbir.reproduce.rows import ROWS, VARIANTS, override
from fgsbir.reproduce.runner import in_memory
from fgsbir.reproduce.spec import Task
from tests.support.cases import LAMBDAS

TINY = ["--backbone=resnet", "--size=32", "--width=4", "--embedding-dim=16", "--batch-size=8"]
TINY += ["--epochs=1"]
AS_DRAWN = [*TINY, "--no-robustness"]
DATA = ["--data", "synthetic?count=10&size=32"]


def test_rows_differ_from_the_preset_in_what_they_are_about():
    config = TrainConfig()
    alone = override(config, VARIANTS[ROWS["triplet"].variant].overrides)
    changed = LAMBDAS
    assert all(getattr(alone.loss, name) == 0 for name in changed)
    assert dataclasses.replace(
        alone, loss=dataclasses.replace(alone.loss, **dict.fromkeys(changed, 0.1))
    ) == dataclasses.replace(config)
    predicted = override(config, VARIANTS[ROWS["prediction"].variant].overrides)
    assert predicted.loss == dataclasses.replace(config.loss, lambda_a=0.0)
    assert override(config, VARIANTS[ROWS["full"].variant].overrides) == config
    assert ROWS["ranking"].variant == ROWS["full"].variant
    assert not ROWS["ranking"].fused
    assert ROWS["full"].fused
    assert {row.variant for row in ROWS.values()} == set(VARIANTS)


def test_help_names_every_row(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["reproduce", "--help"])
    words = re.findall(r"[\w-]+(?:\.\d+)?", capsys.readouterr().out)
    start = words.index("triplet")
    assert words[start : start + len(ROWS) + 1] == [*ROWS, "Left"]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table of every row that a synthetic set has the annotation for, of two seeds."""
    out = tmp_path_factory.mktemp("table")
    command = ["reproduce", *DATA, *AS_DRAWN, "--seeds", "0", "1"]
    command += ["--categories", "shoes", "chairs", "--out", str(out)]
    assert main(command) == 0
    return out, command


@pytest.mark.slow
def test_sketches_drawn_otherwise_are_part_of_the_report(tmp_path):
    command = ["reproduce", *DATA, *TINY, "--seeds", "0", "1"]
    command += ["--rows", "full", "--out", str(tmp_path)]
    assert main(command) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    ours = [r["robustness"]["in pencil"]["read"] for r in results["results"]]
    (entry,) = results["summary"]
    mean = np.mean([scores["acc@10"] for scores in ours])
    assert entry["robustness"]["in pencil"]["read"]["acc@10"] == pytest.approx(mean)
    lines = (tmp_path / "REPORT.md").read_text().splitlines()
    start = lines.index(f"| | {ROWS['full'].title} |")
    assert [line.split(" | ")[0][2:] for line in lines[start + 2 :][: 1 + len(DISTORTIONS)]] == [
        "as drawn",
        *DISTORTIONS,
    ]
    assert main(command) == 0  # scores nothing anew
    assert json.loads((tmp_path / "results.json").read_text())["results"] == results["results"]


def test_the_report_has_every_row_with_means_deviations_and_sources(table):
    out, _ = table
    text = (out / "REPORT.md").read_text()
    results = json.loads((out / "results.json").read_text())
    rows = {entry["row"] for entry in results["summary"]}
    assert rows == {name for name in ROWS if name != "listed-people" and "extra" not in name}
    assert "Left out, for the data lacks people's verdicts: listed triplets of people." in text
    for name in rows:
        assert text.count(f"| {ROWS[name].title} |") == 2
    assert " ± " in text
    assert "of weight 10 in every row but those of listed triplets" in text
    assert "50.43" not in text  # published, of other data
    assert results["versions"]["torch"] in text
    for name in ("learning_curves", "acc_at_k", "ablation"):
        assert min(Image.open(out / f"{name}.png").size) > 300
    gain = next(one for one in results["differences"] if one["row"] == "prediction")
    assert (
        f"| attribute prediction: `prediction` over `triplet` | {gain['acc@1']['mean']:+.1f}"
        in text
    )
    entry = results["results"][0]
    assert len(entry["curve"]) == 10
    assert np.mean([rank == 1 for rank in entry["ranks"]]) == entry["scores"]["acc@1"] / 100
    assert entry["curve"][-1] == 100
    assert entry["curve"][0] == entry["scores"]["acc@1"]


def test_a_second_call_trains_nothing_and_scores_nothing(table, monkeypatch):
    out, command = table
    before = json.loads((out / "results.json").read_text())["results"]
    (out / "REPORT.md").unlink()

    def fail(*_, **__):
        raise AssertionError("done before")

    monkeypatch.setattr(runner, "rank_together", fail)
    monkeypatch.setattr("fgsbir.training.optim.Stepper.step", fail)
    assert main(command) == 0
    assert json.loads((out / "results.json").read_text())["results"] == before
    assert (out / "REPORT.md").is_file()


def test_a_stopped_table_goes_on(table, tmp_path, monkeypatch):
    out, command = table
    command = [*command[:-1], str(tmp_path), "--rows", "triplet", "ranking"]
    expected = json.loads((out / "results.json").read_text())["results"]
    left = 3

    class Stopped(BaseException):
        pass

    real = runner.rank_together

    def stopping(*arguments, **named):
        nonlocal left
        left -= 1
        if left == 0:
            raise Stopped
        return real(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(runner, "rank_together", stopping)
        with pytest.raises(Stopped):
            main(command)
    assert not (tmp_path / "results.json").exists()
    assert main(command) == 0
    found = json.loads((tmp_path / "results.json").read_text())["results"]
    for result in found:
        (twin,) = [r for r in expected if (r["row"], r["runs"]) == (result["row"], result["runs"])]
        assert result["scores"] == twin["scores"]
        assert result["loss"] == twin["loss"]


def test_cross_validation_never_opens_the_test_split(tmp_path, monkeypatch):
    opened = []
    real = runner.open_dataset

    def opening(path, category, split):
        opened.append(split)
        return real(path, category, split)

    monkeypatch.setattr(runner, "open_dataset", opening)
    command = ["reproduce", *DATA, *TINY, "--seeds", "0", "--rows", "triplet"]
    assert main([*command, "--cross-validate", "2", "--out", str(tmp_path)]) == 0
    assert opened == ["train"]
    results = json.loads((tmp_path / "results.json").read_text())
    assert [r["scores"]["photos"] for r in results["results"]] == [5, 5]
    text = (tmp_path / "REPORT.md").read_text()
    assert "2-fold cross-validation" in text
    assert PUBLISHED[0].method not in text


def test_pretraining_is_part_of_it(tmp_path):
    for name, category in (("a", "shoes"), ("b", "chairs")):
        (tmp_path / "classes" / name).mkdir(parents=True)
        for i, sketch in enumerate(synthetic(category, 33, size=32).sketches):
            Image.fromarray(sketch).save(tmp_path / "classes" / name / f"{i}.png")
    command = ["reproduce", *DATA, *AS_DRAWN, "--seeds", "0", "--rows", "triplet"]
    command += ["--pretrain-data", str(tmp_path / "classes"), "--pretrain-epochs", "1"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "pretrained" / "trunk.safetensors").is_file()
    assert "pretrained for 1 epochs" in (tmp_path / "out" / "REPORT.md").read_text()


def test_further_training_data_has_a_row_of_its_own(tmp_path):
    (tmp_path / "catalogue").mkdir()
    shoes = synthetic("shoes", 4, "test", size=32)
    for i in range(4):
        Image.fromarray(np.asarray(shoes.photos[i])).save(tmp_path / "catalogue" / f"{i}.png")
    command = ["reproduce", *DATA, *AS_DRAWN, "--seeds", "0"]
    command += ["--categories", "shoes", "chairs", "--rows", "joint", "joint-extra"]
    command += ["--extra-photos", str(tmp_path / "catalogue"), "--cross-validate", "2"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())["results"]
    names = {
        load_run(tmp_path / "out" / r["runs"][0]).data.name for r in results if "extra" in r["row"]
    }
    assert all(name.endswith(" + catalogue") for name in names)
    assert {r["scores"]["sketches"] for r in results} == {5}
    text = (tmp_path / "out" / "REPORT.md").read_text()
    assert "Further training data: `catalogue`." in text


@pytest.mark.parametrize("row", ["ensemble", "ensemble-corrected"])
def test_an_ensemble_ranks_by_the_models_of_all_seeds(table, row):
    out, _ = table
    results = json.loads((out / "results.json").read_text())["results"]
    for category in ("shoes", "chairs"):
        (found,) = [r for r in results if (r["row"], r["category"]) == (row, category)]
        assert found["seed"] is None
        assert [run.rpartition("seed")[2] for run in found["runs"]] == ["0", "1"]
        gallery, learnt = (synthetic(category, 10, split, size=32) for split in ("test", "train"))
        runs = [load_run(out / run) for run in found["runs"]]
        members = [(run.model, run.data.columns_of(gallery.attribute_names)) for run in runs]
        scoring = EvalConfig(**ROWS[row].scoring)
        ranking = rank_together(members, gallery, scoring, bank=learnt.sketches)
        assert found["scores"] == score(ranking, gallery).to_dict()


def test_what_is_known_of_hubs_comes_from_the_sketches_learnt_from(tmp_path, monkeypatch):
    seen = []
    real = runner.rank_together

    def noting(members, gallery, scoring, *, bank, **others):
        seen.append((scoring.hub_weight, {image.tobytes() for image in bank}, gallery))
        return real(members, gallery, scoring, bank=bank, **others)

    monkeypatch.setattr(runner, "rank_together", noting)
    command = ["reproduce", *DATA, *TINY, "--seeds", "0", "--cross-validate", "2"]
    command += ["--categories", "shoes", "chairs", "--rows", "joint-corrected"]
    assert main([*command, "--out", str(tmp_path)]) == 0
    assert len(seen) == 4
    for weight, bank, gallery in seen:
        assert weight == ROWS["joint-corrected"].scoring["hub_weight"]
        category = "shoes" if "shoes" in gallery.name else "chairs"
        everything = {x.tobytes() for x in synthetic(category, 10, "train", size=32).sketches}
        assert bank == everything - {x.tobytes() for x in gallery.sketches}


def test_pairs_without_attributes(tmp_path):
    for kind in ("photos", "sketches"):
        (tmp_path / kind).mkdir()
        for i, name in enumerate("abcdefghijkl"):
            image = np.random.default_rng(i).choice([0, 255], (40, 40), p=[0.2, 0.8]).astype("u1")
            Image.fromarray(image).save(tmp_path / kind / f"{name}.png")
    command = ["reproduce", "--data", str(tmp_path), *AS_DRAWN, "--seeds", "0"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    summary = json.loads((tmp_path / "out" / "results.json").read_text())["summary"]
    assert {entry["row"] for entry in summary} == {"triplet"}


def test_means_and_sample_deviations_by_hand():
    def result(seed, fold, acc, sketches):
        scores = {"acc@1": acc, "acc@10": 2 * acc, "trip_acc": None, "sketches": sketches}
        scores["photos"] = 5 + sketches
        place = {"row": "full", "category": "shoes", "seed": seed, "fold": fold}
        return {**place, "data": "shoes/test", "scores": scores}

    (entry,) = summarise(
        [result(0, 0, 10.0, 1), result(0, 1, 40.0, 2), result(1, 0, 20.0, 1), result(1, 1, 20.0, 2)]
    )
    assert entry["acc@1"]["seeds"] == [30.0, 20.0]
    assert entry["acc@1"]["mean"] == 25
    assert entry["acc@1"]["deviation"] == pytest.approx(50**0.5)
    assert entry["trip_acc"] == {"mean": None, "deviation": None, "seeds": []}
    assert entry["asked"] == "3 sketches, each among 6 or 7 photos."
    (single,) = summarise([result(0, None, 10.0, 1)])
    assert single["acc@1"]["deviation"] is None
    assert single["asked"] == "1 sketch among 6 photos."


def test_published_figures_stand_beside_those_of_the_same_photos(tmp_path):
    scores = {"acc@1": 10.0, "acc@10": 20.0, "trip_acc": 60.0, "sketches": 115, "photos": 115}
    place = {"row": "full", "category": "shoes", "seed": 0, "fold": None, "data": "shoes/test"}
    found = {"scores": scores, "curve": [10.0, 20.0], "loss": [2.0, 1.0], "seconds": [60.0]}
    found["ranks"] = [1] + 114 * [None]
    result = {**place, "runs": ["runs/x"], **found}
    task = Task("x", ("full",), ("shoes",), (0,), TrainConfig(), EvalConfig(), command="f x")
    text = write_report(tmp_path, task, [result], {}, 30.0).read_text()
    line = (
        "| *attribute-driven multi-task model (Song et al., BMVC 2016)* | 50.43 | 91.30 | 70.59 |"
    )
    assert line in text
    assert "| *people* | 66.09 |  |  |" in text
    assert "Training took 1.0 minutes in all" in text
    assert "\nf x\n" in text
    own = write_report(tmp_path, task, [{**result, "data": "mine/test"}], {}, 30.0).read_text()
    assert "50.43" not in own


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rows", "everything"], "rows: expected some of triplet"),
        (["--seeds", "0", "0"], "seeds: expected at least one, each once"),
        (["--seed", "3"], "seed: is one run's; give --seeds"),
        (["--holdout", "2"], "holdout: expected 0"),
        (["--attribute-weight", "-1"], "attribute_weight: expected a finite number from 0"),
        (["--cross-validate", "1"], "cross_validate: expected 2 or more folds, got 1"),
        (["--pretrain-data", "x", "--init", "y"], "pretrain_data: expected none beside init"),
        (["--rows", "listed-people"], "the data lacks people's verdicts for every row"),
        (["--rows", "joint-extra"], "the data lacks further sketches and photos for every row"),
        (["--rows", "joint"], "the data lacks a second category for every row"),
    ],
)
def test_wrong_options_are_refused(options, message, tmp_path, capsys):
    assert main(["reproduce", *DATA, *TINY, "--out", str(tmp_path / "out"), *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_images_are_decoded_once():
    data = synthetic("shoes", 3, "train", size=32)
    loaded = in_memory(dataclasses.replace(data, sketches=list(data.sketches)))
    assert isinstance(loaded.sketches, np.ndarray)
    assert np.array_equal(loaded.sketches, data.sketches)


def test_versions_name_the_commit_or_none():
    commit = versions()["commit"]
    assert commit is None or len(commit.removesuffix("-modified")) == 40
