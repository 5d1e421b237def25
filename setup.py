"""CMake builds the kernels; everything else about the package is in pyproject.toml."""

from scikit_build_core.setuptools.wrapper import setup

setup(cmake_source_dir=".")
