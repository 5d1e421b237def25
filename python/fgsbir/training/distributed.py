"""Training on several processes, started by torchrun, one a GPU (or some on a CPU).

Every rank holds the same weights and the same data, draws the same order of instances, and works on
its own share of every batch. Rank 0 alone writes files. docs/distributed.md says how to run it.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Generator, Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from fgsbir_ext.collectives import count_ranks

from ..models.retrieval import RetrievalModel


@contextmanager
def process_group(device: str) -> Iterator[None]:
    """Joins the processes that torchrun started, and leaves them at the end.

    Nothing happens in a process that torchrun did not start, or that has joined a group already.

    Args:
        device: where to train; NCCL for ``"cuda"``, else gloo.
    """
    started = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if not started or dist.is_initialized():
        yield
        return
    kind = torch.device(device).type
    dist.init_process_group("nccl" if kind == "cuda" else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def rank() -> int:
    """Number of this process, 0 where there is only one."""
    return dist.get_rank() if count_ranks() > 1 else 0


def is_main() -> bool:
    """Whether this process writes the log, the checkpoints and the progress bar."""
    return rank() == 0


def own_device(device: torch.device) -> torch.device:
    """The GPU of this process: of ``cuda``, the one with its number on its machine."""
    if device.type == "cuda" and device.index is None and count_ranks() > 1:
        number = int(os.environ.get("LOCAL_RANK", rank() % torch.cuda.device_count()))
        device = torch.device("cuda", number)
        torch.cuda.set_device(device)
    return device


def own_share(instances: Tensor) -> Tensor:
    """This rank's part of a batch, all ranks' parts being disjoint and as equal as possible.

    Raises:
        ValueError: when a rank would be left without any.
    """
    ranks = count_ranks()
    if len(instances) < ranks:
        raise ValueError(
            f"batch_size: expected at least one pair for each of {ranks} processes in every batch, "
            f"got a batch of {len(instances)}"
        )
    return instances.tensor_split(ranks)[rank()]


def own_generator(generator: Generator, seed: int, epoch: int) -> Generator:
    """Randomness of this rank alone in an epoch, for dropout too; in a single process the given.

    It depends on nothing else, so a run may go on from the end of any epoch.
    """
    if count_ranks() == 1:
        return generator
    seeds = np.random.SeedSequence([seed, epoch, rank()]).generate_state(2, np.uint64).tolist()
    torch.manual_seed(seeds[0])
    return Generator().manual_seed(seeds[1])


def data_parallel(model: RetrievalModel, device: torch.device) -> nn.Module:
    """The model with gradients averaged over ranks; in a single process the model itself.

    Batch normalisation takes its statistics over all ranks on GPUs. torch has no such thing for the
    CPU: there every rank normalises its own share.
    """
    if count_ranks() == 1:
        return model
    network: nn.Module = model
    if device.type == "cuda":
        network = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    # Buffers stay what each rank made of them until average_buffers; torch 2.13 renamed the option.
    known = inspect.signature(DistributedDataParallel).parameters
    name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    options: dict[str, Any] = {name: False}
    return DistributedDataParallel(
        network, find_unused_parameters=not model.reads_features, **options
    )


@torch.no_grad()
def broadcast_weights(layer: nn.Module) -> None:
    """Gives every rank the weights of the first."""
    if count_ranks() > 1:
        for weight in layer.parameters():
            dist.broadcast(weight, 0)


@torch.no_grad()
def average_buffers(model: nn.Module) -> None:
    """Gives every rank the mean over ranks of running statistics, before they are used."""
    ranks = count_ranks()
    floating = [x for x in model.buffers() if x.is_floating_point()]
    if ranks == 1 or not floating:
        return
    flat = torch.cat([x.flatten() for x in floating])
    dist.all_reduce(flat)
    for x, mean in zip(floating, (flat / ranks).split([x.numel() for x in floating]), strict=True):
        x.copy_(mean.view_as(x))
