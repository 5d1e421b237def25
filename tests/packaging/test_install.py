"""Installation: the sdist, and the wheel built from it, work from a clean folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch

from tests.support.paths import ROOT
from tests.support.subprocesses import script

REFUSAL = r'nvcc fatal: no licence (#1 "x\y"; <z> $)'
"""Of a compiler for CUDA, with what a build could stumble over."""

USE = """
import pathlib, fgsbir, fgsbir_ext as fx, torch
assert pathlib.Path(fx.__file__).is_relative_to(pathlib.Path.cwd() / "site"), fx.__file__
assert pathlib.Path(fgsbir.__file__).is_relative_to(pathlib.Path.cwd() / "site"), fgsbir.__file__
sketch = torch.randn(5, 8, requires_grad=True)
fx.attribute_triplet_loss(sketch, torch.randn(5, 8), margin="soft").backward()
assert sketch.grad.abs().sum() > 0
assert "no licence" in fx.build_info().why_no_cuda, fx.build_info()

undefined, one = torch.tensor([[float("nan")]]), torch.ones(1, 1)
assert fx.pairwise_distance(undefined, one).isnan()
assert torch.tensor(1e-40) * 1 != 0
"""


OF_THE_SYSTEM = {"libstdc++.so.6", "libgcc_s.so.1", "libm.so.6", "libc.so.6"}
"""Libraries that every Linux of a manylinux platform has."""

LOADER = re.compile(r"ld-linux.*\.so\.\d")


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Standard output of a command that must succeed."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "-o", folder, ROOT, cwd=folder)
    return next(folder.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built with a compiler for CUDA that fails, in a folder with spaces, with unsafe flags.

    The sources may only be read.
    """
    folder = tmp_path_factory.mktemp("wheel of kernels")
    nvcc = script(folder / "bin" / "nvcc", f"echo '{REFUSAL}' >&2; exit 1")
    pip = (sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "-w", folder)
    flags = {"CUDACXX": str(nvcc), "CXXFLAGS": "-ffast-math", "TMPDIR": str(folder)}
    run("tar", "-xf", sdist, cwd=folder)
    (sources,) = folder.glob("*/CMakeLists.txt")
    run("chmod", "-R", "a-w", sources.parent, cwd=folder)
    obeying = obeying_modes()
    if os.environ.get("CI"):  # elsewhere root may be without the means
        tried = subprocess.run([*obeying, "touch", sources.parent / "x"], capture_output=True)
        assert tried.returncode != 0
    try:
        run(*obeying, *pip, sources.parent, cwd=folder, **flags)
    finally:
        run("chmod", "-R", "u+w", sources.parent, cwd=folder)
    return next(folder.glob("*.whl"))


def obeying_modes() -> tuple[str, ...]:
    """Before a command: root then writes only where modes allow it, as others do."""
    capability = "-dac_override"
    command = ("setpriv", f"--bounding-set={capability}", f"--inh-caps={capability}")
    if os.geteuid() or shutil.which("setpriv") is None:
        return ()
    done = subprocess.run([*command, "true"], capture_output=True)
    return command if done.returncode == 0 else ()


BUILD_OPTIONS = """
import runpy
from scikit_build_core.setuptools import wrapper
wrapper.setup = lambda options, **others: print(options)
runpy.run_path("setup.py")
"""


@pytest.mark.parametrize("name", [".", "build", "build/temp", "fgsbir_ext.egg-info"])
def test_what_may_not_be_written_is_left_alone(name: str, tmp_path: Path) -> None:
    """As the folders that ``sudo pip install .`` made."""
    if not os.geteuid() and not obeying_modes():
        pytest.skip("root may write everything here")
    shutil.copy(ROOT / "setup.py", tmp_path)
    command = (*obeying_modes(), sys.executable, "-c", BUILD_OPTIONS)
    (tmp_path / name).mkdir(parents=True, exist_ok=True)
    assert "build_base" not in run(*command, cwd=tmp_path)
    (tmp_path / name).chmod(0o555)
    assert "build_base" in run(*command, cwd=tmp_path)


