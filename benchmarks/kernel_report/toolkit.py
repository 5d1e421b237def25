"""Search for the programs of a CUDA toolkit."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path


def find_tool(name: str) -> str:
    """A program of the toolkit: on PATH, of this Python, under CUDA_HOME or in the usual places.

    Raises:
        FileNotFoundError: where it is in none of them.
    """
    homes = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    folders = [str(Path(home, "bin")) for home in homes if home]
    # Nsight Compute has a folder of its own for each version.
    folders += map(str, sorted(Path("/opt/nvidia/nsight-compute").glob("*"), reverse=True))
    packages = Path(sysconfig.get_path("purelib"))
    folders += map(str, packages.glob("nvidia/cu*/bin"))
    path = os.pathsep.join([os.environ.get("PATH", ""), str(Path(sys.executable).parent), *folders])
    if found := shutil.which(name, path=path):
        return found
    raise FileNotFoundError(f"{name} is neither on PATH nor under CUDA_HOME")
