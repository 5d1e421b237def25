"""Run of a function in several processes, the ranks of one gloo process group."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

TIMEOUT = 60.0
"""Seconds until ranks that wait for each other fail instead."""

# Ranks are forked from a process that has imported these, once, and done nothing else.
# DistributedDataParallel imports torch._dynamo.
mp.get_context("forkserver").set_forkserver_preload(["torch._dynamo", "fgsbir.training.train"])


def run_ranks(ranks: int, function: Callable[..., Any], *args: Any) -> list[Any]:
    """``function(*args)`` on every rank, with torch.distributed initialised; results by rank.

    The function lives at the top of a module, and results are whatever torch.save takes. When a
    rank raises, the others are killed and its traceback is raised here.
    """
    with tempfile.TemporaryDirectory() as folder:
        processes = mp.start_processes(
            _run, (ranks, folder, function, args), ranks, join=False, start_method="forkserver"
        )
        deadline = time.monotonic() + TIMEOUT
        while not processes.join(timeout=1):
            if time.monotonic() > deadline:
                for process in processes.processes:
                    process.kill()
                raise TimeoutError(f"{function.__name__}: {ranks} ranks took over {TIMEOUT:g} s")
        return [torch.load(Path(folder, str(rank)), weights_only=False) for rank in range(ranks)]


def _run(
    rank: int, ranks: int, folder: str, function: Callable[..., Any], args: tuple[Any, ...]
) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=ranks,
        timeout=timedelta(seconds=TIMEOUT / 2),
    )
    # To a rank that is still connecting, one that has already ended looks crashed.
    dist.barrier()
    try:
        torch.save(function(*args), Path(folder, str(rank)))
    finally:
        dist.destroy_process_group()
