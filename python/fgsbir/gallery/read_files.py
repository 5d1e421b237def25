"""Reading of many files at once, those that can be read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import torch

from .folder import Skipped

Result = TypeVar("Result")


def read_files(
    read: Callable[[str], Result], files: Sequence[str]
) -> tuple[dict[str, Result], list[Skipped]]:
    """What a function gives for each file, and the files that it cannot read; in their order."""

    def attempt(file: str) -> Result | Skipped:
        try:
            return read(file)
        except (OSError, ValueError) as error:
            reason = str(error)
            return Skipped(Path(file), reason if file in reason else f"{file}: {reason}")

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        results = dict(zip(files, pool.map(attempt, files), strict=True))
    skipped = [result for result in results.values() if isinstance(result, Skipped)]
    done = {file: result for file, result in results.items() if not isinstance(result, Skipped)}
    return done, skipped
