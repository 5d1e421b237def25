"""Distributed loss: equal to one process on the concatenated batch."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator
from itertools import accumulate, chain, cycle, repeat
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import fgsbir_ext as fx
from fgsbir_ext.collectives import gather_rows, reduce_over_ranks
from tests.support.cases import (
    ATTRIBUTE_METRICS,
    FLOATS,
    GUIDANCES,
    LOSS_INPUTS,
    METRICS,
    REDUCTIONS,
    all_pairs,
    both,
    make_batch,
    make_weights,
    relayout,
)
from tests.support.ranks import run_ranks

RANKS = (2, 4)
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 1e-2}

# Sketches and photos of each rank; of four ranks in the first places for two.
SPLITS = {
    "equal": ((3, 3, 3, 3), (3, 3, 3, 3)),
    "unequal": ((2, 5, 1, 4), (4, 1, 6, 2)),
    "empty rank": ((0, 4, 3, 0), (0, 5, 2, 0)),
    "photos elsewhere": ((4, 2, 1, 3), (0, 7, 0, 3)),
}
INPUTS = {
    "labels": {},
    "no labels": {"labels": False},
    "no attributes": {"attributes": False},
    "attributes that guide": {"logits": False},
    "bool attributes": {"attribute_type": torch.bool},
    "float attributes": {"attribute_type": torch.float32},
}
LABELLINGS = ("random", "on the next rank", "no positive", "no negative", "none on rank 0", "ties")

SWEEP = all_pairs(
    split=tuple(SPLITS),
    inputs=tuple(INPUTS),
    metric=METRICS,
    attribute_metric=ATTRIBUTE_METRICS,
    attribute_guidance=GUIDANCES,
    margin=(0.3, "soft"),
    reduction=REDUCTIONS,
    dtype=(torch.float64, torch.float32),
)
LABELLED = [
    {"split": split, "labelling": labelling, "reduction": reduction, "dtype": torch.float32}
    for labelling in LABELLINGS
    for split, reduction in (("equal", "mean"), ("unequal", "none"))
]
SIXTEEN_BIT = [{"split": "unequal", "metric": "euclidean", "dtype": torch.bfloat16}]
PROMISED = [{"split": "equal", "equal_sizes": True, "dtype": torch.float32}]
CASES = [*(row.values[0] for row in SWEEP), *LABELLED, *SIXTEEN_BIT, *PROMISED]
assert set(TOLERANCE) <= set(FLOATS)


def make_case(case: dict[str, Any], ranks: int) -> tuple[dict[str, Tensor], dict[str, Any], Any]:
    """The concatenated batch, the options of the loss, and the sizes of each rank."""
    case = dict(case)
    sizes = [split[:ranks] for split in SPLITS[case.pop("split")]]
    inputs = INPUTS[case.pop("inputs", "labels")]
    labelling = case.pop("labelling", "random")
    if not inputs.get("labels", True):
        sizes[1] = sizes[0]
    n, m = map(sum, sizes)
    batch = make_batch((n, m, 5, 3), dtype=case.pop("dtype"), **inputs)
    if labelling == "on the next rank":
        photo_rank = torch.arange(ranks).repeat_interleave(torch.tensor(sizes[1]))
        sketch_rank = torch.arange(ranks).repeat_interleave(torch.tensor(sizes[0]))
        batch["photo_labels"], batch["sketch_labels"] = photo_rank, (sketch_rank + 1) % ranks
    elif labelling == "no positive":
        batch["sketch_labels"].fill_(99)
    elif labelling == "no negative":
        batch["sketch_labels"].fill_(1)
        batch["photo_labels"].fill_(1)
    elif labelling == "none on rank 0":
        batch["sketch_labels"][: sizes[0][0]] = 99
    elif labelling == "ties":  # small whole numbers, whose distances are exact
        batch["sketch"] = batch["sketch"].sign()
        batch["photo"] = batch["photo"].sign()
    if "sketch_attributes" not in batch:
        case["attribute_guidance"] = 0.0
    elif "sketch_logits" not in batch:
        case["attribute_guidance"] = case["attribute_guidance"] or 0.5
    if case.get("attribute_guidance"):
        case["attribute_weights"] = make_weights(3)
    return batch, case, sizes


def rows_of(rank: int, sizes: tuple[int, ...]) -> slice:
    ends = list(accumulate(sizes))
    return slice(ends[rank] - sizes[rank], ends[rank])


def loss_and_gradients(
    loss: nn.Module, batch: dict[str, Tensor], shares: Tensor, of: str
) -> dict[str, Tensor]:
    """Every part, the photos chosen, and gradients of the total or of a mixture of all parts;
    shares (N,) are the weights of the anchors where the loss is not reduced."""
    leaves = {x: batch[x].detach().requires_grad_() for x in LOSS_INPUTS if x in batch}
    parts = loss(**{**batch, **leaves})
    weights = chain((1,), repeat(0)) if of == "total" else cycle((0.5, 1.5, -1, 2, 0.7, 3))
    sum(
        weight * (part * (shares if part.ndim else 1)).sum()
        for weight, part in zip(weights, parts[:-1], strict=False)
        if weight
    ).backward()
    return {
        **{name: getattr(parts, name).detach() for name in parts._fields[:-1]},
        **{name: getattr(parts.triplets, name) for name in parts.triplets._fields},
        **{f"gradient of {name}": x.grad for name, x in leaves.items()},
    }


def on_a_rank() -> list[dict[str, Tensor]]:
    """All cases, on the rows of this rank."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    results = []
    for case, of in each_case():
        batch, options, sizes = make_case(case, ranks)
        own = [rows_of(rank, x) for x in sizes]
        mine = {name: x[own[name.startswith("photo")]] for name, x in batch.items()}
        loss = fx.DistributedAttributeTripletLoss(**options, return_parts=True)
        shares = torch.arange(sum(sizes[0])).cos()[own[0]]
        results.append(loss_and_gradients(loss, mine, shares, of))
    return results


