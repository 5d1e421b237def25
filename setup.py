"""Build of the kernels by CMake; the rest of the package is described in pyproject.toml."""

import os
import tempfile

from scikit_build_core.setuptools.wrapper import setup

# setuptools would write into a checkout that may only be read.
with tempfile.TemporaryDirectory() as folder:
    elsewhere = {"build": {"build_base": folder}, "egg_info": {"egg_base": folder}}
    setup(cmake_source_dir=".", options={} if os.access(".", os.W_OK) else elsewhere)
