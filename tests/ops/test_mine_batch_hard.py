"""Batch-hard mining, guided by attributes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, library
from torch._dynamo.testing import CompileCounterWithBackend

import fgsbir_ext as fx
from tests.support import brute_force
from tests.support.cases import (
    FLOATS,
    GUIDANCES,
    LAYOUTS,
    METRICS,
    OF_ZERO,
    SHAPES,
    SMALL_SHAPES,
    all_pairs,
    both,
    make_batch,
    make_weights,
    mining_inputs,
    plain,
    relayout,
    sides_of,
)
from tests.support.compare import assert_good_picks, assert_same_bits

OP = torch.ops.fgsbir.mine_batch_hard.default
NAN, INF = float("nan"), float("inf")

# How an operation is called: with labels or without, guided by which attributes, weighted or not.
FACTORS = {
    "dtype": FLOATS,
    "metric": METRICS,
    "guidance": GUIDANCES,
    "labels": (True, False),
    "attribute_type": (torch.int8, torch.bool, torch.float32, torch.int64),
    "weights": (False, True),
}


def arrange(case: dict[str, Any], device: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and options of a case."""
    batch = make_batch(
        case["shape"],
        dtype=case["dtype"],
        device=device,
        labels=case["labels"],
        logits=False,
        attribute_type=case["attribute_type"],
    )
    options = {"metric": case["metric"], "attribute_guidance": case["guidance"]}
    if case["weights"]:
        options["attribute_weights"] = make_weights(case["shape"][3], device)
    return batch, options


@pytest.mark.usefixtures("poisoned_memory")
@pytest.mark.parametrize("case", all_pairs(shape=SHAPES, **FACTORS))
def test_picks(device: str, case: dict[str, Any]) -> None:
    batch, options = arrange(case, device)
    picks = fx.mine_batch_hard(**batch, **options)
    assert [x.dtype for x in picks] == [torch.int64, torch.int64, torch.bool]
    assert_good_picks(picks, batch, case["dtype"], **options)


@pytest.mark.parametrize(
    ("n", "m", "dtype"),
    [
        (200, 5000, torch.float32),
        (520, 2100, torch.float64),
        (2100, 2100, torch.float64),
    ],
)
@pytest.mark.parametrize("metric", METRICS)
def test_picks_of_every_plan(device: str, metric: str, n: int, m: int, dtype: torch.dtype) -> None:
    """Sizes of which each is cut into other tiles, and into splits of more or fewer of them."""
    batch = make_batch((n, m, 2, 3), dtype=dtype, device=device, logits=False)
    batch["photo"] = batch["photo"] + 4  # so that squares are far above their roots
    options = {"metric": metric, "attribute_guidance": 0.5}
    picks = fx.mine_batch_hard(**batch, **options)
    assert_good_picks(picks, batch, dtype, **options)


# --- Against a loop, on numbers that every type holds exactly: equal means tied -----------------

SMALL = st.sampled_from([-2.0, -1.0, -0.5, 0.0, 1.0, 2.0])
# Powers of two and their sums, so that h and d + beta h are exact.
WEIGHTS = st.sampled_from([None, [1.0, 0.0, 2.0, 5.0], [0.25, 0.25, 0.5, 0.0]])


