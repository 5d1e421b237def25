"""Distributed loss, equal to the loss of one process on the concatenated batch.

Anchors stay where they are. Photos go to every rank, which mines its own anchors among all of them,
and the gradients of photos come back to the rank that embedded them. A step costs one all-gather
forward, one reduce-scatter backward and one all-reduce of a few numbers, and the exchange of the
batch sizes unless they are known to be equal. docs/distributed.md works out the bytes.

Gradients follow DistributedDataParallel and FSDP, which average over ranks: the average over ranks
of the gradients that the returned losses give is the gradient of the loss of the whole batch.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor
from typing_extensions import Unpack

from . import _checks as checks
from ._functional import loss_of_sides
from ._sides import PHOTO, SKETCH, check_side, named_tensors
from .collectives import count_ranks, gather_rows, reduce_over_ranks
from .losses import AttributeTripletLoss
from .types import ArrayLike, LossParts, LossSettings, Side


class DistributedAttributeTripletLoss(AttributeTripletLoss):
    """:class:`fgsbir_ext.AttributeTripletLoss` with negatives and positives from every rank.

    Every rank passes what its own batch holds, n sketches and m photos, which may differ between
    ranks and may be none. Its anchors meet the photos of all ranks, in the order of the ranks.
    Without labels sketch i matches photo i of its own rank alone. With labels a positive may live
    on another rank, so that ids must mean the same everywhere.

    ``reduction="mean"`` and ``"sum"`` are over the valid anchors of all ranks, and give the same
    value on every rank; to sum gradients over ranks instead of averaging them, divide the loss by
    the number of ranks first. ``"none"`` gives (n,) values of the rank's own anchors, unscaled:
    averaged over ranks, gradients are those of the mean over ranks of whatever each makes of them.
    Photos in ``LossParts.triplets`` are numbered over all ranks.

    Every rank must call it, and its backward if any does. In a single process it is its base class.

    Args:
        group: the ranks; all processes unless given.
        equal_sizes: every rank promises to pass as many photos as every other, with the same
            optional arguments. It saves one small all-gather and, on CUDA, the wait for it.
            A broken promise is undefined behaviour of the communication library.
        return_parts, options: those of :class:`fgsbir_ext.AttributeTripletLoss`.

    Raises:
        TypeError, ValueError: as its base class; on every rank, when ranks pass different
            arguments and sizes are not promised to be equal.
    """

    def __init__(
        self,
        *,
        group: dist.ProcessGroup | None = None,
        equal_sizes: bool = False,
        return_parts: bool = False,
        **options: Unpack[LossSettings[ArrayLike]],
    ) -> None:
        super().__init__(return_parts=return_parts, **options)
        self.group = group
        self.equal_sizes = equal_sizes

    def _of_sides(self, sketch: Side, photo: Side) -> Tensor | LossParts:
        if count_ranks(self.group) == 1:
            return super()._of_sides(sketch, photo)
        sketch, photo = check_side(sketch, SKETCH), check_side(photo, PHOTO)
        labels = (SKETCH.labels, sketch.labels), (PHOTO.labels, photo.labels)
        labelled = checks.all_or_none(*labels)
        if not labelled:
            checks.same_size("N", 0, ("sketch", sketch.embedding), ("photo", photo.embedding))
        named = named_tensors(PHOTO, photo)
        tensors, first = gather_rows(**dict(named), group=self.group, equal_sizes=self.equal_sizes)
        photo = Side._make(tensors)
        if not labelled:
            rows = torch.arange(len(photo.embedding), device=photo.embedding.device)
            photo = photo._replace(labels=rows)
            sketch = sketch._replace(labels=rows[first : first + len(sketch.embedding)])

        reduction = self.options.reduction
        own = self.options._replace(reduction="none" if reduction == "none" else "sum")
        parts = loss_of_sides(sketch, photo, self.attribute_weights, own, return_parts=True)
        if reduction != "none":
            count = parts.triplets.valid.sum() if reduction == "mean" else None
            wanted = parts._fields[:-1] if self.return_parts else ("total",)
            terms = reduce_over_ranks([getattr(parts, x) for x in wanted], count, group=self.group)
            parts = parts._replace(**dict(zip(wanted, terms, strict=True)))
        loss: Tensor | LossParts = parts if self.return_parts else parts.total
        return loss
