"""Comparison with the float64 reference, with the reference's own error allowed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import signature
from itertools import chain, cycle, repeat
from typing import Any
from unittest import mock

import torch
from torch import Tensor, library

import fgsbir_ext as fx
from fgsbir_ext.types import Triplets
from tests.support.cases import LOSS_INPUTS


def opcheck(op: Any, inputs: tuple[Any, ...]) -> None:
    """Torch's own check of an operation, with equal results where torch takes tolerances (2.5)."""
    takes = signature(library.opcheck).parameters
    library.opcheck(op, inputs, **{name: 0.0 for name in ("rtol", "atol") if name in takes})


def exact(arguments: Mapping[str, Any], device: str = "cpu") -> dict[str, Any]:
    """Arguments on a device with floating tensors in float64 (16-bit values as rounded)."""

    def convert(x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        x = x.detach().to(device)
        return x.double() if x.is_floating_point() else x

    return {name: convert(x) for name, x in arguments.items()}


def assert_accurate(
    actual: Tensor, truth: Tensor, baseline: Tensor, name: str = "", *, terms: float = 0.0
) -> None:
    """float64: within 1e-10 of the largest value. Else: as near to the truth, in float64, as plain
    PyTorch in the same type is (``baseline``), within a factor of 4 and a few roundings.

    ``terms`` is the size of what results are sums of, where those sums may vanish.
    """
    assert actual.shape == truth.shape, name
    assert actual.dtype == baseline.dtype, name
    dtype = actual.dtype
    actual, baseline = (x.detach().to(truth.device).double() for x in (actual, baseline))
    finite = truth.isfinite()
    torch.testing.assert_close(actual[~finite], truth[~finite], equal_nan=True, msg=name)
    if not finite.any():
        return
    scale = max(truth[finite].abs().max().item(), terms)
    error = (actual - truth)[finite].abs().max().item()
    own_error = (baseline - truth)[finite].abs().max().item()
    allowed = (
        1e-10 * scale
        if dtype == torch.float64
        else 4 * own_error + 4 * torch.finfo(dtype).eps * scale
    )
    assert error <= allowed, f"{name}: error {error:.3g} > {allowed:.3g}, at scale {scale:.3g}"


def assert_same_bits(first: Any, second: Any) -> None:
    """Two results of one call are the same bits, NaN included."""
    if isinstance(first, Tensor):
        assert first.dtype == second.dtype
        torch.testing.assert_close(first, second, rtol=0, atol=0, equal_nan=True)
        return
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert_same_bits(one, other)


def assert_good_picks(
    picks: Triplets,
    batch: Mapping[str, Any],
    dtype: torch.dtype,
    *,
    device: str = "cpu",
    **options: Any,
) -> int:
    """float64: the picks of the reference. Else: no other pick scores better, computed in float64,
    by more than the rounding of distances in float32.

    The reference runs on ``device``. Returns how many picks are not those of the reference.
    """
    truth = exact(batch, device)
    expected = fx.reference.mine_batch_hard(**truth, **options)
    found = Triplets(*(x.to(device) for x in picks))
    if dtype == torch.float64:
        assert_same_bits(tuple(found), tuple(expected))
        return 0
    assert torch.equal(found.valid, expected.valid)
    anchor = expected.valid.nonzero().squeeze(1)
    positive, negative = found.positive[anchor], found.negative[anchor]
    assert (found.positive[~expected.valid] == -1).all()
    assert (found.negative[~expected.valid] == -1).all()
    if len(anchor) == 0:
        return 0

    sketch, photo = truth["sketch"][anchor], truth["photo"]
    d = fx.reference.pairwise_distance(sketch, photo, metric=options.get("metric", "sqeuclidean"))
    unsure = rounding(sketch, photo, options.get("metric", "sqeuclidean"))
    labels = truth.get("sketch_labels", torch.arange(len(truth["sketch"]), device=device))
    same = labels[anchor, None] == truth.get(
        "photo_labels", torch.arange(len(photo), device=device)
    )
    rows = torch.arange(len(anchor), device=device)

    assert same[rows, positive].all()
    farthest = (d - unsure).masked_fill(~same, -torch.inf).amax(1, keepdim=True)
    assert ((d + unsure)[rows, positive, None] >= farthest).all()

    assert not same[rows, negative].any()
    guidance = options.get("attribute_guidance", 0.0)
    allowed = ~same
    if guidance > 0:
        h = fx.reference.attribute_distance(
            truth["sketch_attributes"][anchor],
            truth["photo_attributes"],
            weights=options.get("attribute_weights"),
        ).double()
        if guidance == torch.inf:
            allowed &= h <= h.masked_fill(same, torch.inf).amin(1, keepdim=True) + 1e-6
        else:
            d, unsure = d + guidance * h, unsure + guidance * 1e-6
    assert allowed[rows, negative].all()
    nearest = (d + unsure).masked_fill(~allowed, torch.inf).amin(1, keepdim=True)
    assert ((d - unsure)[rows, negative, None] <= nearest).all()
    differing = (found.positive != expected.positive) | (found.negative != expected.negative)
    return int(differing.sum())


def assert_nothing_nearer_left(
    r: Tensor, indices: Tensor, inputs: Mapping[str, Tensor], options: Mapping[str, Any]
) -> None:
    """Found are k different rows, and none but for the rounding of products is nearer.

    ``r`` (Q, G) are the distances in float64, ``indices`` (Q, k) what was found.
    """
    found = torch.zeros_like(r, dtype=torch.bool).scatter_(1, indices, True)
    assert (found.sum(1) == options["k"]).all()
    if options["k"] == 0 or found.all():
        return
    query, gallery, *_ = exact(inputs, str(r.device)).values()
    unsure = rounding(query, gallery, options["metric"])
    if options.get("attribute_weight", 0) > 0:
        root = options["attribute_metric"] == "euclidean"  # the root of what cancellation leaves
        unsure = unsure + (2e-3 if root else 1e-5)
    farthest_found = (r - unsure).masked_fill(~found, -torch.inf).amax(1)
    nearest_left = (r + unsure).masked_fill(found, torch.inf).amin(1)
    assert (farthest_found <= nearest_left).all()


def rounding(x: Tensor, y: Tensor, metric: str) -> Tensor:
    """How far distances from float32 products |x|^2 + |y|^2 - 2 x.y may be off: (N, M)."""
    eps = 8 * torch.finfo(torch.float32).eps
    if metric == "cosine":
        return torch.full((len(x), len(y)), eps, dtype=torch.float64, device=x.device)
    squared = eps * (x.square().sum(1)[:, None] + y.square().sum(1))
    if metric == "sqeuclidean":
        return squared
    d = fx.reference.pairwise_distance(x, y, metric="euclidean")
    return (d.square() + squared).sqrt() - d + eps * d


def loss_and_gradients(
    loss: Callable[..., Any], batch: Mapping[str, Any], of: str = "total", **options: Any
) -> tuple[dict[str, Tensor], Triplets]:
    """All parts of the loss and the gradients of its total, or of a mixture of its ``parts``."""
    leaves = {x: batch[x].detach().requires_grad_() for x in LOSS_INPUTS if x in batch}
    result = loss(**{**batch, **leaves}, return_parts=True, **options)
    *parts, triplets = result
    shares = cycle((0.5, 1.5, -1, 2, 0.7, 3)) if of == "parts" else chain((1,), repeat(0))
    mixture = sum(
        share * (part * _shares(part)).sum()
        for share, part in zip(shares, parts, strict=False)
        if share
    )
    gradients = torch.autograd.grad(mixture, list(leaves.values()), materialize_grads=True)
    named = {f"gradient of {x}": g for x, g in zip(leaves, gradients, strict=True)}
    return dict(
        zip(result._fields[:-1], (x.detach() for x in parts), strict=True)
    ) | named, triplets


def _shares(part: Tensor) -> Tensor:
    """A different factor for each value: computed on the CPU, so the same bits on every device."""
    return torch.arange(part.numel()).cos().view(part.shape).to(part.device)


def reference_over(triplets: Triplets) -> Callable[..., Any]:
    """The reference loss over given triplets in place of those it would choose itself."""

    def loss(sketch: Tensor, *args: Any, **kwargs: Any) -> Any:
        here = Triplets(*(x.to(sketch.device) for x in triplets))
        with mock.patch.object(fx.reference, "mine_batch_hard", return_value=here):
            return fx.reference.attribute_triplet_loss(sketch, *args, **kwargs)

    return loss