@st.composite
def problems(draw: st.DrawFn) -> dict[str, Any]:
    """Arguments of :func:`brute_force.mine`: small whole numbers; of unit rows, on axes."""
    n, m, d = draw(st.integers(0, 5)), draw(st.integers(0, 9)), draw(st.integers(1, 3))
    metric, paired = draw(st.sampled_from(METRICS)), draw(st.booleans())
    m = n if paired else m
    row = st.lists(SMALL, min_size=d, max_size=d)
    if metric in OF_ZERO:
        axis = st.tuples(st.integers(0, d - 1), SMALL)
        row = axis.map(lambda at: [at[1] * (column == at[0]) for column in range(d)])
    rows = st.one_of(*[row] * 9, st.just([NAN] * d))  # a tenth of the rows is NaN throughout

    def several(count: int, of: st.SearchStrategy) -> list:
        return draw(st.lists(of, min_size=count, max_size=count))

    label = st.integers(-1, 1)
    problem = {
        "sketch": several(n, rows),
        "photo": several(m, rows),
        "sketch_labels": list(range(n)) if paired else several(n, label),
        "photo_labels": list(range(m)) if paired else several(m, label),
        "metric": metric,
    }
    if draw(st.booleans()):
        attributes = st.lists(st.sampled_from([1, 0, -1]), min_size=4, max_size=4)
        # Square roots are rounded, those of the reference's cosine too: no sums with them.
        guidances = [0.0, 0.25, 4.0, INF] if metric == "sqeuclidean" else [0.0, INF]
        problem |= {
            "sketch_attributes": several(n, attributes),
            "photo_attributes": several(m, attributes),
            "attribute_weights": draw(WEIGHTS),
            "attribute_guidance": draw(st.sampled_from(guidances)),
        }
    return problem


def as_arguments(problem: dict[str, Any], dtype: torch.dtype, device: str) -> dict[str, Any]:
    """The same with tensors."""
    columns = len((problem["sketch"] + problem["photo"] + [[0.0]])[0])
    types = {
        "sketch": (dtype, (-1, columns)),
        "photo": (dtype, (-1, columns)),
        "sketch_labels": (torch.int64, (-1,)),
        "photo_labels": (torch.int64, (-1,)),
        "sketch_attributes": (torch.int8, (-1, 4)),
        "photo_attributes": (torch.int8, (-1, 4)),
        "attribute_weights": (torch.float32, (4,)),
    }
    return problem | {
        name: torch.tensor(problem[name], dtype=kind, device=device).view(shape)
        for name, (kind, shape) in types.items()
        if problem.get(name) is not None
    }


@settings(max_examples=250)
@given(problem=problems(), dtype=st.sampled_from(FLOATS))
@pytest.mark.parametrize(
    "mine", [fx.mine_batch_hard, fx.reference.mine_batch_hard], ids=["fused", "reference"]
)
def test_picks_of_a_loop(
    device: str, mine: Any, problem: dict[str, Any], dtype: torch.dtype
) -> None:
    if mine is fx.reference.mine_batch_hard and problem["metric"] in OF_ZERO:
        # Its distance of orthogonal rows is rounded, and to a zero vector it is not.
        assume(all(map(any, problem["sketch"] + problem["photo"])))
    arguments = as_arguments(problem, dtype, device)
    if problem["sketch_labels"] == problem["photo_labels"] == list(range(len(problem["photo"]))):
        arguments = arguments | {"sketch_labels": None, "photo_labels": None}
    picks = mine(**arguments)
    expected = brute_force.mine(**problem)
    assert list(zip(picks.positive.tolist(), picks.negative.tolist(), strict=True)) == expected
    assert picks.valid.tolist() == [positive >= 0 for positive, _ in expected]


# --- Ties, labels, anchors that are not valid ---------------------------------------------------


@pytest.mark.parametrize("guidance", GUIDANCES)
@pytest.mark.parametrize("metric", METRICS)
def test_ties_across_blocks_and_tiles_go_to_the_lowest_index(
    device: str, metric: str, guidance: float
) -> None:
    """All rows equal: each sketch has 9 positives, the first of them and photo 0 or 1 tied best."""
    m = 9000
    labels = torch.arange(m, device=device) % 1000
    same = torch.ones(m, 4, device=device)
    attributes = torch.ones(m, 3, device=device, dtype=torch.int8)
    picks = fx.mine_batch_hard(
        same[:300],
        same,
        **both(labels=(labels[:300], labels), attributes=(attributes[:300], attributes)),
        attribute_guidance=guidance,
        metric=metric,
    )
    assert torch.equal(picks.positive, labels[:300])
    assert torch.equal(picks.negative, (labels[:300] == 0).long())


