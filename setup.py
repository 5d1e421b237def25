"""Build of the kernels by CMake; the rest of the package is described in pyproject.toml."""

import os
import tempfile
from glob import glob

from scikit_build_core.setuptools.wrapper import setup

with tempfile.TemporaryDirectory() as folder:
    # In a folder that lasts, deleted modules would stay and be installed again.
    options = {"build": {"build_lib": f"{folder}/lib"}}
    written = [".", *glob("build"), *glob("build/*"), *glob("*.egg-info")]
    if not all(os.access(path, os.W_OK) for path in written):
        options["build"]["build_base"] = folder
        options["egg_info"] = {"egg_base": folder}
    setup(cmake_source_dir=".", options=options)