def each_case() -> Iterator[tuple[dict[str, Any], str]]:
    return ((case, of) for case in CASES for of in ("total", "parts"))


@pytest.fixture(scope="module", params=RANKS)
def by_rank(request: pytest.FixtureRequest) -> list[list[dict[str, Tensor]]]:
    return run_ranks(request.param, on_a_rank)


@pytest.mark.parametrize(
    "index", [pytest.param(i, id=f"{i}-{of}") for i, (_, of) in enumerate(each_case())]
)
def test_equals_one_process(by_rank: list[list[dict[str, Tensor]]], index: int) -> None:
    ranks = len(by_rank)
    case, of = list(each_case())[index]
    batch, options, sizes = make_case(case, ranks)
    options.pop("equal_sizes", None)
    loss = fx.AttributeTripletLoss(**options, return_parts=True)
    whole = loss_and_gradients(loss, batch, torch.arange(sum(sizes[0])).cos(), of)
    tolerance = TOLERANCE[batch["sketch"].dtype]
    for rank, results in enumerate(by_rank):
        own = [rows_of(rank, x) for x in sizes]
        for name, actual in results[index].items():
            expected = whole[name]
            if expected.ndim:
                expected = expected[own["photo" in name]]
            if name.startswith("gradient") and options.get("reduction") != "none":
                expected = ranks * expected  # what an average over ranks takes back
            assert actual.dtype == expected.dtype
            torch.testing.assert_close(
                actual,
                expected,
                rtol=tolerance,
                atol=tolerance,
                msg=lambda text, name=name, rank=rank: f"{case}, {name} on rank {rank}: {text}",
            )


def test_the_cases_hold_what_they_say() -> None:
    """Cross-rank positives, and batches without any triplet, are not empty promises."""
    for labelling, some in (("on the next rank", True), ("no positive", False)):
        case = {"split": "equal", "labelling": labelling, "dtype": torch.float32}
        batch, _, sizes = make_case(case, 4)
        mined = {name: x for name, x in batch.items() if "logits" not in name}
        triplets = fx.mine_batch_hard(**mined)
        assert triplets.valid.any() == triplets.valid.all() == some
        for rank in range(4) if some else ():
            own = rows_of(rank, sizes[1])
            positive = triplets.positive[rows_of(rank, sizes[0])]
            assert not ((positive >= own.start) & (positive < own.stop)).any()


# --- Inside a training step -----------------------------------------------------------------------


