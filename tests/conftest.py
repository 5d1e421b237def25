"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# Threads that wait for work leave the processor to others, and beside other workers each has its
# share. The variables are read when torch is loaded: here, unless a plugin has done it before, and
# in the processes that tests start.
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
THREADS = min(2, max(1, len(os.sched_getaffinity(0)) // WORKERS))
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
if WORKERS > 1:
    os.environ.setdefault("OMP_NUM_THREADS", str(THREADS))

import torch
from hypothesis import HealthCheck, settings

import fgsbir_ext as fx
from tests.support.browser import chromium, pages
from tests.support.paths import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.support.browser import Open
    from tests.support.serving import Server

# For processes that tests start. At the end: an installed fgsbir_ext comes before its sources.
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

DEVICES = ["cpu"]
if torch.cuda.is_available() and fx.build_info().cuda:
    DEVICES.append("cuda")

settings.register_profile(
    "fgsbir", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("fgsbir")


def pytest_report_header() -> str:
    return f"fgsbir_ext: {fx.build_info()}; devices: {', '.join(DEVICES)}"


@pytest.fixture(autouse=True, scope="module")
def _threads(request: pytest.FixtureRequest) -> None:
    """Kernels run in two threads, everything else in its share."""
    torch.set_num_threads(2 if request.path.parent.name in ("ops", "cpu", "cuda") else THREADS)


@pytest.fixture(params=DEVICES, scope="session")
def device(request: pytest.FixtureRequest) -> str:
    """Every device that has kernels here. Tests of the C++ kernels alone do without."""
    return request.param


@pytest.fixture(scope="session")
def cuda_kernels(device: str, request: pytest.FixtureRequest) -> bool:
    """Whether operations on the device run the CUDA kernels, on a GPU or emulated."""
    return device == "cuda" or request.config.pluginmanager.hasplugin("tests.emulation.plugin")


@pytest.fixture
def value_checks() -> Iterator[None]:
    """Values are checked on every device, as they always are by the kernels of the CPU."""
    fx.set_debug_checks(True)
    yield
    fx.set_debug_checks(False)


@pytest.fixture
def poisoned_memory() -> Iterator[None]:
    """Memory that torch hands out is full of NaN and of huge integers."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    assert torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder that holds the benchmark's ``sbir_cvpr2016/``; it is not ours to ship."""
    beside = ROOT.parent / "shared" / "data"
    root = Path(os.environ.get("FGSBIR_DATA", beside))
    if not (root / "sbir_cvpr2016").is_dir():
        pytest.skip(f"no sbir_cvpr2016 in {root}: set FGSBIR_DATA to the folder that holds it")
    return root


# --- The page of `fgsbir serve` ------------------------------------------------------------------


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`fgsbir serve` of a few photos, for the tests of its page."""
    from tests.support.serving import serving, small_gallery

    folder = tmp_path_factory.mktemp("gallery")
    small_gallery(folder)
    with serving(folder / "shoes.gallery", "--searches-per-second", "1000") as server:
        yield server


@pytest.fixture(scope="module")  # as long as it is there, the thread has its event loop
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def open_page(browser: Browser, server: Server) -> Iterator[Open]:
    with pages(browser, server.url) as open_page:
        yield open_page


@pytest.fixture
def page(open_page: Open) -> Page:
    return open_page()
