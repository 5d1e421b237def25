"""Tests of the benchmark harness and its baselines."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from benchmarks import report, run
from benchmarks.baselines import BASELINES, OPERATIONS, Baseline, Operation, cupy, pytorch
from benchmarks.baselines.base import GREY, GUIDANCE, TOP, Tier
from benchmarks.harness import grid
from benchmarks.harness.entries import bare_entry, entries
from benchmarks.harness.estimate import hopeless
from benchmarks.harness.grid import Cell
from benchmarks.harness.isolate import Isolation, Limits, Row
from benchmarks.harness.machine import PACKAGES
from benchmarks.harness.measure import Measurement, Series, peak_bytes
from benchmarks.harness.targets import gpu_target_table, target_table
from benchmarks.workload import Inputs, Workload, make_inputs
from fgsbir_ext import reference

SMALL = Workload(60, d=16, k=5)
LIMITS = Limits(memory=10**9, seconds=60, rounds=0.05)
LOSSES = ("fgsbir_ext", "plain PyTorch", "tuned PyTorch")
MINERS = (*LOSSES, "PyTorch in tiles")


def needs(name: str) -> None:
    pytest.importorskip(BASELINES[name].requires, exc_type=ImportError)


def result_of(name: str, operation: Any, inputs: Inputs) -> Any:
    needs(name)
    return BASELINES[name].operations[operation](inputs)()


def expected_loss(inputs: Inputs) -> torch.Tensor:
    total = reference.attribute_triplet_loss(
        *inputs.leaves[:2],
        **inputs.both("logits", "attributes", "labels"),
        attribute_guidance=GUIDANCE,
    )
    assert isinstance(total, torch.Tensor)
    return total


# --- The baselines --------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def several_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pytorch, "TILE_ROWS", 7)


@pytest.mark.parametrize("shots", [1, 4])
@pytest.mark.parametrize("name", [*MINERS, pytest.param("KeOps", marks=pytest.mark.slow)])
def test_a_baseline_computes_the_loss_and_its_gradients(name: str, shots: int) -> None:
    inputs = make_inputs(replace(SMALL, shots=shots))
    result_of(name, "loss forward + backward", inputs)
    gradients = [leaf.grad for leaf in inputs.leaves]
    expected = torch.autograd.grad(expected_loss(inputs), inputs.leaves)
    torch.testing.assert_close(gradients, list(expected), rtol=1e-4, atol=1e-6)
    if "loss forward" in BASELINES[name].operations:
        total = result_of(name, "loss forward", inputs)
        torch.testing.assert_close(total, expected_loss(inputs), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shots", [1, 4])
def test_metric_learning_computes_half_of_the_triplets_loss(shots: int) -> None:
    """Over triplets that do not lie beyond the margin: of these it takes the mean."""
    inputs = make_inputs(replace(SMALL, shots=shots, d=2))
    total = result_of("pytorch-metric-learning", "loss forward", inputs)
    hinge = reference.attribute_triplet_loss(
        *inputs.leaves[:2], **inputs.both("labels"), reduction="none"
    )
    assert isinstance(hinge, torch.Tensor)
    torch.testing.assert_close(total, hinge[hinge > 0].mean() / 2, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shots", [1, 4])
@pytest.mark.parametrize("name", [*MINERS, pytest.param("KeOps", marks=pytest.mark.slow)])
def test_a_baseline_mines_the_same_triplets(name: str, shots: int) -> None:
    inputs = make_inputs(replace(SMALL, shots=shots))
    picks = result_of(name, "mining", inputs)
    assert_hardest(inputs, *picks)


@pytest.mark.parametrize("shots", [1, 4])
def test_cupy_mines_the_same_triplets_by_its_logic_in_numpy(shots: int) -> None:
    inputs = make_inputs(replace(SMALL, shots=shots))
    names = cupy.EMBEDDINGS + cupy.ANNOTATIONS
    arrays = [getattr(inputs, name).detach().numpy() for name in names]
    assert_hardest(inputs, *(torch.from_numpy(x) for x in cupy.mine(np, *arrays)))


def assert_hardest(inputs: Inputs, positive: torch.Tensor, negative: torch.Tensor) -> None:
    embeddings = (x.detach() for x in inputs.leaves[:2])
    expected = reference.mine_batch_hard(
        *embeddings, **inputs.both("attributes", "labels"), attribute_guidance=GUIDANCE
    )
    assert expected.valid.all()
    assert torch.equal(positive, expected.positive)
    assert torch.equal(negative, expected.negative)


@pytest.mark.parametrize(
    "name", [*LOSSES, "faiss flat", pytest.param("KeOps", marks=pytest.mark.slow)]
)
def test_a_baseline_finds_the_nearest(name: str) -> None:
    inputs = make_inputs(replace(SMALL, m=200))
    found = [torch.as_tensor(x) for x in result_of(name, "top-k", inputs)]
    expected = reference.topk(inputs.sketch, inputs.photo, TOP)
    torch.testing.assert_close(found[0], expected[0], rtol=1e-4, atol=1e-5)
    assert torch.equal(found[1], expected[1])


def test_cupy_finds_the_nearest_by_its_logic_in_numpy() -> None:
    inputs = make_inputs(replace(SMALL, m=200))
    x, y = (leaf.detach() for leaf in inputs.leaves[:2])
    found = cupy.search(np, x.numpy(), y.numpy())
    expected = reference.topk(x, y, TOP)
    torch.testing.assert_close(torch.from_numpy(found[0]), expected[0], rtol=1e-4, atol=1e-5)
    assert torch.equal(torch.from_numpy(found[1]), expected[1])


@pytest.mark.parametrize("name", LOSSES)
def test_a_baseline_computes_distances_and_their_gradients(name: str) -> None:
    inputs = make_inputs(SMALL)
    x, y = inputs.leaves[:2]
    expected = reference.pairwise_distance(x, y)
    distance = result_of(name, "pairwise forward", inputs)
    torch.testing.assert_close(distance, expected, rtol=1e-3, atol=1e-5)
    gradients = result_of(name, "pairwise forward + backward", inputs)
    expected_gradients = torch.autograd.grad(expected.sum(), (x, y))
    torch.testing.assert_close(gradients, expected_gradients, rtol=1e-3, atol=1e-4)


def test_photos_beyond_the_sketches_show_other_things() -> None:
    inputs = make_inputs(Workload(50, d=32, m=80))
    cosine = (inputs.sketch @ inputs.photo.T).detach()
    assert cosine.diagonal().min() > cosine[:, 50:].max()
    assert inputs.photo_attributes.shape == (80, 21)


@pytest.mark.parametrize("baseline", BASELINES.values(), ids=list(BASELINES))
def test_a_baseline_says_what_the_grid_and_the_report_ask(baseline: Baseline) -> None:
    assert baseline.tier in get_args(Tier)
    assert baseline.package in PACKAGES
    if baseline.tier == "limit":
        return
    others = [other for other in BASELINES.values() if other is not baseline]
    quick = {cell.baseline for device in baseline.devices for cell in grid.quick(device)}
    assert (baseline.name in quick) == (not baseline.slow)
    if report.LOSS.operation in baseline.operations:  # and so in the plots
        assert baseline.colour not in {GREY, *(other.colour for other in others)}
    if baseline.name != "fgsbir_ext":
        described = report.PERFORMANCE.read_text().partition("## The baselines")[2]
        assert f"\n| {baseline.name} |" in described.partition("\n## ")[0]


# --- The measure ----------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak in /proc/self")
def test_the_peak_of_memory_is_that_of_the_call() -> None:
    peak, seconds = peak_bytes(lambda: torch.ones(20_000_000), "cpu")
    assert peak is not None
    assert 78e6 < peak < 90e6
    assert seconds > 0


@pytest.fixture(scope="module")
def isolation() -> Isolation:
    if sys.platform != "linux":
        pytest.skip("limits of memory are those of Linux")
    return Isolation(threads=1)


@pytest.mark.slow
def test_a_cell_is_measured_in_a_process_of_its_own(isolation: Isolation) -> None:
    row = isolation.run(Cell("mining", "plain PyTorch", Workload(2048, d=8)), LIMITS)
    assert row.outcome == "ok", row.detail
    result = row.measurement
    assert result is not None
    assert result.product is not None
    assert result.ratio is not None
    assert result.time.rounds >= 3
    assert 0 < result.time.smallest <= result.time.low <= result.time.median <= result.time.high
    assert result.peak_bytes is not None
    assert result.peak_bytes > 2 * 4 * 2048**2  # it holds several matrices
    json.dumps(row.as_json())


@pytest.mark.slow
def test_what_fails_is_a_row(isolation: Isolation) -> None:
    workload = Workload(4096, d=8)  # 67 MB a matrix
    cell = Cell("mining", "plain PyTorch", workload)
    assert isolation.run(cell, replace(LIMITS, memory=120_000_000)).outcome == "out of memory"
    assert isolation.run(cell, replace(LIMITS, seconds=0.01)).outcome == "timed out"
    # An operation that it does not have stands for an error of a baseline's own.
    impossible = replace(cell, operation="top-k", baseline="pytorch-metric-learning")
    assert isolation.run(impossible, LIMITS).outcome in ("failed", "not run")


@pytest.mark.slow
def test_a_baseline_is_measured_where_the_bare_product_does_not_fit(isolation: Isolation) -> None:
    cell = Cell("loss forward + backward", "fgsbir_ext", Workload(8192, d=8))  # 268 MB a matrix
    row = isolation.run(cell, replace(LIMITS, memory=200_000_000))
    assert row.outcome == "ok", row.detail
    assert row.measurement is not None
    assert row.measurement.ratio is None
    assert "out of memory" in report.tables({"rows": [row.as_json()]})


@pytest.mark.slow
def test_a_type_that_a_baseline_lacks_is_a_row(isolation: Isolation) -> None:
    needs("faiss flat")
    half = replace(SMALL, dtype=torch.bfloat16)
    row = isolation.run(Cell("top-k", "faiss flat", half), LIMITS)
    assert (row.outcome, "float32" in row.detail) == ("not supported", True)


def series(seconds: float) -> Series:
    return Series(seconds, 0.9 * seconds, 1.1 * seconds, 0.8 * seconds, 5)


def measured(cell: Cell, seconds: float, peak: int, ratio: float = 2.0) -> Row:
    result = Measurement(series(seconds), series(seconds / ratio), series(ratio), peak)
    return Row(cell, "ok", measurement=result)


def test_a_larger_size_is_estimated_from_the_next_smaller() -> None:
    small, large = (Cell("mining", "plain PyTorch", Workload(n)) for n in (4096, 16384))
    matrix = 4 * 4096**2
    assert hopeless(large, [], LIMITS) is None
    assert hopeless(large, [measured(small, 1.0, matrix // 4)], LIMITS) is None
    too_large = hopeless(large, [measured(small, 1.0, 2 * matrix)], LIMITS)
    assert too_large is not None
    assert too_large.outcome == "out of memory"
    assert "16 x its 0.1 GB at N = 4096" in too_large.detail
    too_slow = hopeless(large, [measured(small, 4.0, 0)], LIMITS)
    assert too_slow is not None
    assert (too_slow.outcome, "64 s" in too_slow.detail) == ("timed out", True)
    failed = hopeless(large, [Row(small, "out of memory", "limit")], LIMITS)
    assert failed is not None
    assert failed.outcome == "out of memory"
    other = replace(small, workload=replace(small.workload, d=64))
    assert hopeless(large, [Row(other, "out of memory", "limit")], LIMITS) is None


# --- The grid -------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_target_is_measured_first_and_in_three_separate_runs(device: str) -> None:
    cells, targets = grid.full(device), grid.targets(device)
    scheduled = run.schedule(cells, targets)
    assert set(scheduled) == set(cells)
    assert all(scheduled.count(cell) == (3 if cell in targets else 1) for cell in cells)
    first = [measured(cell, 1e-3, 10**6, 1.0).as_json() for cell in scheduled[: len(targets)]]
    found = entries(first)
    table = target_table(found) if device == "cpu" else gpu_target_table(found, "NVIDIA H200")
    judged = [line for line in table.splitlines() if "not measured" not in line]
    # On a CPU the largest size, which takes minutes, comes once.
    assert len(table.splitlines()) - len(judged) == (1 if device == "cpu" else 0)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("choose", [grid.full, grid.quick])
def test_the_grid_has_every_operation_and_every_baseline_of_the_device(
    choose: Any, device: str
) -> None:
    cells = choose(device)
    assert {cell.operation for cell in cells} == set(OPERATIONS)
    assert all(cell.operation in BASELINES[cell.baseline].operations for cell in cells)
    assert len(set(map(str, cells))) == len(cells)
    if choose is grid.full:
        here = {name for name, baseline in BASELINES.items() if device in baseline.devices}
        assert {cell.baseline for cell in cells} == here - {
            "bare product"
        }  # measured in every cell


# --- The report -----------------------------------------------------------------------------------


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    """Invented figures: the whole loss, ratio 0.9 at 4096 in three runs and 0.8 above."""
    found = []
    for n in (128, 4096, 16384, 65536):
        cell = Cell("loss forward + backward", "fgsbir_ext", Workload(n))
        ratio = 0.9 if n <= 4096 else 0.8
        for repeat in range(3):
            found.append(measured(cell, (1 + repeat / 10) * n * 1e-6, 20_000_000, ratio))
    plain = Cell("loss forward + backward", "plain PyTorch", Workload(65536))
    found.append(Row(plain, "out of memory", "not run: 16 x its 4 GB"))
    for name, ratio in (("fgsbir_ext", 1.5), ("faiss flat", 1.2)):
        found.append(measured(Cell("top-k", name, grid.SEARCH), 0.3, 10**6, ratio))
    return json.loads(json.dumps([row.as_json() for row in found]))


def test_repeated_runs_are_one_entry(rows: list[dict[str, Any]]) -> None:
    first = entries(rows)[0]
    assert first.seconds == pytest.approx(1.1 * 128e-6)
    assert [run.seconds for run in first.runs] == pytest.approx([128e-6, 140.8e-6, 153.6e-6])
    bare = bare_entry(first)
    assert bare.seconds == pytest.approx(1.1 * 128e-6 / 0.9)
    assert bare.peak_bytes == 4 * 128**2


def test_a_run_that_failed_is_not_hidden_by_others(rows: list[dict[str, Any]]) -> None:
    failure = rows[0] | {"outcome": "failed", "detail": "no luck"}
    assert entries([*rows, failure])[0].outcome == "failed"
    unused = rows[0] | {"outcome": "not run", "detail": "time was up"}
    assert entries([*rows, unused])[0].outcome == "ok"


def test_tables_show_time_ratio_memory_and_failures(rows: list[dict[str, Any]]) -> None:
    text = report.tables({"rows": rows})
    assert "| **fgsbir_ext** | 141 µs<br>0.90x<br>20 MB | 4.51 ms<br>0.90x<br>20 MB |" in text
    assert "- plain PyTorch, N = 65536: out of memory, not run: 16 x its 4 GB" in text
    assert "| plain PyTorch |  |  |  | out of memory (est.) |" in text
    assert "| bare product |" in text
    assert "1000 in 100000" in text


def test_a_single_round_is_marked(rows: list[dict[str, Any]]) -> None:
    row = next(row for row in rows if row["n"] == 65536)
    once = row | {part: row[part] | {"rounds": 1} for part in ("time", "product", "ratio")}
    others = [other for other in rows if other["n"] != 65536]
    assert "one round" not in report.tables({"rows": others})
    marked = report.tables({"rows": [*others, once]}).splitlines()
    assert sum("one round" in line for line in marked) == 2  # this library and the bare product
    assert "0.80x (one round), against 0.90x" in target_table(entries([*others, once]))


def test_targets_are_judged_by_every_run(rows: list[dict[str, Any]]) -> None:
    lines = target_table(entries(rows)).splitlines()[2:]
    assert [line.split("|")[-2].strip() for line in lines] == ["yes"] * 5 + ["no"]
    assert lines[0].count("0.90x") == 3
    quartiles = "1.35 to 1.65 over 1.08 to 1.32"
    assert f"1.25x ({quartiles}; 300 ms and 300 ms)" in lines[-1]
    assert "not measured" in target_table([])


def test_gpu_targets_are_judged() -> None:
    loss: Operation = "loss forward + backward"

    def row(n: int, baseline: str, ratio: float, peak: int = 10**6, **change: Any) -> Row:
        return measured(Cell(loss, baseline, Workload(n, **change)), 1e-3, peak, ratio)

    half = {"dtype": torch.bfloat16}
    found = [row(16384, "fgsbir_ext", 0.9, **half), row(16384, "product into float32", 1.0, **half)]
    found += [row(16384, "fgsbir_ext", 0.6), row(65536, "fgsbir_ext", 0.4, peak=65_000_000)]
    found += [row(128, "fgsbir_ext", 2.0), row(128, "plain PyTorch", 21.0)]
    found += [row(128, "torch.compile", 5.0)]
    table = gpu_target_table(entries([row.as_json() for row in found]), "NVIDIA H100 80GB HBM3")
    lines = table.splitlines()[2:]
    assert all(line.startswith("| H100: ") for line in lines)
    reached = [line.split("|")[-2].strip() for line in lines]
    assert reached == ["yes", "no", "", "yes", "yes", "no", "", "", "no"]


def test_documents_are_filled_where_they_are_marked(tmp_path: Path) -> None:
    text = "a\n<!-- benchmark table -->\nold\n<!-- end -->\nb <!-- end -->"
    filled = report.fill(text, "table", "new \\1")
    assert filled == "a\n<!-- benchmark table -->\nnew \\1\n<!-- end -->\nb <!-- end -->"
    assert report.fill(filled, "table", "new \\1") == filled
    with pytest.raises(ValueError, match="benchmark other"):
        report.fill(text, "other", "")


def test_the_documents_have_the_places_that_the_report_fills() -> None:
    report.fill(report.README.read_text(), "table", "")
    for name in report.SECTIONS:
        report.fill(report.PERFORMANCE.read_text(), name, "")


def test_plots_are_small_pictures(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    found = report.with_bare(entries(rows))
    pictures = report.plots.draw(found, report.LOSS, tmp_path, "cpu")
    assert len(pictures) == 2
    for name in pictures:
        drawn = (tmp_path / name).read_text()
        assert drawn.startswith("<?xml")
        assert "bare product (limit)" in drawn
        assert len(drawn) < 60_000
