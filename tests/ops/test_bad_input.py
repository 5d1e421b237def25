"""Bad input of every kind, for every argument of every public function, module and miner.

Each row: what is called, the arguments that differ from a good call, and the error, whose message
names the argument first, what was expected and what came.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

import fgsbir_ext as fx
from fgsbir_ext.types import AttributeMetric, Metric
from tests.support import cases
from tests.support.subprocesses import run_python

N, M, D, K = 3, 4, 5, 2

SKETCH, PHOTO = torch.zeros(N, D), torch.ones(M, D)
LOGITS = {"sketch_logits": torch.zeros(N, K), "photo_logits": torch.zeros(M, K)}
LABELS = {"sketch_labels": torch.arange(N), "photo_labels": torch.arange(M)}
ATTRIBUTES = {
    "sketch_attributes": torch.zeros(N, K, dtype=torch.int8),
    "photo_attributes": torch.ones(M, K, dtype=torch.int8),
}
ONES = torch.ones(K)


def loss_module(**arguments: Any) -> Any:
    return fx.AttributeTripletLoss()(**arguments)


def mine_within(**arguments: Any) -> Any:
    return fx.BatchHardMiner()(**arguments)


def mine_between(**arguments: Any) -> Any:
    return fx.BatchHardMiner()(**arguments)


# Every public callable with the arguments of a good call.
GOOD: dict[Callable[..., Any], dict[str, Any]] = {
    fx.pairwise_distance: {"x": SKETCH, "y": PHOTO},
    fx.attribute_distance: {
        "a": ATTRIBUTES["sketch_attributes"],
        "b": ATTRIBUTES["photo_attributes"],
        "weights": ONES,
    },
    fx.mine_batch_hard: {"sketch": SKETCH, "photo": PHOTO, **LABELS, **ATTRIBUTES},
    fx.attribute_triplet_loss: {
        "sketch": SKETCH,
        "photo": PHOTO,
        **LOGITS,
        **ATTRIBUTES,
        **LABELS,
    },
    fx.topk: {
        "query": SKETCH,
        "gallery": PHOTO,
        "k": 2,
        "query_logits": LOGITS["sketch_logits"],
        "gallery_logits": LOGITS["photo_logits"],
    },
    fx.AttributeTripletLoss: {},
    loss_module: {"sketch": SKETCH, "photo": PHOTO, **LOGITS, **ATTRIBUTES, **LABELS},
    fx.BatchHardMiner: {},
    mine_within: {
        "embeddings": SKETCH,
        "labels": LABELS["sketch_labels"],
        "attributes": ATTRIBUTES["sketch_attributes"],
    },
    mine_between: {
        "embeddings": SKETCH,
        "labels": LABELS["sketch_labels"],
        "ref_emb": PHOTO,
        "ref_labels": LABELS["photo_labels"],
        "attributes": ATTRIBUTES["sketch_attributes"],
        "ref_attributes": ATTRIBUTES["photo_attributes"],
    },
}

# --- What may be wrong with each kind of argument: (argument, value, error, message) ------------


def embeddings(name: str, shape: tuple[int, int], axes: str) -> list[tuple]:
    """Rows for a floating-point matrix, whatever else is given."""
    good = torch.zeros(shape)
    expected = rf"must have shape {re.escape(axes)}, got"
    rows = [
        (
            [[0.0] * shape[1]] * shape[0],
            TypeError,
            "must be a torch.Tensor or an array .* got list",
        ),
        ("zeros", TypeError, "must be a torch.Tensor or an array .* got str"),
        (good[0], ValueError, rf"{expected} \({shape[1]},\)"),
        (good[None], ValueError, rf"{expected} \(1, {shape[0]}, {shape[1]}\)"),
        (torch.tensor(0.0), ValueError, rf"{expected} \(\)"),
        (good.long(), TypeError, "must be float32, .* got int64"),
        (good.to(torch.complex64), TypeError, "must be float32, .* got complex64"),
        (good.bool(), TypeError, "must be float32, .* got bool"),
        (good.to_sparse(), (TypeError, ValueError), "got .*sparse"),
    ]
    return [(name, *row) for row in rows]


def beside(name: str, shape: tuple[int, int], columns: str, wide: str, first: str) -> list[tuple]:
    """Rows for one that has its columns in common with ``wide`` and its type with ``first``."""
    good, (rows, size) = torch.zeros(shape), shape
    of_columns = rf"must have {columns} = {size} .*{wide}, got \({rows}, {size + 1}\)"
    return [
        (name, torch.zeros(rows, size + 1), ValueError, of_columns),
        (name, good.double(), TypeError, rf"must have the type of {first}, float32, got float64"),
        (name, good.bfloat16(), TypeError, rf"must have the type of {first}, .* got bfloat16"),
        (name, good.to("meta"), ValueError, rf"must be on the device of {first}, cpu, got meta"),
    ]


def longer(name: str, shape: tuple[int, int], axis: str, like: str) -> list[tuple]:
    """A row for one that has a row too many, where ``axis`` is that of ``like``."""
    rows, columns = shape
    message = rf"must have {axis} = {rows} .*{like}, got \({rows + 1}, {columns}\)"
    return [(name, torch.zeros(rows + 1, columns), ValueError, message)]


def none(*names: str) -> list[tuple]:
    """Rows for what may not be left out."""
    return [(name, None, TypeError, "must be a torch.Tensor .* got NoneType") for name in names]


def alone(*names: str) -> list[tuple]:
    """Rows for what is left out while what belongs with it is given."""
    return [(name, None, ValueError, f"must come with .*{name}, got None") for name in names]


def annotation(name: str, shape: tuple[int, int], axes: str, like: str = "") -> list[tuple]:
    """Rows for annotated attributes, which have K in common with ``like``."""
    good = torch.zeros(shape, dtype=torch.int8)
    rows = [
        (good.tolist(), TypeError, "must be a torch.Tensor or an array .* got list"),
        (good[0], ValueError, rf"must have shape {re.escape(axes)}, got \({shape[1]},\)"),
        (good.to(torch.complex64), TypeError, "must be int8, bool or floating, got complex64"),
        (good.to_sparse(), (TypeError, ValueError), "got .*sparse"),
    ]
    if like:
        wide, got = torch.zeros(shape[0], K + 1), rf"\({shape[0]}, {K + 1}\)"
        rows += [
            (wide, ValueError, rf"must have K = {K} .*{like}, got {got}"),
            (good.to("meta"), ValueError, "must be on the device of .*, cpu, got meta"),
        ]
    return [(name, *row) for row in rows]


def labels(name: str, count: int, axis: str) -> list[tuple]:
    good = torch.arange(count)
    shape = rf"must have shape \({axis},\) = \({count},\), got"
    rows = [
        (list(range(count)), TypeError, "must be a torch.Tensor or an array .* got list"),
        (good.float(), TypeError, "must be int64 instance ids, got float32"),
        (good.bool(), TypeError, "must be int64 instance ids, got bool"),
        (torch.arange(count + 1), ValueError, rf"{shape} \({count + 1},\)"),
        (good[:, None], ValueError, rf"{shape} \({count}, 1\)"),
        (torch.tensor(0), ValueError, rf"{shape} \(\)"),
        (good.to("meta"), ValueError, "must be on the device of .*, cpu, got meta"),
        (good.to_sparse(), (TypeError, ValueError), "got .*sparse"),
    ]
    return [(name, *row) for row in rows]


def attribute_weights(name: str, *, called: bool) -> list[tuple]:
    """``called``: beside attributes; else at the construction of a module."""
    rows: list[tuple] = [
        ("11", TypeError, "must be a torch.Tensor or an array .* got str"),
        (3.0, TypeError, "must be .* got float"),
        (["a", 1.0], TypeError, "must be a number, got str"),
        ([True, 1.0], TypeError, "must be a number, got bool"),
        ([-1.0, 1.0], ValueError, "must be finite and not negative, got -1"),
        ([math.nan, 1.0], ValueError, "must be finite and not negative, got nan"),
        (torch.ones(K, 1), ValueError, rf"must have shape \(K,\).*, got \({K}, 1\)"),
        (torch.tensor(1.0), (TypeError, ValueError), r"must .* got"),
        (ONES.to(torch.complex64), TypeError, "must be floating, got complex64"),
        (ONES.bool(), TypeError, "must be floating, got bool"),
    ]
    if called:
        rows += [
            ([1.0] * (K + 1), ValueError, rf"must have shape \(K,\) = \({K},\), got \({K + 1},\)"),
            (ONES.to("meta"), ValueError, "must be on the device of .*, cpu, got meta"),
        ]
    return [(name, *row) for row in rows]


def number(name: str, *, infinite: bool = False, soft: bool = False) -> list[tuple]:
    rows: list[tuple] = [
        (-0.1, ValueError, "must .*not.* negative, got -0.1"),
        (-math.inf, ValueError, "must .*not.* negative, got -inf"),
        (math.nan, ValueError, "must .*not.* negative, got nan"),
        (True, TypeError, "must be a number.* got bool"),
        (None, TypeError, "must be a number.* got NoneType"),
        (torch.tensor([1.0, 2.0]), TypeError, "must be a number.* got Tensor"),
        (1j, TypeError, "must be a number.* got complex"),
    ]
    if not infinite:
        rows.append((math.inf, ValueError, "must be finite and not negative, got inf"))
    text = (ValueError, "must be a number or 'soft', got 'hard'")
    rows.append(("hard", *text) if soft else ("1", TypeError, "must be a number.* got str"))
    return [(name, *row) for row in rows]


def choice(name: str, *options: str) -> list[tuple]:
    expected = f"must be one of {', '.join(map(repr, options))}, got"
    wrong = ("Euclidean", "", None, 0, ["euclidean"])
    return [(name, value, (TypeError, ValueError), expected) for value in wrong]


METRIC = choice("metric", *get_args(Metric))
ATTRIBUTE_METRIC = choice("attribute_metric", *get_args(AttributeMetric))
REDUCTION = choice("reduction", "mean", "sum", "none")
LAMBDAS = [row for name in cases.LAMBDAS for row in number(name)]
MARGINS = [*number("margin", soft=True), *number("attribute_margin", soft=True)]
GUIDANCE = number("attribute_guidance", infinite=True)


TENSORS_OF_MINING = [
    *none("sketch", "photo"),
    *embeddings("sketch", (N, D), "(N, D)"),
    *embeddings("photo", (M, D), "(M, D)"),
    *beside("photo", (M, D), "D", "sketch", "sketch"),
    *labels("sketch_labels", N, "N"),
    *labels("photo_labels", M, "M"),
    *annotation("sketch_attributes", (N, K), "(N, K)"),
    *annotation("photo_attributes", (M, K), "(M, K)", "sketch_attributes"),
    *longer("sketch_attributes", (N, K), "N", "sketch"),
    *longer("photo_attributes", (M, K), "M", "photo"),
    *alone("sketch_labels", "photo_labels", "sketch_attributes", "photo_attributes"),
]
TENSORS_OF_LOSS = [
    *TENSORS_OF_MINING,
    *embeddings("sketch_logits", (N, K), "(N, K)"),
    *embeddings("photo_logits", (M, K), "(M, K)"),
    *beside("sketch_logits", (N, K), "K", "sketch_attributes", "sketch"),
    *beside("photo_logits", (M, K), "K", "sketch_attributes", "sketch"),
    *longer("sketch_logits", (N, K), "N", "sketch"),
    *longer("photo_logits", (M, K), "M", "photo"),
    *alone("sketch_logits", "photo_logits"),
]
WITHIN = [
    *embeddings("embeddings", (N, D), "(N, D)"),
    *none("embeddings"),
    *alone("labels"),
    *labels("labels", N, "N"),
    *annotation("attributes", (N, K), "(N, K)"),
    *longer("attributes", (N, K), "N", "embeddings"),
]

TABLE: dict[Callable[..., Any], list[tuple]] = {
    fx.pairwise_distance: [
        *none("x", "y"),
        *embeddings("x", (N, D), "(N, D)"),
        *embeddings("y", (M, D), "(M, D)"),
        *beside("y", (M, D), "D", "x", "x"),
        *METRIC,
    ],
    fx.attribute_distance: [
        *none("a", "b"),
        *annotation("a", (N, K), "(N, K)"),
        *annotation("b", (M, K), "(M, K)", "a"),
        *attribute_weights("weights", called=True),
    ],
    fx.mine_batch_hard: [
        *TENSORS_OF_MINING,
        *METRIC,
        *GUIDANCE,
        *attribute_weights("attribute_weights", called=True),
    ],
    fx.attribute_triplet_loss: [
        *TENSORS_OF_LOSS,
        *METRIC,
        *ATTRIBUTE_METRIC,
        *REDUCTION,
        *MARGINS,
        *LAMBDAS,
        *GUIDANCE,
        *attribute_weights("attribute_weights", called=True),
    ],
    fx.topk: [
        *none("query", "gallery"),
        *embeddings("query", (N, D), "(Q, D)"),
        *embeddings("gallery", (M, D), "(G, D)"),
        *beside("gallery", (M, D), "D", "query", "query"),
        *embeddings("query_logits", (N, K), "(Q, K)"),
        *embeddings("gallery_logits", (M, K), "(G, K)"),
        *beside("gallery_logits", (M, K), "K", "query_logits", "query"),
        *longer("query_logits", (N, K), "Q", "query"),
        *longer("gallery_logits", (M, K), "G", "gallery"),
        *alone("query_logits", "gallery_logits"),
        ("k", -1, ValueError, r"must be in \[0, G\] = \[0, 4\], got -1"),
        ("k", M + 1, ValueError, r"must be in \[0, G\] = \[0, 4\], got 5"),
        ("k", 1.0, TypeError, "must be an integer, got float"),
        ("k", True, TypeError, "must be an integer, got bool"),
        ("k", None, TypeError, "must be an integer, got NoneType"),
        *number("attribute_weight"),
        *METRIC,
        *ATTRIBUTE_METRIC,
    ],
    fx.AttributeTripletLoss: [
        *METRIC,
        *ATTRIBUTE_METRIC,
        *REDUCTION,
        *MARGINS,
        *LAMBDAS,
        *GUIDANCE,
        *attribute_weights("attribute_weights", called=False),
    ],
    loss_module: TENSORS_OF_LOSS,
    fx.BatchHardMiner: [
        *METRIC,
        *GUIDANCE,
        *attribute_weights("attribute_weights", called=False),
    ],
    mine_within: WITHIN,
    mine_between: [
        *WITHIN,
        *embeddings("ref_emb", (M, D), "(M, D)"),
        *beside("ref_emb", (M, D), "D", "embeddings", "embeddings"),
        *labels("ref_labels", M, "M"),
        *annotation("ref_attributes", (M, K), "(M, K)", "attributes"),
        *longer("ref_attributes", (M, K), "M", "ref_emb"),
        *alone("ref_labels", "ref_emb", "attributes", "ref_attributes"),
    ],
}


def name_of(call: Callable[..., Any]) -> str:
    return call.__name__


@pytest.mark.parametrize(
    ("call", "argument", "value", "error", "message"),
    [
        pytest.param(call, *row, id=f"{name_of(call)}-{row[0]}-{i}")
        for call, rows in TABLE.items()
        for i, row in enumerate(rows)
    ],
)
def test_error(
    call: Callable[..., Any], argument: str, value: Any, error: type[Exception], message: str
) -> None:
    call(**GOOD[call])  # What has passed once is not looked at again, and must let nothing else by.
    with pytest.raises(error, match=message) as caught:
        call(**GOOD[call] | {argument: value})
    assert re.search(rf"\b{argument}\b", str(caught.value))


# --- Values, which are checked on the CPU, and elsewhere with set_debug_checks ------------------

OUTSIDE = {
    "2": torch.tensor(2, dtype=torch.int8),
    "-2": torch.tensor(-2, dtype=torch.int8),
    "255": torch.tensor(255, dtype=torch.uint8),
    "256": torch.tensor(256),
    "0.5": torch.tensor(0.5),
    "nan": torch.tensor(math.nan),
    "inf": torch.tensor(math.inf, dtype=torch.float64),
    "1": torch.tensor(1 + 1e-12, dtype=torch.float64),
}


def on(device: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {k: x.to(device) if isinstance(x, Tensor) else x for k, x in arguments.items()}


@pytest.mark.usefixtures("value_checks")
@pytest.mark.parametrize("got", OUTSIDE)
@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (fx.attribute_distance, "a"),
        (fx.attribute_distance, "b"),
        *(
            (call, name)
            for call in (fx.mine_batch_hard, fx.attribute_triplet_loss, loss_module)
            for name in ATTRIBUTES
        ),
        (mine_within, "attributes"),
        (mine_between, "attributes"),
        (mine_between, "ref_attributes"),
    ],
)
def test_attributes_of_other_values(
    device: str, call: Callable[..., Any], argument: str, got: str
) -> None:
    good = GOOD[call][argument]
    wrong = good.to(OUTSIDE[got].dtype, copy=True)
    wrong[-1, -1] = OUTSIDE[got]
    # The miner's attributes are refused where they are read, under the operation's name for them.
    name = r"\w*attributes" if call in (mine_within, mine_between) else rf"^{argument}"
    with pytest.raises(ValueError, match=rf"{name} must hold only 1 .*, 0 .* and -1 .*, got {got}"):
        call(**on(device, GOOD[call] | {argument: wrong}))


@pytest.mark.usefixtures("value_checks")
@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (fx.attribute_distance, "weights"),
        (fx.mine_batch_hard, "attribute_weights"),
        (fx.attribute_triplet_loss, "attribute_weights"),
    ],
)
def test_weights_of_other_values(
    device: str, call: Callable[..., Any], argument: str, value: float
) -> None:
    for wrong, message in (
        (torch.tensor([1.0, value]), f"{argument} must be finite and not negative, got"),
        (torch.zeros(K), f"{argument} must not all be 0"),
    ):
        with pytest.raises(ValueError, match=message):
            call(**on(device, GOOD[call] | {argument: wrong}))


# --- The table is whole -------------------------------------------------------------------------

# The signatures behind the calls above; a flag takes whatever has a truth value.
SIGNATURES = {call: inspect.signature(call) for call in GOOD} | {
    loss_module: inspect.signature(fx.AttributeTripletLoss().forward),
    mine_between: inspect.signature(fx.BatchHardMiner().forward),
}
FLAGS = {"return_parts"}


@pytest.mark.parametrize("call", [x for x in GOOD if x is not mine_within], ids=name_of)
def test_every_argument_has_rows(call: Callable[..., Any]) -> None:
    assert {row[0] for row in TABLE[call]} == set(SIGNATURES[call].parameters) - FLAGS


@pytest.mark.parametrize("call", list(GOOD), ids=name_of)
def test_the_good_call_is_good(call: Callable[..., Any]) -> None:
    call(**GOOD[call])


def test_every_public_callable_is_in_the_table() -> None:
    public = {getattr(fx, name) for name in fx.__all__}
    functions = {x for x in public if inspect.isfunction(x)}
    modules = {x for x in public if inspect.isclass(x) and issubclass(x, torch.nn.Module)}
    assert functions | modules == {
        *(x for x in GOOD if x not in (loss_module, mine_within, mine_between)),
        fx.build_info,  # takes nothing
        fx.set_debug_checks,  # takes a flag
        fx.DistributedAttributeTripletLoss,  # checks as its base class does; test_distributed.py
    }


# --- Combinations -------------------------------------------------------------------------------


def test_photos_must_be_as_many_as_sketches_without_labels() -> None:
    for call in (fx.mine_batch_hard, fx.attribute_triplet_loss):
        with pytest.raises(ValueError, match=r"photo must have N = 3 .*sketch, got \(4, 5\)"):
            call(SKETCH, PHOTO)


def test_guidance_and_weights_need_attributes() -> None:
    for call in (fx.mine_batch_hard, fx.attribute_triplet_loss):
        call(SKETCH, PHOTO, **LABELS)
        with pytest.raises(ValueError, match="attribute_guidance > 0 must come with sketch_attr"):
            call(SKETCH, PHOTO, **LABELS, attribute_guidance=0.5)
        with pytest.raises(ValueError, match="attribute_weights must come with sketch_attributes"):
            call(SKETCH, PHOTO, **LABELS, attribute_weights=ONES)
    with pytest.raises(ValueError, match="attribute_weight > 0 must come with query_logits"):
        fx.topk(SKETCH, PHOTO, 1, attribute_weight=0.5)
    with pytest.raises(ValueError, match="attribute_guidance > 0 must come with attributes"):
        fx.BatchHardMiner(attribute_guidance=1.0)(SKETCH, LABELS["sketch_labels"])


def test_logits_need_attributes_and_attributes_a_use() -> None:
    with pytest.raises(ValueError, match=r"sketch_logits and photo_logits must come with .*attrib"):
        fx.attribute_triplet_loss(SKETCH, PHOTO, **LOGITS, **LABELS)
    fx.attribute_triplet_loss(SKETCH, PHOTO, **ATTRIBUTES, **LABELS, attribute_guidance=1.0)
    with pytest.raises(ValueError, match=r"sketch_attributes .* must come with .*logits"):
        fx.attribute_triplet_loss(SKETCH, PHOTO, **ATTRIBUTES, **LABELS)


def test_reference_attributes_need_reference_embeddings() -> None:
    inputs = {"ref_attributes": ATTRIBUTES["photo_attributes"], **GOOD[mine_within]}
    with pytest.raises(ValueError, match="ref_attributes must come with ref_emb"):
        fx.BatchHardMiner()(**inputs)


@pytest.mark.parametrize("device", ["cuda", "mps", "xpu"], ids="without-{}".format)
def test_device_without_kernels(device: str) -> None:
    if device == "cuda" and fx.build_info().cuda:
        pytest.skip("CUDA kernels are built in")
    with FakeTensorMode():
        x = torch.empty(2, 3, device=device)
        for call in (fx.pairwise_distance, fx.mine_batch_hard):
            with pytest.raises(ValueError, match=rf"(x|sketch) is on {device}.*no kernels"):
                call(x, x)


def test_numpy_numbers_are_numbers() -> None:
    options = {"margin": np.float32(0.3), "lambda_a": np.int64(2), "lambda_s": np.float64(0.5)}
    arguments = GOOD[fx.attribute_triplet_loss]
    assert fx.attribute_triplet_loss(**arguments, **options).isfinite()
    assert fx.topk(SKETCH, PHOTO, np.int64(2))[0].shape == (N, 2)


def test_a_tensor_of_several_processes_is_refused_with_the_way_out() -> None:
    messages = run_python(
        """
    import json, torch, torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    try:
        from torch.distributed.tensor import Shard, distribute_tensor
    except ImportError:  # torch 2.4
        from torch.distributed._tensor import Shard, distribute_tensor
    import fgsbir_ext as fx

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    sharded = distribute_tensor(torch.randn(8, 4), init_device_mesh("cpu", (1,)), [Shard(0)])
    messages = []
    for call in (
        lambda: fx.attribute_triplet_loss(torch.randn(8, 4, requires_grad=True), sharded),
        lambda: fx.mine_batch_hard(sharded, sharded),
        lambda: fx.topk(sharded, sharded, 2),
        lambda: fx.BatchHardMiner()(sharded, torch.arange(8)),
        lambda: fx.AttributeTripletLoss()(sharded, sharded.full_tensor()),
    ):
        try:
            call()
        except TypeError as error:
            messages.append(str(error))
    fx.attribute_triplet_loss(sharded.full_tensor(), sharded.to_local())
    print(json.dumps(messages))
    """
    )
    assert len(messages) == 5
    assert all("got a DTensor; pass its full_tensor()" in message for message in messages)
    assert messages[0].startswith("photo must be")