@pytest.mark.parametrize("best", [0, 1, 63, 64, 65, 1023, 1024, 1025, 4095, 4096, 4097, 8999])
def test_the_best_is_found_wherever_it_is(device: str, best: int) -> None:
    """Second copies of the farthest positive and the nearest negative come last, and lose."""
    photo = torch.ones(9002, 1, device=device) * 5
    labels = torch.zeros(9002, dtype=torch.int64, device=device)
    labels[best] = labels[9001] = 1
    photo[best] = photo[9001] = 1.0
    sketch = torch.zeros(2, 1, device=device)
    sketch_labels = torch.tensor([0, 1], device=device)
    picks = fx.mine_batch_hard(sketch, photo, sketch_labels=sketch_labels, photo_labels=labels)
    assert picks.negative.tolist() == [best, int(best == 0)]
    assert picks.positive.tolist() == [int(best == 0), best]


@pytest.mark.parametrize("metric", METRICS)
def test_duplicates_are_at_distance_0_whatever_products_say(device: str, metric: str) -> None:
    """|x|^2 + |y|^2 - 2 x.y of equal rows may come out below 0, whose root would be a NaN."""
    n = 200
    batch = make_batch((n, n, 64, 0), dtype=torch.float32, device=device, attributes=False)
    sketch, far = 100 * batch["sketch"], 100 * batch["photo"]
    # Of each label a duplicate and a far photo; then duplicates again, of other labels.
    photo, labels = torch.cat([sketch, far, sketch]), torch.arange(n, device=device)
    photo_labels = torch.cat([labels, labels, labels + n])
    attributes = torch.ones(3 * n, 2, device=device)
    attributes[2 * n :] = 0
    picks = fx.mine_batch_hard(
        sketch,
        photo,
        **both(labels=(labels, photo_labels), attributes=(attributes[:n], attributes)),
        attribute_guidance=1e6,
        metric=metric,
    )
    assert torch.equal(picks.positive, labels + n)
    assert (picks.negative < 2 * n).all()


def test_anchors_without_positive_or_negative(device: str) -> None:
    x = torch.eye(4, device=device)
    labels = torch.tensor([7, 7, 9, 9], device=device)
    missing = torch.tensor([7, 8, 9, 8], device=device)
    picks = fx.mine_batch_hard(x, x, **both(labels=(missing, labels)))
    assert picks.valid.tolist() == [True, False, True, False]
    assert picks.positive.tolist() == [1, -1, 3, -1]
    assert picks.negative.tolist() == [2, -1, 0, -1]
    no_negative = fx.mine_batch_hard(x, x, **both(labels=(labels * 0, labels * 0)))
    assert not no_negative.valid.any()
    assert (no_negative.positive == -1).all()


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.int8, torch.uint8])
def test_labels_of_any_integer_type(device: str, dtype: torch.dtype) -> None:
    batch = mining_inputs(make_batch(device=device))
    expected = fx.mine_batch_hard(**batch)
    for name in ("sketch_labels", "photo_labels"):
        batch[name] = batch[name].to(dtype)
    assert_same_bits(fx.mine_batch_hard(**batch), expected)


def test_labels_of_any_value(device: str) -> None:
    batch = mining_inputs(make_batch(device=device))
    expected = fx.mine_batch_hard(**batch)
    extremes = torch.tensor([2**63 - 1, -(2**63), 0, -1, 2**32, 2**31], device=device)
    for name in ("sketch_labels", "photo_labels"):
        batch[name] = extremes[batch[name]]
    assert_same_bits(fx.mine_batch_hard(**batch), expected)


# --- Guidance -----------------------------------------------------------------------------------


