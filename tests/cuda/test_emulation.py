"""CUDA kernels on the host emulation: launches, errors, order of execution, planted faults.

The operations' own tests run on it too: ``python -m pytest -p tests.emulation.plugin tests/ops``.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from fgsbir_ext.types import ChosenTriplets, LossOptions, MiningOptions, SearchOptions, Side
from tests.emulation.build import MODULE_VARIABLE, build_with_faults, sanitizer_environment
from tests.emulation.faults import FAULTS, OUT_OF_BOUNDS, planting
from tests.support.cases import make_batch, make_weights, sides_of
from tests.support.compare import assert_same_bits
from tests.support.forked import run_pytest
from tests.support.paths import ROOT

pytestmark = pytest.mark.kernels
LAMBDAS = (0.5, 2.0, 3.0, 0.7)


def loss_arguments(guidance: float, reduction: Any, **options: Any) -> tuple[Any, ...]:
    """Sketches, photos, weights and options of the loss."""
    batch = make_batch((70, 90, 37, 21), dtype=torch.float32, **options)
    weights = make_weights(21) if guidance else None
    margins = (0.3, None)
    settings = LossOptions(*margins, "cosine", "cross_entropy", *LAMBDAS, guidance, reduction)
    return *sides_of(batch), weights, settings


def run_all(backend: Any) -> list[Any]:
    """A result of every operation."""
    results = []
    for guidance, reduction in ((0.0, "mean"), (0.5, "none"), (float("inf"), "sum")):
        sketch, photo, weights, options = loss_arguments(guidance, reduction)
        forward = backend.attribute_triplet_loss(sketch, photo, weights, options)
        total, parts, *chosen = forward
        incoming = (torch.ones_like(total), torch.ones_like(parts))
        backward = backend.attribute_triplet_loss_backward(
            *incoming, sketch, photo, ChosenTriplets(*chosen), options
        )
        results += [*forward, *backward]
    x, y = sketch.embedding, photo.embedding
    distance = backend.pairwise_distance(x, y, "cosine")
    results += [distance]
    results += backend.pairwise_distance_backward(distance, distance, x, y, "cosine")
    results += [backend.attribute_distance(sketch.attributes, photo.attributes, make_weights(21))]
    search = SearchOptions(11, 0.7, "euclidean", "sqeuclidean")
    results += backend.topk(sketch, photo, search)
    return results


def test_results_do_not_depend_on_the_order_of_threads_and_blocks(
    emulation: tuple[Any, Any],
) -> None:
    backend, kernels = emulation
    kernels.set_seed(0)
    expected = run_all(backend)
    for seed in (1, 2, 3):
        kernels.set_seed(seed)
        for result, same in zip(run_all(backend), expected, strict=True):
            assert_same_bits(result, same)


@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("guidance", "forward"), [(0.0, 4), (0.5, 4), (float("inf"), 5)])
def test_launches_of_the_loss(
    emulation: tuple[Any, Any], guidance: float, forward: int, reduction: str, labels: bool
) -> None:
    backend, kernels = emulation
    sketch, photo, weights, options = loss_arguments(guidance, reduction, labels=labels)
    before = kernels.launches()
    total, _, *chosen = backend.attribute_triplet_loss(sketch, photo, weights, options)
    # The last adds up the terms of all anchors.
    assert kernels.launches() - before == forward - (reduction == "none")
    before = kernels.launches()
    backend.attribute_triplet_loss_backward(
        torch.ones_like(total), None, sketch, photo, ChosenTriplets(*chosen), options
    )
    assert kernels.launches() - before == 2


class Recorded(TorchDispatchMode):
    """Names of torch's own operations, and of the kernels' functions that Python calls."""

    def __init__(self, backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.operations: list[str] = []
        self.calls: list[str] = []
        launch = backend._launch

        def recorded(operation: Any, *arguments: Any) -> None:
            self.calls.append(operation.__name__)
            launch(operation, *arguments)

        monkeypatch.setattr(backend, "_launch", recorded)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("guidance", [0.0, 0.5, float("inf")])
def test_a_step_is_one_call_into_cpp_each_way(
    emulation: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch, guidance: float
) -> None:
    """Beside it torch allocates: four results and the workspace, four gradients and the workspace.

    Nothing is copied or converted.
    """
    backend, _ = emulation
    sketch, photo, weights, options = loss_arguments(guidance, "mean")
    incoming = torch.ones(())
    with Recorded(backend, monkeypatch) as forward:
        _, _, *chosen = backend.attribute_triplet_loss(sketch, photo, weights, options)
    assert forward.calls == ["attribute_triplet_loss"]
    assert forward.operations == ["new_empty"] * 5
    with Recorded(backend, monkeypatch) as backward:
        backend.attribute_triplet_loss_backward(
            incoming, None, sketch, photo, ChosenTriplets(*chosen), options
        )
    assert backward.calls == ["attribute_triplet_loss_backward"]
    assert backward.operations == ["empty_like"] * 4 + ["new_empty"]


def test_kernels_are_launched_on_the_current_stream_of_their_device(
    emulation: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, _ = emulation
    current, asked = 3, []

    @contextmanager
    def device(index: int) -> Iterator[None]:
        nonlocal current
        before, current = current, index
        yield
        current = before

    def stream(index: int) -> int:
        asked.append((index, current))
        return 70 + index

    monkeypatch.setattr(torch.cuda, "device", device)
    monkeypatch.setattr(backend, "_current_device", lambda: current)
    monkeypatch.setattr(backend, "_stream", stream)
    passed: list[Any] = []
    for of_tensor in (3, 5):
        like = SimpleNamespace(get_device=lambda of_tensor=of_tensor: of_tensor)
        backend._launch(lambda *arguments: passed.append((current, *arguments)), like, "x", "y")
    assert passed == [(3, "x", "y", 73), (5, "x", "y", 75)]
    assert asked == [(3, 3), (5, 5)]
    assert current == 3


def test_rows_that_are_not_dense_are_copied(emulation: tuple[Any, Any]) -> None:
    backend, _ = emulation
    sketch, photo, weights, options = loss_arguments(0.5, "mean")
    strided = [
        Side._make(torch.stack([x, x], dim=-1).select(-1, 0) for x in side)
        for side in (sketch, photo)
    ]
    assert not any(x.is_contiguous() for side in strided for x in side)
    total, _, *chosen = backend.attribute_triplet_loss(*strided, weights, options)
    assert_same_bits(total, backend.attribute_triplet_loss(sketch, photo, weights, options)[0])
    incoming = (torch.ones_like(total), None)
    gradients = [
        backend.attribute_triplet_loss_backward(*incoming, *sides, ChosenTriplets(*chosen), options)
        for sides in (strided, (sketch, photo))
    ]
    for of_strided, expected in zip(*gradients, strict=True):
        assert of_strided.is_contiguous()
        assert_same_bits(of_strided, expected)


def test_an_empty_batch_launches_no_empty_grid(emulation: tuple[Any, Any]) -> None:
    """The emulation, like CUDA, takes an empty grid for an error."""
    backend, _ = emulation
    for n, m in ((0, 0), (0, 5), (5, 0)):
        x, y = torch.empty(n, 3), torch.empty(m, 3)
        assert backend.pairwise_distance(x, y, "cosine").shape == (n, m)
        sides = [Side(z, labels=torch.zeros(len(z), dtype=torch.int64)) for z in (x, y)]
        picks = backend.mine_batch_hard(*sides, None, MiningOptions("cosine", 0.0))
        assert all((pick == -1).all() for pick in picks)


def test_more_than_1024_neighbours_are_refused(emulation: tuple[Any, Any]) -> None:
    backend, _ = emulation
    x = torch.zeros(1, 2)
    search = SearchOptions(1025, 0.0, "sqeuclidean", "sqeuclidean")
    with pytest.raises(ValueError, match="k must be at most 1024 on CUDA, got 1025"):
        backend.topk(Side(x), Side(x.expand(2000, 2)), search)


# --- Operations on CUDA cores -------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["mine_batch_hard", "pairwise_distance", "topk"])
def test_operations_without_tensor_cores(operation: str, module_path: Path, tmp_path: Path) -> None:
    """The tests of every operation that has two engines, on the one that is not the default."""
    environment = {MODULE_VARIABLE: str(module_path), "FGSBIR_TENSOR_CORES": "0"}
    status, output = run_pytest(
        arguments(f"ops/test_{operation}.py"), environment, tmp_path / "log"
    )
    assert status == 0, output


# --- Planted faults -----------------------------------------------------------------------------


def arguments(selected: str) -> list[str]:
    """Arguments of a pytest that runs tests on an emulated module, up to the first that fails."""
    options = ["-p", "tests.emulation.plugin", "-p", "no:cacheprovider", "-p", "no:xdist"]
    options += ["--color=no", "-m", "", "-k", "not compiled", "-q", "-x", "-s"]
    return [*options, str(ROOT / "tests" / selected)]


@pytest.fixture(scope="module")
def with_faults(module_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A module that has every fault, to be planted."""
    units = sorted({fault.unit for fault in FAULTS.values()})
    return build_with_faults(module_path, units, tmp_path_factory.mktemp("faults"))


