"""Build of the kernels by CMake; the rest of the package is described in pyproject.toml."""

from scikit_build_core.setuptools.wrapper import setup

setup(cmake_source_dir=".")