def test_guidance_prefers_negatives_that_share_attributes(device: str) -> None:
    """Photos 1, 2, 3 are at distances 1, 4, 9 and differ in 2, 1, 0 of 2 attributes."""
    sketch, photo = torch.zeros(1, 1), torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    attributes = torch.tensor([[1, 0]]), torch.tensor([[1, 0], [0, 1], [1, 1], [1, -1]])
    inputs = {"sketch": sketch, "photo": photo}
    inputs |= both(labels=(torch.tensor([0]), torch.arange(4)), attributes=attributes)
    inputs = {name: x.to(device) for name, x in inputs.items()}
    picks = {
        beta: fx.mine_batch_hard(**inputs, attribute_guidance=beta).negative.item()
        for beta in (0.0, 5.9, 6.1, 9.9, 10.1, INF)
    }
    # d + beta h: 1 + beta, 4 + beta / 2, 9.
    assert picks == {0.0: 1, 5.9: 1, 6.1: 2, 9.9: 2, 10.1: 3, INF: 3}
    ignore_the_second = {"attribute_guidance": INF, "attribute_weights": [1.0, 0.0]}
    assert fx.mine_batch_hard(**inputs, **ignore_the_second).negative.item() == 2


# --- NaN, infinity ------------------------------------------------------------------------------


@pytest.mark.parametrize("guidance", GUIDANCES)
@pytest.mark.parametrize("metric", METRICS)
def test_nan_wins_its_selection(device: str, metric: str, guidance: float) -> None:
    """Photo 600 is NaN: every anchor takes it, in the role that its label gives it."""
    batch = make_batch((40, 700, 6, 3), device=device, logits=False)
    batch["sketch_labels"][:] = torch.arange(40) % 2
    batch["photo_labels"][:] = torch.arange(700) % 2
    batch["photo"][600, 3] = NAN
    picks = fx.mine_batch_hard(**batch, metric=metric, attribute_guidance=guidance)
    assert picks.valid.all()
    assert (picks.positive[::2] == 600).all()
    assert (picks.negative[1::2] == 600).all()
    clean = batch | {"photo": batch["photo"].nan_to_num(0.5)}
    others = fx.mine_batch_hard(**clean, metric=metric, attribute_guidance=guidance)
    assert torch.equal(picks.negative[::2], others.negative[::2])


@pytest.mark.parametrize(
    "case",
    all_pairs(
        where=(("sketch",), ("photo",), ("sketch", "photo")),
        value=(NAN, INF, -INF, 1e200),
        metric=METRICS,
        guidance=GUIDANCES,
    ),
)
def test_picks_among_extreme_values_are_those_of_the_reference(
    device: str, case: dict[str, Any]
) -> None:
    """The square of 1e200 is infinite in float64."""
    batch = make_batch((33, 300, 6, 3), device=device, logits=False)
    for name in case["where"]:
        batch[name][::7, 2] = case["value"]
        batch[name][5, 4] = -case["value"]
    options = {"metric": case["metric"], "attribute_guidance": case["guidance"]}
    assert_good_picks(fx.mine_batch_hard(**batch, **options), batch, torch.float64, **options)


# --- Layouts, repeatability, the dispatcher ------------------------------------------------------


@pytest.mark.parametrize("guidance", GUIDANCES)
@pytest.mark.parametrize("metric", ["sqeuclidean", "euclidean"])
@pytest.mark.parametrize("side", ["sketch", "photo"])
def test_an_infinite_distance_is_no_nan(
    device: str, side: str, metric: str, guidance: float
) -> None:
    """The square of 1e30 is infinite in float32."""
    batch = make_batch((33, 70, 6, 3), dtype=torch.float32, device=device, logits=False)
    batch[side][::3] = 1e30
    options = {"metric": metric, "attribute_guidance": guidance}
    picks, expected = (
        f(**batch, **options) for f in (fx.mine_batch_hard, fx.reference.mine_batch_hard)
    )
    overflowing = slice(None, None, 3) if side == "sketch" else slice(None)
    for pick, of_reference in zip(picks, expected, strict=True):
        assert_same_bits(pick[overflowing], of_reference[overflowing])