def files_of(package: Path) -> set[str]:
    return {str(path.relative_to(package.parent)) for path in package.rglob("*.py")}


@pytest.mark.slow
def test_sdist_holds_the_sources_of_the_kernels(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    kernels = {str(path.relative_to(ROOT)) for path in (ROOT / "csrc").rglob("*.*")}
    assert kernels
    assert kernels <= names


@pytest.mark.slow
def test_wheel_holds_every_module(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = files_of(ROOT / "fgsbir_ext") | files_of(ROOT / "python" / "fgsbir")
    assert modules == {name for name in names if name.endswith(".py")}
    assert any(name.startswith("fgsbir_ext/_C.") and name.endswith(".so") for name in names)
    assert {"fgsbir_ext/py.typed", "fgsbir_ext/_C.pyi", "fgsbir/py.typed"} <= names
    assert not any(name.startswith(("tests/", "csrc/", "benchmarks/")) for name in names)


@pytest.mark.slow
def test_a_build_leaves_no_modules_that_the_next_would_install(sdist: Path, tmp_path: Path) -> None:
    run("tar", "-xf", sdist, cwd=tmp_path)
    (sources,) = tmp_path.glob("*/setup.py")
    printed = run(sys.executable, "setup.py", "build_py", cwd=sources.parent)
    assert "copying fgsbir_ext/losses.py" in printed
    assert not list(sources.parent.rglob("build/**/losses.py"))


@pytest.mark.slow
def test_wheel_works_from_a_clean_folder(wheel: Path, tmp_path: Path) -> None:
    pip = (sys.executable, "-m", "pip", "install", "--no-deps", "--target", tmp_path / "site")
    run(*pip, wheel, cwd=tmp_path)
    site = str(tmp_path / "site")
    run(sys.executable, "-c", USE, cwd=tmp_path, PYTHONPATH=site)
    usage = run(sys.executable, "-m", "fgsbir", "--help", cwd=tmp_path, PYTHONPATH=site)
    assert "quickstart" in usage


@pytest.mark.slow
def test_wheel_needs_nothing_but_the_system_and_openmp(wheel: Path, tmp_path: Path) -> None:
    """OpenMP's runtime is torch's: it is loaded, and found by its soname whatever its file is."""
    pytest.importorskip("auditwheel")
    found = json.loads(
        run(sys.executable, "-m", "auditwheel", "show", "--json", wheel, cwd=tmp_path)
    )
    assert found["external_libs"].keys() == {"libgomp.so.1"}
    needed = {name for name in found["versioned_symbols"] if not LOADER.fullmatch(name)}
    assert needed <= OF_THE_SYSTEM | {"libgomp.so.1"}
    assert found["sym_tag"].startswith("manylinux_")
    assert not found["unsupported_isa"]


@pytest.mark.slow
def test_nothing_is_left_after_uninstalling(wheel: Path, tmp_path: Path) -> None:
    """Not even what Python compiled where an installer had not."""
    run(sys.executable, "-m", "venv", "--without-pip", "of it", cwd=tmp_path)
    python = tmp_path / "of it" / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python)
    before = set(tmp_path.rglob("*"))
    run(*pip, "install", "--no-deps", "--no-compile", wheel, cwd=tmp_path)
    code = "import sys; sys.path.append(sys.argv[1]); import fgsbir_ext; print(fgsbir_ext.__file__)"
    others = Path(torch.__file__).parents[1]
    alone = {"PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": ""}
    used = run(python, "-c", code, others, cwd=tmp_path, **alone)
    assert Path(used.strip()).is_relative_to(tmp_path)
    assert list(tmp_path.rglob("fgsbir_ext/__pycache__/*.pyc"))
    run(*pip, "uninstall", "-y", "fgsbir-ext", cwd=tmp_path)
    assert set(tmp_path.rglob("*")) == before
