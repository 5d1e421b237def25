"""Collectives with gradients: rows gathered and sums taken over all processes.

What the losses over a global batch are made of; see :mod:`fgsbir_ext.distributed` for how the
gradients are scaled. In a single process, or without ``torch.distributed``, both do nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from . import _checks as checks


class Gathered(NamedTuple):
    """What :func:`gather_rows` returns.

    Attributes:
        tensors: (M, ...) rows of all ranks, by rank, for each argument; None where that was None.
        first: index of this rank's first row among them.
    """

    tensors: list[Any]
    first: int


def count_ranks(group: dist.ProcessGroup | None = None) -> int:
    """Processes in a group, or in all; 1 where ``torch.distributed`` is not initialised.

    Raises:
        ValueError: when this process is not in the group.
    """
    if not dist.is_available() or not dist.is_initialized():
        return 1
    if dist.get_rank(group) < 0:
        raise ValueError("group must be a process group that this process belongs to")
    return dist.get_world_size(group)


def gather_rows(
    *,
    group: dist.ProcessGroup | None = None,
    equal_sizes: bool = False,
    **tensors: Tensor | None,
) -> Gathered:
    """Puts the rows of all ranks together, in the order of the ranks, in one message a rank.

    Every rank passes the same arguments with the same columns and types, and as many rows as it
    has. The gradient of a row is the sum of what all ranks make of it, in float32 at least.

    Args:
        group: the ranks; all processes unless given.
        equal_sizes: the promise that all ranks pass as many rows, of the same kind. Without it they
            tell each other first, which on CUDA the processor waits for.
        tensors: (m, ...) each, of one device, floating, integer or bool.

    Raises:
        TypeError: for other types.
        ValueError: on different numbers of rows or devices among the tensors; on every rank, when
            the arguments of two ranks do not go together and ``equal_sizes`` is False.
    """
    given = {name: x for name, x in tensors.items() if x is not None}
    rows = checks.same_size("M", 0, *given.items())
    checks.same_device(*given.items())
    for name, x in given.items():
        if x.dtype not in _TYPES:
            raise TypeError(f"{name} must be floating, integer or bool, got {x.dtype}")
    ranks = count_ranks(group)
    if ranks == 1:
        return Gathered(list(tensors.values()), 0)
    sizes = [rows] * ranks if equal_sizes else _exchange_sizes(rows, tensors, ranks, group)
    rows_of_all = _GatherRows.apply(group, sizes, *given.values())  # type: ignore[no-untyped-call]
    gathered = dict(zip(given, rows_of_all, strict=True))
    return Gathered([gathered.get(name) for name in tensors], sum(sizes[: dist.get_rank(group)]))


def reduce_over_ranks(
    sums: Sequence[Tensor], count: Tensor | None = None, *, group: dist.ProcessGroup | None = None
) -> list[Tensor]:
    """Sums over all ranks, divided by the sum of ``count`` if that is given: all the same on each.

    The gradient is multiplied by the number of ranks, so that the average over ranks, as of
    DistributedDataParallel, is the gradient of the value.

    Args:
        sums: scalars of this rank, of one floating type.
        count: how many terms they have on this rank, an integer scalar. 0 on all ranks gives 0
            for sums of 0.
        group: the ranks; all processes unless given.
    """
    if count_ranks(group) == 1:
        return [x / count.clamp(min=1) for x in sums] if count is not None else list(sums)
    return list(_ReduceOverRanks.apply(group, count, *sums))  # type: ignore[no-untyped-call]


_TYPES = (
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
)
_NUMBERS = 3


def _exchange_sizes(
    rows: int, tensors: dict[str, Tensor | None], ranks: int, group: dist.ProcessGroup | None
) -> list[int]:
    """Rows of every rank, after a look at whether their tensors fit together."""
    mine = [rows, *(number for x in tensors.values() for number in _description(x))]
    device = next(x.device for x in tensors.values() if x is not None)
    everyone = torch.empty(ranks * len(mine), dtype=torch.int64, device=device)
    _all_gather(everyone, torch.tensor(mine, device=device), group)
    table: list[list[int]] = everyone.view(ranks, len(mine)).mT.tolist()
    sizes, *descriptions = table
    for i, name in enumerate(tensors):
        by_rank = list(zip(*descriptions[_NUMBERS * i : _NUMBERS * (i + 1)], strict=True))
        for rank, description in enumerate(by_rank):
            if description != by_rank[0]:
                raise ValueError(
                    f"{name} must be of one kind on all ranks, got {_kind(by_rank[0])} on rank 0 "
                    f"and {_kind(description)} on rank {rank}"
                )
    return sizes


def _description(x: Tensor | None) -> tuple[int, int, int]:
    """Type, columns and whether a gradient is wanted, as numbers to send."""
    if x is None:
        return (-1, 0, 0)
    return (_TYPES.index(x.dtype), x.shape[1:].numel(), int(x.requires_grad))


def _kind(description: tuple[int, ...]) -> str:
    of_type, columns, requires_grad = description
    if of_type < 0:
        return "None"
    name = str(_TYPES[of_type]).removeprefix("torch.")
    return f"{name} with {columns} columns{' and a gradient' if requires_grad else ''}"


class _GatherRows(torch.autograd.Function):
    """All tensors in one all-gather of bytes; their gradients in one reduce-scatter."""

    @staticmethod
    def forward(
        ctx: Any, group: dist.ProcessGroup | None, sizes: list[int], *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        ranks, rows, most = len(sizes), tensors[0].shape[0], max(sizes)
        real = _real_rows(sizes, tensors[0].device)
        blocks = [_bytes_of(x, most) for x in tensors]
        received = blocks[0].new_empty(ranks * sum(len(block) for block in blocks))
        _all_gather(received, torch.cat(blocks), group)

        gathered = []
        by_block = torch.split(received.view(ranks, -1), [len(block) for block in blocks], 1)
        for x, block in zip(tensors, by_block, strict=True):
            # A copy, since a slice of bytes may start where its type may not.
            values = block.clone(memory_format=torch.contiguous_format).view(-1).view(x.dtype)
            values = values.view(ranks * most, *x.shape[1:])
            gathered.append(values if real is None else values.index_select(0, real))
        ctx.group, ctx.ranks, ctx.rows, ctx.most, ctx.real = group, ranks, rows, most, real
        ctx.inputs = [(x.dtype, x.shape) for x in tensors]
        constant = zip(gathered, ctx.needs_input_grad[2:], strict=True)
        ctx.mark_non_differentiable(*(x for x, needed in constant if not needed))
        return tuple(gathered)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        wanted = [i for i, needed in enumerate(ctx.needs_input_grad[2:]) if needed]
        # Sums of 16-bit gradients over many ranks would lose digits that one process keeps.
        summed_in = reduce(torch.promote_types, (grads[i].dtype for i in wanted), torch.float32)
        rows = torch.cat([grads[i].flatten(1).to(summed_in) for i in wanted], 1)
        if ctx.real is not None:
            padded = rows.new_zeros((ctx.ranks * ctx.most, rows.shape[1]))
            rows = padded.index_copy_(0, ctx.real, rows)
        own = rows.new_empty((ctx.most, rows.shape[1]))
        _reduce_scatter(own, rows, ctx.group)

        result: list[Tensor | None] = [None] * len(grads)
        columns = [ctx.inputs[i][1][1:].numel() for i in wanted]
        parts = torch.split(own[: ctx.rows], columns, 1)
        for i, part in zip(wanted, parts, strict=True):
            dtype, shape = ctx.inputs[i]
            result[i] = part.to(dtype).reshape(shape)
        return None, None, *result


def _bytes_of(x: Tensor, rows: int) -> Tensor:
    """The memory of x, with rows of zeros below up to so many, as one row of bytes."""
    if rows > len(x):
        x = torch.cat([x, x.new_zeros((rows - len(x), *x.shape[1:]))])
    return x.resolve_neg().contiguous().view(-1).view(torch.uint8)


def _real_rows(sizes: list[int], device: torch.device) -> Tensor | None:
    """Where the rows of ranks are among blocks as long as the longest; None for everywhere."""
    if len(set(sizes)) == 1:
        return None
    lengths = torch.tensor(sizes, device="cpu")
    present = torch.arange(max(sizes), device="cpu") < lengths[:, None]
    return present.flatten().nonzero().squeeze(1).to(device)


class _ReduceOverRanks(torch.autograd.Function):
    """Scalars and their count in one all-reduce."""

    @staticmethod
    def forward(
        ctx: Any, group: dist.ProcessGroup | None, count: Tensor | None, *sums: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        number = sums[0].new_ones(()) if count is None else count
        # float64 counts exactly up to 2^53 anchors.
        total = torch.stack([x.detach().double() for x in (number, *sums)])
        dist.all_reduce(total, group=group)
        divisor = 1.0 if count is None else total[0].clamp(min=1)
        ctx.scale = dist.get_world_size(group) / divisor
        # Copies, since views of one tensor could not be changed in place (loss /= 2).
        return tuple(x.to(sums[0].dtype, copy=True) for x in total[1:] / divisor)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        return None, None, *(None if g is None else (g * ctx.scale).to(g.dtype) for g in grads)


def _all_gather(output: Tensor, value: Tensor, group: dist.ProcessGroup | None) -> None:
    # The newer name; the older one warns where both exist.
    collective = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
    collective(output, value, group=group)


def _reduce_scatter(output: Tensor, value: Tensor, group: dist.ProcessGroup | None) -> None:
    collective = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor
    collective(output, value, group=group)