class TwoHeads(nn.Module):
    """Features to an embedding and attribute logits, without statistics over the batch."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(6, 16), nn.Tanh())
        self.embedding, self.logits = nn.Linear(16, 5), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(x)
        return nn.functional.normalize(self.embedding(features)), self.logits(features)


def train_a_little(network: nn.Module, loss: nn.Module, batches: list[dict[str, Tensor]]) -> Any:
    """Losses of three steps, the gradients of the last and the weights they lead to."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    losses = []
    for batch in batches:
        optimizer.zero_grad()
        n = len(batch["sketch"])
        embedding, logits = network(torch.cat([batch["sketch"], batch["photo"]]))
        total = loss(
            embedding[:n],
            embedding[n:],
            **both(logits=(logits[:n], logits[n:])),
            **{name: batch[name] for name in batch if name.endswith(("_attributes", "_labels"))},
        )
        total.backward()
        optimizer.step()
        losses.append(total.detach())
    parameters = list(network.parameters())
    return losses, [x.grad for x in parameters], [x.detach() for x in parameters]


def training_batches(sizes: list[tuple[int, ...]], dtype: torch.dtype) -> list[dict[str, Tensor]]:
    n, m = map(sum, sizes)
    return [make_batch((n, m, 6, 3), logits=False, dtype=dtype, seed=seed) for seed in (1, 2, 3)]


def train_a_little_on_a_rank(split: str, dtype: torch.dtype) -> Any:
    sizes = [x[: dist.get_world_size()] for x in SPLITS[split]]
    own = [rows_of(dist.get_rank(), x) for x in sizes]
    batches = [
        {name: x[own[name.startswith("photo")]] for name, x in batch.items()}
        for batch in training_batches(sizes, dtype)
    ]
    network = DistributedDataParallel(TwoHeads().to(dtype))
    return train_a_little(network, fx.DistributedAttributeTripletLoss(margin="soft"), batches)


@pytest.mark.parametrize(
    ("ranks", "split", "dtype"),
    [(2, "unequal", torch.float32), (4, "empty rank", torch.float64)],
)
def test_training_with_ddp_is_training_in_one_process(
    ranks: int, split: str, dtype: torch.dtype
) -> None:
    batches = training_batches([x[:ranks] for x in SPLITS[split]], dtype)
    expected = train_a_little(TwoHeads().to(dtype), fx.AttributeTripletLoss(margin="soft"), batches)
    results = run_ranks(ranks, train_a_little_on_a_rank, split, dtype)
    tolerance = TOLERANCE[dtype]
    for actual in results:
        torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(actual, results[0], rtol=0, atol=0)  # the same on every rank


# --- The rest of the contract ---------------------------------------------------------------------


def refusals() -> list[str]:
    """What ranks say that pass different things."""
    rank, loss = dist.get_rank(), fx.DistributedAttributeTripletLoss()
    x, known = torch.randn(3, 4), torch.ones(3, 2, dtype=torch.int8)
    ids = torch.arange(3)
    calls: list[dict[str, Any]] = [
        {"photo": x.double() if rank else x},
        {"sketch": x[:, : 4 - rank], "photo": x[:, : 4 - rank]},
        {"photo": x.clone().requires_grad_(rank == 0)},
        both(logits=(known.float(),) * 2, attributes=(known.bool() if rank else known, known)),
        {} if rank else both(labels=(ids, ids)),
        both(logits=(x, x), attributes=(known, known.bool() if rank else known)),
    ]
    messages = []
    for arguments in calls:
        try:
            loss(**{"sketch": x, "photo": x} | arguments)
        except ValueError as error:
            messages.append(str(error))
        else:
            messages.append("")
    return messages


