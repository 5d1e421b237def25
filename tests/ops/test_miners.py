"""Miner with the call of pytorch-metric-learning."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import fgsbir_ext as fx
from tests.support import brute_force
from tests.support.cases import METRICS, both, make_batch
from tests.support.compare import assert_same_bits
from tests.support.subprocesses import run_python

INF = float("inf")


def tuples(picks: list[tuple[int, int]]) -> list[list[int]]:
    """(anchors, positives, negatives) of the anchors that are valid."""
    valid = [(i, p, n) for i, (p, n) in enumerate(picks) if p >= 0]
    return [list(column) for column in zip(*valid, strict=True)] or [[], [], []]


@pytest.mark.parametrize("metric", ["sqeuclidean", "euclidean"])
@given(data=st.data())
def test_within_one_set_against_a_loop(device: str, metric: str, data: st.DataObject) -> None:
    n = data.draw(st.integers(0, 12))
    numbers = st.lists(st.integers(-2, 2), min_size=n, max_size=n)
    rows = [[float(x)] for x in data.draw(numbers)]
    labels = data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))
    actual = fx.BatchHardMiner(metric=metric)(
        torch.tensor(rows, device=device).view(n, 1),
        torch.tensor(labels, dtype=torch.int64, device=device),
    )
    expected = brute_force.mine(rows, rows, labels, labels, metric=metric, exclude_self=True)
    assert [x.tolist() for x in actual] == tuples(expected)


@pytest.mark.parametrize("guidance", [0.0, 0.25, INF])
@pytest.mark.parametrize("within", [True, False])
def test_guided_by_attributes(device: str, guidance: float, within: bool) -> None:
    rng = torch.Generator().manual_seed(0)
    n, m, k = 40, 40 if within else 60, 4
    rows = {
        "embeddings": torch.randint(-2, 3, (n, 2), generator=rng).double(),
        "labels": torch.randint(0, 9, (n,), generator=rng),
        "attributes": torch.randint(-1, 2, (n, k), generator=rng).to(torch.int8),
    }
    if not within:
        rows |= {
            "ref_emb": torch.randint(-2, 3, (m, 2), generator=rng).double(),
            "ref_labels": torch.randint(0, 9, (m,), generator=rng),
            "ref_attributes": torch.randint(-1, 2, (m, k), generator=rng).to(torch.int8),
        }
    weights = [1.0, 0.0, 2.0, 5.0]
    miner = fx.BatchHardMiner(attribute_guidance=guidance, attribute_weights=weights).to(device)
    actual = miner(**{name: x.to(device) for name, x in rows.items()})
    lists = {name: x.tolist() for name, x in rows.items()}
    expected = brute_force.mine(
        lists["embeddings"],
        lists.get("ref_emb", lists["embeddings"]),
        lists["labels"],
        lists.get("ref_labels", lists["labels"]),
        lists["attributes"],
        lists.get("ref_attributes", lists["attributes"]),
        attribute_guidance=guidance,
        attribute_weights=weights,
        exclude_self=within,
    )
    assert [x.tolist() for x in actual] == tuples(expected)


@pytest.mark.parametrize("metric", METRICS)
def test_between_two_sets_as_the_function(device: str, metric: str) -> None:
    batch = make_batch((40, 90, 5, 3), device=device)
    arguments = [batch[x] for x in ("sketch", "sketch_labels", "photo", "photo_labels")]
    anchor, positive, negative = fx.BatchHardMiner(metric=metric)(*arguments)
    sketch, sketch_labels, photo, photo_labels = arguments
    labels = both(labels=(sketch_labels, photo_labels))
    picks = fx.mine_batch_hard(sketch, photo, **labels, metric=metric)
    assert torch.equal(anchor, picks.valid.nonzero().squeeze(1))
    assert torch.equal(positive, picks.positive[picks.valid])
    assert torch.equal(negative, picks.negative[picks.valid])
    assert not picks.valid.all(), "the case must have anchors to leave out"


def test_returns_index_tensors(device: str) -> None:
    x = torch.eye(4, device=device).requires_grad_()
    labels = torch.tensor([0, 0, 1, 1], device=device)
    result = fx.BatchHardMiner()(x, labels)
    assert isinstance(result, tuple)
    for indices in result:
        assert isinstance(indices, Tensor)
        assert (indices.dtype, indices.device, indices.shape) == (torch.int64, x.device, (4,))
        assert not indices.requires_grad


def test_indices_serve_a_tuple_loss(device: str) -> None:
    """As in pytorch-metric-learning: distances of the tuples give the loss of the function."""
    batch = make_batch((40, 90, 5, 3), device=device)
    sketch, photo = batch["sketch"], batch["photo"]
    labels = batch["sketch_labels"], batch["photo_labels"]
    a, p, n = fx.BatchHardMiner(metric="euclidean")(sketch, labels[0], photo, labels[1])
    loss = torch.nn.functional.triplet_margin_loss(sketch[a], photo[p], photo[n], margin=0.3, eps=0)
    expected = fx.attribute_triplet_loss(
        sketch, photo, sketch_labels=labels[0], photo_labels=labels[1], metric="euclidean"
    )
    torch.testing.assert_close(loss, expected)


def test_an_item_is_never_its_own_positive(device: str) -> None:
    """NaN included, which would win every selection."""
    x = torch.tensor([[0.0], [float("nan")], [2.0], [3.0]], device=device)
    labels = torch.tensor([0, 1, 0, 2], device=device)
    anchor, positive, negative = fx.BatchHardMiner()(x, labels)
    assert anchor.tolist() == [0, 2]
    assert positive.tolist() == [2, 0]
    assert negative.tolist() == [1, 1]


def test_guidance_may_change_between_calls(device: str) -> None:
    """As when it is annealed: attributes count more and more."""
    x = torch.tensor([[0.0], [0.0], [1.0], [2.0]], device=device)
    labels = torch.tensor([0, 0, 1, 2], device=device)
    attributes = torch.tensor([[1], [1], [0], [1]], device=device)
    miner, negatives = fx.BatchHardMiner(), []
    for miner.attribute_guidance in (0.0, 10.0):
        _, _, negative = miner(x, labels, attributes=attributes)
        negatives.append(negative.tolist())
    assert negatives == [[2, 2], [3, 3]]
    miner.attribute_guidance = -1.0
    with pytest.raises(ValueError, match="attribute_guidance must not be negative"):
        miner(x, labels, attributes=attributes)


def test_nothing_to_mine(device: str) -> None:
    x, labels = torch.zeros(0, 3, device=device), torch.zeros(0, dtype=torch.int64, device=device)
    assert_same_bits(fx.BatchHardMiner()(x, labels), (labels, labels, labels))


def test_the_number_of_triplets_is_told(device: str) -> None:
    miner = fx.BatchHardMiner()
    assert miner.num_triplets == 0
    rows = torch.randn(7, 3, device=device)
    labels = torch.tensor([0, 0, 1, 1, 2, 2, 3])  # on the CPU, wherever the embeddings are
    anchors, _, _ = miner(rows, labels)
    assert miner.num_triplets == len(anchors) == 6
    miner(rows, torch.arange(7))
    assert miner.num_triplets == 0
    assert len(miner(rows, labels, rows.clone(), labels)[0]) == 7


def test_pytorch_metric_learnings_wrapper_takes_it() -> None:
    """In a process of its own: what a miner is goes by whether that library is loaded."""
    pytest.importorskip("pytorch_metric_learning")
    plain, wrapped, expected, count, again = run_python(
        """
    import copy, json, pickle, sys, torch, torch.distributed as dist
    import fgsbir_ext as fx

    plain = type(fx.BatchHardMiner()) is fx.BatchHardMiner
    from pytorch_metric_learning.losses import TripletMarginLoss
    from pytorch_metric_learning.utils.distributed import DistributedMinerWrapper

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    torch.manual_seed(0)
    rows, labels = torch.randn(12, 4), torch.arange(12) % 4
    miner = fx.BatchHardMiner(metric="cosine")
    assert isinstance(miner, fx.BatchHardMiner) and miner.metric == "cosine"
    wrapped = DistributedMinerWrapper(miner=miner, efficient=True)(rows, labels)
    expected = miner(rows, labels)
    TripletMarginLoss()(rows, labels, expected)
    again = copy.deepcopy(pickle.loads(pickle.dumps(miner)))(rows, labels)
    lists = [[x.tolist() for x in found] for found in (wrapped, expected, again)]
    print(json.dumps([plain, lists[0], lists[1], miner.num_triplets, lists[2]]))
    """
    )
    assert plain
    assert wrapped == expected == again
    assert count == len(expected[0]) == 12