def test_norms_that_overflow_where_distances_do_not(device: str) -> None:
    sketch = torch.tensor([[0.8e19]], device=device)
    photo = torch.tensor([[-1.9e19], [1.9e19], [1e19]], device=device)
    labels = torch.tensor([0], device=device), torch.tensor([1, 1, 0], device=device)
    picks = fx.mine_batch_hard(sketch, photo, **both(labels=labels))
    assert (picks.positive.tolist(), picks.negative.tolist()) == ([2], [1])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_memory_layout(device: str, layout: str) -> None:
    batch = make_batch((65, 255, 15, 33), device=device, logits=False)
    for name, x in batch.items():
        if x.ndim == 2:
            batch[name] = relayout(x, layout)
    batch["photo_labels"] = torch.stack([batch["photo_labels"]] * 2, 1)[:, 0]
    options = {"attribute_guidance": 1.0, "attribute_weights": make_weights(33, device)}
    expected = fx.mine_batch_hard(**{name: plain(x) for name, x in batch.items()}, **options)
    assert_same_bits(fx.mine_batch_hard(**batch, **options), expected)


def test_picks_carry_no_gradient(device: str) -> None:
    batch = mining_inputs(make_batch(device=device))
    picks = fx.mine_batch_hard(**batch | {"sketch": batch["sketch"].requires_grad_()})
    assert not any(x.requires_grad for x in picks)


def test_same_picks_twice(device: str) -> None:
    batch = make_batch((300, 600, 33, 21), dtype=torch.float32, device=device, logits=False)
    first, again = (fx.mine_batch_hard(**batch, attribute_guidance=0.5) for _ in range(2))
    assert_same_bits(first, again)


@pytest.mark.parametrize("case", all_pairs(shape=SMALL_SHAPES[1:4], **FACTORS))
def test_opcheck(device: str, case: dict[str, Any]) -> None:
    batch, options = arrange(case, device)
    inputs = [x for side in sides_of(batch) for x in side]
    inputs += [
        options.get("attribute_weights"),
        case["metric"],
        case["guidance"],
        not case["labels"],
    ]
    library.opcheck(OP, tuple(inputs))


def test_compiled_by_the_first_shape_for_all(device: str) -> None:
    torch._dynamo.reset()
    counter, counts = CompileCounterWithBackend("aot_eager"), set()
    compiled = torch.compile(fx.mine_batch_hard, fullgraph=True, dynamic=True, backend=counter)
    for shape in ((6, 9, 5, 3), (7, 11, 4, 6), (30, 20, 8, 40)):
        batch = make_batch(shape, device=device, logits=False)
        options = {"attribute_guidance": 0.5, "attribute_weights": make_weights(shape[3], device)}
        expected = fx.mine_batch_hard(**batch, **options)
        assert_same_bits(compiled(**batch, **options), expected)
        counts.add(counter.frame_count)
    assert len(counts) == 1


def test_shapes_without_data() -> None:
    picks = fx.mine_batch_hard(**make_batch(device="meta", logits=False))
    assert [(x.shape, x.dtype, x.device.type) for x in picks] == [
        ((6,), torch.int64, "meta"),
        ((6,), torch.int64, "meta"),
        ((6,), torch.bool, "meta"),
    ]


def test_exported(device: str) -> None:
    class Mine(torch.nn.Module):
        def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, ...]:
            return tuple(fx.mine_batch_hard(**batch, attribute_guidance=0.5))

    batch = make_batch(device=device, logits=False)
    program = torch.export.export(Mine(), (batch,)).module()
    other = make_batch(device=device, logits=False, seed=1)
    assert_same_bits(program(other), tuple(fx.mine_batch_hard(**other, attribute_guidance=0.5)))