@pytest.fixture(scope="module")
def sound() -> set[str]:
    """Cases that passed without a fault."""
    return set()


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault != OUT_OF_BOUNDS])
def test_planted_fault_is_noticed(
    fault: str, with_faults: Path, sound: set[str], tmp_path: Path
) -> None:
    """By a case that passes where the fault is in the module, but not planted."""
    environment = {MODULE_VARIABLE: str(with_faults)}
    planted = environment | planting(fault)
    status, output = run_pytest(arguments(FAULTS[fault].test), planted, tmp_path / "faulty")
    assert status == 1, output
    assert "1 failed" in output
    (case,) = re.findall(r"^FAILED (tests/\S+)", output, re.MULTILINE)
    if case not in sound:
        status, output = run_pytest(
            arguments(case.removeprefix("tests/")), environment, tmp_path / "sound"
        )
        assert status == 0, output
        sound.add(case)


def test_a_store_out_of_bounds_is_noticed(module_path: Path, tmp_path: Path) -> None:
    """In memory that nobody reads: AddressSanitizer's task."""
    fault = FAULTS[OUT_OF_BOUNDS]
    module = build_with_faults(module_path, [fault.unit], tmp_path, sanitized=True)
    command = [sys.executable, "-m", "pytest", *arguments(fault.test)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    environment |= {MODULE_VARIABLE: str(module), **sanitizer_environment()}
    sound = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert sound.returncode == 0, sound.stdout + sound.stderr
    environment |= planting(OUT_OF_BOUNDS)
    faulty = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert faulty.returncode != 0
    assert "AddressSanitizer: heap-buffer-overflow" in faulty.stdout + faulty.stderr
