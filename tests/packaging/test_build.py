"""The build where something is missing or broken: it goes on, or says what to do."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from tests.support.building import configure
from tests.support.paths import ROOT
from tests.support.subprocesses import script


def first_on_path(program: Path) -> str:
    return f"{program.parent}:{os.environ['PATH']}"


BROKEN = {
    "fails": ("echo 'nvcc fatal: no licence' >&2; exit 1", "nvcc fatal: no licence"),
    "says nothing": ("exit 3", "compiles nothing (exit status 3, no output)"),
    "refuses the host compiler": (
        "echo 'host_config.h:143:2: error: #error -- unsupported GNU version! gcc > 12'; exit 1",
        "#error -- unsupported GNU version!",
    ),
    "speaks other letters": (
        f"echo 'error: {'y' * 192}\u2018std\u2019 x [\\\\3: \\\";'; exit 1",
        "error: yyy",
    ),
    "is of another machine": ("echo 'cannot execute binary file'; exit 126", "cannot execute"),
}


def literal(folder: Path) -> str:
    """The reason as the kernels' module will hold it."""
    header = (folder / "build" / "build_info.h").read_text("ascii")
    (value,) = re.findall(r'kWhyNoCuda\[\] = "([^"\\]*)";', header)
    return value


@pytest.mark.parametrize("name", BROKEN)
def test_a_compiler_that_compiles_nothing_is_gone_without(name: str, tmp_path: Path) -> None:
    program, reason = BROKEN[name]
    nvcc = script(tmp_path / "bin" / "nvcc", program)
    status, output = configure(tmp_path, PATH=first_on_path(nvcc))
    assert status == 0, output
    assert "CMake Warning at cmake/cuda.cmake" in output
    assert reason in output
    assert "With FGSBIR_CUDA=ON that is an error" in output
    assert f"fgsbir_ext: the C++ kernels alone: {literal(tmp_path)}" in output


@pytest.mark.parametrize("how", ["option", "environment"])
def test_asked_for_cuda_a_broken_compiler_is_an_error(how: str, tmp_path: Path) -> None:
    nvcc = script(tmp_path / "bin" / "nvcc", "exit 1")
    options = ["-DFGSBIR_CUDA=ON"] if how == "option" else []
    environment = {} if how == "option" else {"FGSBIR_CUDA": "on"}
    status, output = configure(tmp_path, *options, CUDACXX=str(nvcc), **environment)
    assert status != 0
    assert f"FGSBIR_CUDA is ON, but {nvcc} compiles nothing (exit status 1, no output)" in output


def test_without_cuda_no_compiler_is_tried(tmp_path: Path) -> None:
    nvcc = script(tmp_path / "bin" / "nvcc", f"touch {tmp_path}/tried; exit 1")
    status, output = configure(tmp_path, PATH=first_on_path(nvcc), FGSBIR_CUDA="off")
    assert status == 0, output
    assert "Warning" not in output
    assert "the C++ kernels alone: FGSBIR_CUDA was OFF" in output
    assert not (tmp_path / "tried").exists()


def test_the_environment_is_asked_again_at_each_build(tmp_path: Path) -> None:
    nvcc = script(tmp_path / "bin" / "nvcc", "exit 1")
    for value, reason in (("", f"{nvcc} compiles nothing"), ("OFF", "FGSBIR_CUDA was OFF")):
        status, output = configure(tmp_path, CUDACXX=str(nvcc), FGSBIR_CUDA=value)
        assert status == 0, output
        assert f"the C++ kernels alone: {reason}" in output


@pytest.mark.slow
def test_architectures_are_the_same_when_configured_again(tmp_path: Path) -> None:
    if shutil.which("nvcc") is None:
        pytest.skip("no nvcc on PATH")
    (_, first), (_, again) = (configure(tmp_path) for _ in range(2))
    assert "fgsbir_ext: CUDA kernels with" in first
    assert (
        first.partition("CUDA kernels with")[2].split(" -- ")[0]
        == (again.partition("CUDA kernels with")[2].split(" -- ")[0])
    )


def test_a_compiler_may_be_given_with_options(tmp_path: Path) -> None:
    nvcc = script(tmp_path / "bin" / "nvcc", 'echo "error: got $1 and $2"; exit 1')
    status, output = configure(tmp_path, CUDACXX=f"{nvcc} -one --two")
    assert status == 0, output
    assert f"{nvcc} -one --two compiles nothing (error: got -one and --two)" in output
    status, output = configure(tmp_path, CUDACXX="of no such name")
    assert status == 0, output
    assert "of no such name compiles nothing" in output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("chip", "chosen"), [("90-real;80-real", "90a-real,90-virtual,80"), ("61-real", "75-real")]
)
def test_kernels_are_for_the_chips_that_are_here(chip: str, chosen: str, tmp_path: Path) -> None:
    """With a list of chips as CMake finds it, of which the toolkit has to know all."""
    if shutil.which("nvcc") is None:
        pytest.skip("no nvcc on PATH")
    configure(tmp_path)
    (found,) = (tmp_path / "build" / "CMakeFiles").glob("*/CMakeCUDACompiler.cmake")
    line = r'set\(CMAKE_CUDA_ARCHITECTURES_NATIVE ".*"\)'
    text, count = re.subn(line, f'set(CMAKE_CUDA_ARCHITECTURES_NATIVE "{chip}")', found.read_text())
    assert count == 1
    found.write_text(text)
    status, output = configure(tmp_path)
    assert status == 0, output
    assert f" for {chosen}" in output


def test_a_compilers_cache_that_fails_is_not_used(tmp_path: Path) -> None:
    for answer in ("exit 1", 'exec "$@"'):
        ccache = script(tmp_path / answer[:4] / "ccache", answer)
        folder = tmp_path / f"of {answer[:4]}"
        status, output = configure(folder, "-DFGSBIR_CUDA=OFF", PATH=first_on_path(ccache))
        assert status == 0, output
        ninja = (folder / "build" / "build.ninja").read_text()
        assert (str(ccache) in ninja) == (answer != "exit 1")
        assert (f"CCACHE_BASEDIR={ROOT}" in ninja) == (answer != "exit 1")


def test_another_value_is_refused(tmp_path: Path) -> None:
    status, output = configure(tmp_path, "-DFGSBIR_CUDA=maybe")
    assert status != 0
    assert "FGSBIR_CUDA must be AUTO, ON or OFF, got MAYBE" in output


def test_a_python_without_headers_is_told_what_to_install(tmp_path: Path) -> None:
    options = "-DFGSBIR_CUDA=OFF", f"-DPython_INCLUDE_DIR={tmp_path}"
    status, output = configure(tmp_path, *options)
    assert status != 0
    assert "has no headers (Python.h); install them: python3." in output


def test_a_compiler_without_openmp_is_told_what_to_install(tmp_path: Path) -> None:
    refuse = 'case "$*" in *-fopenmp*) exit 1;; esac; exec c++ "$@"'
    compiler = script(tmp_path / "bin" / "clang++", refuse)
    status, output = configure(tmp_path, "-DFGSBIR_CUDA=OFF", f"-DCMAKE_CXX_COMPILER={compiler}")
    assert status != 0
    assert f"{compiler} builds no OpenMP program; Clang needs libomp-dev on Debian" in output