def the_rest() -> dict[str, Any]:
    """What takes ranks to see but no comparison by case."""
    rank = dist.get_rank()
    results: dict[str, Any] = {}
    batch = make_batch((6, 6, 5, 3), labels=False, dtype=torch.float32, seed=rank // 2)
    own = {name: x[3 * (rank % 2) : 3 * (rank % 2) + 3] for name, x in batch.items()}
    groups = [dist.new_group([0, 1]), dist.new_group([2, 3])]
    group, other = groups[rank // 2], groups[1 - rank // 2]

    of_group = fx.DistributedAttributeTripletLoss(group=group)
    total = of_group(**own)
    results["of a group"] = (total.clone(), fx.AttributeTripletLoss()(**batch))
    total /= 2  # as in the accumulation of gradients
    with torch.no_grad():
        results["without gradients"] = (of_group(**own) / 2, total)
    arrays = {name: x.numpy() for name, x in own.items()}
    results["of arrays"] = (of_group(**arrays) / 2, total)
    for layout in ("transposed", "sliced", "negative"):
        views = {name: relayout(x, layout) for name, x in own.items()}
        results[f"of {layout} views"] = (of_group(**views) / 2, total)
    with torch.autocast("cpu", torch.bfloat16):
        lower = {**own, "photo_logits": own["photo_logits"].bfloat16()}
        results["of mixed types"] = (
            fx.DistributedAttributeTripletLoss(group=group)(**lower),
            fx.AttributeTripletLoss()(
                **{**batch, "photo_logits": batch["photo_logits"].bfloat16()}
            ),
        )
    try:
        fx.DistributedAttributeTripletLoss(group=other)(**own)
    except ValueError as error:
        results["message"] = str(error)
    results["scalar"] = reduce_over_ranks([torch.tensor(float(rank))])[0]
    return {name: _detached(value) for name, value in results.items()}


def _detached(x: Any) -> Any:
    if isinstance(x, tuple):
        return tuple(map(_detached, x))
    return x.detach() if isinstance(x, Tensor) else x


def test_ranks_that_disagree_are_told_so_on_every_rank() -> None:
    first, second = run_ranks(2, refusals)
    assert first == second
    a_type, columns, gradient, _, labels, attributes = first
    assert a_type == (
        "photo must be of one kind on all ranks, got float32 with 4 columns on rank 0 and "
        "float64 with 4 columns on rank 1"
    )
    assert "float32 with 3 columns on rank 1" in columns
    assert "got float32 with 4 columns and a gradient on rank 0" in gradient
    assert labels.startswith("photo_labels must be of one kind on all ranks, got int64")
    assert "and None on rank 1" in labels
    assert "int8 with 2 columns on rank 0 and bool with 2 columns on rank 1" in attributes


def compiled_and_not() -> list[Any]:
    own = make_batch((4, 4, 5, 3), labels=False, dtype=torch.float32, seed=dist.get_rank())
    loss = fx.DistributedAttributeTripletLoss(return_parts=True)
    shares = torch.ones(())
    compiled = torch.compile(loss, backend="eager")
    return [loss_and_gradients(x, own, shares, "parts") for x in (loss, compiled)]


@pytest.mark.slow
def test_compiled() -> None:
    for eager, compiled in run_ranks(2, compiled_and_not):
        torch.testing.assert_close(compiled, eager)


def test_groups_types_and_arrays() -> None:
    for results in run_ranks(4, the_rest):
        assert results.pop("message").startswith("group must be a process group that this process")
        assert results.pop("scalar") == 0 + 1 + 2 + 3
        for name, (actual, expected) in results.items():
            torch.testing.assert_close(actual, expected, msg=lambda text, name=name: name + text)


def test_one_process_is_the_plain_module() -> None:
    batch = make_batch()
    options = {"attribute_guidance": 0.5, "attribute_weights": [1.0, 0.0, 3.0], "margin": "soft"}
    loss = fx.DistributedAttributeTripletLoss(**options)
    assert loss(**batch) == fx.AttributeTripletLoss(**options)(**batch)
    gathered = gather_rows(photo=batch["photo"], nothing=None)
    assert gathered.tensors[0] is batch["photo"]
    assert gathered == ([batch["photo"], None], 0)
    file = io.BytesIO()
    torch.save(loss, file)
    file.seek(0)
    for other in (copy.deepcopy(loss), torch.load(file, weights_only=False)):
        assert other(**batch) == loss(**batch)
    with pytest.raises(TypeError, match="ids must be floating, integer or bool, got "):
        gather_rows(ids=torch.zeros(2, dtype=torch.complex64))
    with pytest.raises(ValueError, match="metric must be one of"):
        fx.DistributedAttributeTripletLoss(metric="manhattan")
    with pytest.raises(TypeError, match="unexpected keyword argument 'marign'"):
        fx.DistributedAttributeTripletLoss(marign=1)
