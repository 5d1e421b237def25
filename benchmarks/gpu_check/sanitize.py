"""Run of one compute-sanitizer tool over every operation.

python -m benchmarks.gpu_check.sanitize racecheck
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys

from ..kernel_report.toolkit import find_tool
from .device import add_rehearse
from .figures import emit

TOOLS = ("memcheck", "racecheck", "synccheck", "initcheck")
FIRST_PORT = 49152
FOUND = 9  # the exit status where the tool reports something
_SUMMARY = re.compile(r"=+ (\w+ SUMMARY: .*)")


def sanitizer_command(sanitizer: str, tool: str, usage: str) -> list[str]:
    """How to start a tool of compute-sanitizer, whose ``--help`` is ``usage``.

    Only our kernels are instrumented, as most of the time goes to torch's; but initcheck has to see
    what those write. The option's name differs between versions. Errors that calls of the CUDA API
    return are torch's own business: it asks for what may not be there.
    """
    command = [sanitizer, "--tool", tool, "--error-exitcode", str(FOUND)]
    if "--report-api-errors" in usage:
        command += ["--report-api-errors", "no"]
    if "--port" in usage:  # tools that run side by side
        command += ["--port", str(FIRST_PORT + 100 * TOOLS.index(tool))]
    if tool == "initcheck":
        return command
    names = [name for name in ("--kernel-name", "--kernel-regex", "--filter") if name in usage]
    return command + ([names[0], "kernel_substring=fgsbir"] if names else [])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tool", choices=TOOLS)
    add_rehearse(parser)
    arguments = parser.parse_args()
    exercise = [sys.executable, "-u", "-m", "benchmarks.gpu_check.exercise"]
    if arguments.rehearse:  # without the tool
        return subprocess.run([*exercise, "--rehearse"]).returncode
    sanitizer = find_tool("compute-sanitizer")
    usage = subprocess.run([sanitizer, "--help"], capture_output=True, text=True)
    command = sanitizer_command(sanitizer, arguments.tool, usage.stdout + usage.stderr)
    # Whole allocations: the caching allocator would hide what lies beyond a tensor.
    environment = os.environ | {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    process = subprocess.Popen(
        [*command, *exercise], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    summary = ""
    for line in process.stdout:
        print(line, end="", flush=True)
        if found := _SUMMARY.match(line):
            summary = found[1]
    status = process.wait()
    emit("sanitizer", tool=arguments.tool, passed=status == 0, summary=summary)
    return status


if __name__ == "__main__":
    sys.exit(main())
