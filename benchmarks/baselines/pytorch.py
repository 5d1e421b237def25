"""PyTorch without custom kernels: plain, tuned, in tiles, and compiled.

``plain_pytorch`` has one line a step, as implementations of batch-hard mining commonly do. The
tuned version has one (N, M) matrix updated in place, attributes as one more product, and no mask
where photo i is the one positive of sketch i.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, relu

from ..workload import Inputs
from .base import (
    GUIDANCE,
    MARGIN,
    TOP,
    Baseline,
    Prepare,
    Work,
    loss_operations,
    pairwise_operations,
    without_gradients,
)

Picks = tuple[Tensor, Tensor]


def loss_of_picks(inputs: Inputs, positive: Tensor, negative: Tensor) -> Tensor:
    """The loss of triplets that were mined, over anchors that all have a positive."""
    s, p, u, v = inputs.leaves

    def rank(x: Tensor, y: Tensor) -> Tensor:
        nearer = (x - y[positive]).square().sum(1)
        return relu(MARGIN + nearer - (x - y[negative]).square().sum(1))

    def predict(logits: Tensor, attributes: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(logits, attributes.to(logits.dtype))

    on_photos = inputs.photo_attributes
    return (
        (rank(s, p) + rank(u.sigmoid(), v.sigmoid())).mean()
        + predict(u, inputs.sketch_attributes)
        + predict(v[positive], on_photos[positive])
        + predict(v[negative], on_photos[negative])
    )


def loss_by(mine: Callable[[Inputs], Picks]) -> Callable[[Inputs], Tensor]:
    """The whole loss over the triplets of a miner."""

    def loss(inputs: Inputs) -> Tensor:
        with torch.no_grad():
            positive, negative = mine(inputs)
        return loss_of_picks(inputs, positive, negative)

    return loss


# --- As it is mostly written ----------------------------------------------------------------------


def mine_plainly(inputs: Inputs) -> Picks:
    s, p = inputs.sketch, inputs.photo
    squared = s.square().sum(1)[:, None] + p.square().sum(1)[None] - 2 * s @ p.T
    a, b = inputs.sketch_attributes.to(s.dtype), inputs.photo_attributes.to(s.dtype)
    h = (a @ (1 - b).T + (1 - a) @ b.T) / a.shape[1]
    same = inputs.sketch_labels[:, None] == inputs.photo_labels[None]
    positive = squared.masked_fill(~same, -torch.inf).argmax(1)
    negative = (squared + GUIDANCE * h).masked_fill(same, torch.inf).argmin(1)
    return positive, negative


plain_pytorch = loss_by(mine_plainly)


def cdist_squared(x: Tensor, y: Tensor) -> Tensor:
    return torch.cdist(x, y).square()


def search_by_cdist(inputs: Inputs) -> tuple[Tensor, Tensor]:
    return torch.cdist(inputs.sketch, inputs.photo).square().topk(TOP, largest=False)


PLAIN = Baseline(
    "plain PyTorch",
    {
        **loss_operations(plain_pytorch),
        "mining": without_gradients(mine_plainly),
        **pairwise_operations(cdist_squared),
        "top-k": without_gradients(search_by_cdist),
    },
    tier="torch",
    colour="#3b82f6",
)


# --- Tuned ----------------------------------------------------------------------------------------


def mine_in_place(inputs: Inputs) -> Picks:
    s, p = inputs.sketch, inputs.photo
    a, b = inputs.sketch_attributes, inputs.photo_attributes
    # |s|^2 is the same along a row and chooses nothing.
    score = torch.addmm(p.square().sum(1), s, p.T, alpha=-2)
    if inputs.paired:
        positive = inputs.sketch_labels
    else:
        same = inputs.sketch_labels[:, None] == inputs.photo_labels[None]
        positive = score.where(same, -torch.inf).argmax(1)
    differing = torch.cat([a == 1, a == 0], 1).to(s.dtype), torch.cat([b == 0, b == 1], 1)
    score.addmm_(differing[0], differing[1].T.to(s.dtype), alpha=GUIDANCE / a.shape[1])
    if inputs.paired:
        score.fill_diagonal_(torch.inf)
    else:
        score.masked_fill_(same, torch.inf)
    return positive, score.argmin(1)


tuned_pytorch = loss_by(mine_in_place)


def product_distance(x: Tensor, y: Tensor) -> Tensor:
    """Fewest passes that autograd allows; small distances lose their digits, and may be below 0."""
    row = x.square().sum(1)[:, None]
    return torch.addmm(y.square().sum(1), x, y.T, alpha=-2).add_(row)


def search_by_product(inputs: Inputs) -> tuple[Tensor, Tensor]:
    x, y = inputs.sketch, inputs.photo
    score = torch.addmm(y.square().sum(1), x, y.T, alpha=-2)
    values, indices = score.topk(TOP, largest=False)
    return values + x.square().sum(1)[:, None], indices


TUNED = Baseline(
    "tuned PyTorch",
    {
        **loss_operations(tuned_pytorch),
        "mining": without_gradients(mine_in_place),
        **pairwise_operations(product_distance),
        "top-k": without_gradients(search_by_product),
    },
    tier="lean",
    colour="#0ea5a4",
)


# --- In tiles of rows -----------------------------------------------------------------------------

TILE_ROWS = 1024  # faster than 256 at 4096 and 8192


def mine_in_tiles(inputs: Inputs) -> Picks:
    """No (N, M) matrix, and attributes as further columns of the one product."""
    s, p = inputs.sketch, inputs.photo
    a, b = inputs.sketch_attributes, inputs.photo_attributes
    share = -GUIDANCE / a.shape[1] / 2  # of what is multiplied by -2
    rows = torch.cat([s, share * (a == 1).to(s.dtype), share * (a == 0).to(s.dtype)], 1)
    columns = torch.cat([p, (b == 0).to(p.dtype), (b == 1).to(p.dtype)], 1).T
    norms = p.square().sum(1)
    score = s.new_empty(min(TILE_ROWS, len(s)), len(p))
    positive, negative = torch.empty_like(inputs.sketch_labels), []
    for first in range(0, len(s), TILE_ROWS):
        tile = score[: len(s) - first]
        own = slice(first, first + len(tile))
        if inputs.paired:
            positive[own] = inputs.sketch_labels[own]
            torch.addmm(norms, rows[own], columns, alpha=-2, out=tile)
            tile.diagonal(first).fill_(torch.inf)
        else:
            same = inputs.sketch_labels[own, None] == inputs.photo_labels[None]
            torch.addmm(norms, s[own], p.T, alpha=-2, out=tile)
            positive[own] = tile.where(same, -torch.inf).argmax(1)
            torch.addmm(norms, rows[own], columns, alpha=-2, out=tile)
            tile.masked_fill_(same, torch.inf)
        negative.append(tile.argmin(1))
    return positive, torch.cat(negative)


tiled_pytorch = loss_by(mine_in_tiles)


TILED = Baseline(
    "PyTorch in tiles",
    {**loss_operations(tiled_pytorch), "mining": without_gradients(mine_in_tiles)},
    tier="torch",
    colour="#d4569b",
)


# --- Compiled -------------------------------------------------------------------------------------


def _compiled(
    prepare: Callable[[Callable], Prepare], on_cpu: Callable, on_gpu: Callable
) -> Prepare:
    def compile_first(inputs: Inputs) -> Work:
        function, mode = on_cpu, "default"
        if inputs.sketch.is_cuda:  # with CUDA graphs, which is what makes small batches fast there
            function, mode = on_gpu, "reduce-overhead"
        return prepare(torch.compile(function, dynamic=False, mode=mode))(inputs)

    return compile_first


# Compiled, tiles are ahead of the whole matrix on a CPU.
COMPILED = Baseline(
    "torch.compile",
    {
        "loss forward": _compiled(
            lambda f: loss_operations(f)["loss forward"], tiled_pytorch, tuned_pytorch
        ),
        "loss forward + backward": _compiled(
            lambda f: loss_operations(f)["loss forward + backward"], tiled_pytorch, tuned_pytorch
        ),
        "mining": _compiled(without_gradients, mine_in_tiles, mine_in_place),
    },
    tier="torch",
    slow=True,
    compiles=True,
    colour="#a371f7",
)
