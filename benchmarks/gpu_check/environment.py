"""Description of the machine: GPU, driver, toolkit, versions and sources of a check.

python -m benchmarks.gpu_check.environment
"""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..kernel_report.toolkit import find_tool

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 5.0  # seconds for a tool to say its version
SOURCES = (("csrc", "*"), ("fgsbir_ext", "*.py"))


def describe_environment() -> dict[str, Any]:
    import torch

    cuda = torch.cuda.is_available()
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "device": torch.cuda.get_device_name() if cuda else None,
        "driver": last_line("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"),
        "toolkit": last_line("nvcc", "--version"),
        "sanitizer": last_line("compute-sanitizer", "--version"),
        "nsight": last_line("ncu", "--version"),
        "kernel": platform.release(),  # of gVisor it is 4.4.0, where GPU tools do not work
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch_cuda": torch.version.cuda,
        "commit": last_line("git", "-C", str(ROOT), "rev-parse", "HEAD"),
        "sources": source_digest(),
    }


def source_digest() -> str:
    """Twelve digits that tell the library's sources apart where there is no git."""
    digest = hashlib.sha256()
    for folder, pattern in SOURCES:
        for path in sorted((ROOT / folder).rglob(pattern)):
            if path.is_file():
                digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def last_line(*command: str) -> str | None:
    """The last line that a program writes; None where it is missing or fails."""
    try:
        done = subprocess.run(
            [find_tool(command[0]), *command[1:]], capture_output=True, text=True, timeout=PATIENCE
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.strip().splitlines()
    return lines[-1] if lines and done.returncode == 0 else None


if __name__ == "__main__":
    print(json.dumps(describe_environment()))
