"""Arrays of other libraries, taken over through DLPack without a copy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import fgsbir_ext as fx
from fgsbir_ext import _checks as checks
from tests.support.cases import make_batch
from tests.support.compare import assert_same_bits
from tests.support.subprocesses import run_python


class Foreign:
    """An array that knows DLPack and nothing else."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    def __dlpack__(self, **options: Any) -> Any:
        return self._tensor.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._tensor.__dlpack_device__()


def batch() -> dict[str, Tensor]:
    return make_batch((6, 9, 5, 3), dtype=torch.float32)


@pytest.mark.parametrize("convert", [Foreign, Tensor.numpy], ids=["dlpack", "numpy"])
def test_every_function_takes_arrays(convert: Any) -> None:
    tensors = batch()
    arrays = {name: convert(x) for name, x in tensors.items()}
    weights = convert(torch.tensor([1.0, 0.0, 2.0]))
    labels = "sketch_labels", "photo_labels"

    def results(t: dict[str, Any], weights: Any) -> list[Any]:
        logits = {"query_logits": t["sketch_logits"], "gallery_logits": t["photo_logits"]}
        mining = {name: x for name, x in t.items() if "logits" not in name}
        a, b = t["sketch_attributes"], t["photo_attributes"]
        return [
            fx.pairwise_distance(t["sketch"], t["photo"]),
            fx.attribute_distance(a, b, weights=weights),
            fx.mine_batch_hard(**mining, attribute_guidance=1.0, attribute_weights=weights),
            fx.attribute_triplet_loss(**t),
            fx.AttributeTripletLoss(attribute_weights=weights)(**t),
            fx.topk(t["sketch"], t["photo"], 3, **logits, attribute_weight=0.5),
            fx.BatchHardMiner()(t["sketch"], t[labels[0]], t["photo"], t[labels[1]]),
        ]

    for actual, expected in zip(
        results(arrays, weights), results(tensors, torch.tensor([1.0, 0.0, 2.0])), strict=True
    ):
        assert_same_bits(actual, expected)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.int64, np.bool_])
def test_no_copy(dtype: type) -> None:
    array = np.zeros((3, 4), dtype)
    taken = checks.tensor("x", array)
    assert taken.data_ptr() == array.ctypes.data
    assert checks.tensor("x", taken) is taken
    assert checks.tensor("x", Foreign(taken)).data_ptr() == array.ctypes.data


def test_strided_arrays_are_read_through_their_strides() -> None:
    x = np.arange(60, dtype=np.float32).reshape(6, 10)
    for view in (x[:, ::2], x.T, x[1:4, 3:7]):
        dense = np.ascontiguousarray(view)
        actual = fx.pairwise_distance(view, view)
        assert checks.tensor("x", view).data_ptr() == view.ctypes.data
        assert_same_bits(actual, fx.pairwise_distance(dense, dense))


def test_read_only_array_stays_as_it_is() -> None:
    """It is taken over, since nothing here writes into its inputs, or refused by name."""
    x = np.random.default_rng(0).normal(size=(4, 3))
    x.flags.writeable = False
    before = x.copy()
    try:
        d = fx.pairwise_distance(x, x)
    except TypeError as error:
        assert "x cannot be taken over" in str(error)  # noqa: PT017
    else:
        torch.testing.assert_close(d, fx.pairwise_distance(before, before))
    assert (x == before).all()


@pytest.mark.parametrize(
    ("kind", "array"),
    [
        ("foreign byte order", np.zeros((2, 3), ">f4")),
        ("strings", np.full((2, 3), "a")),
        ("objects", np.full((2, 3), None)),
        ("long double", np.zeros((2, 3), np.longdouble)),
    ],
)
def test_arrays_that_cannot_be_taken_over(kind: str, array: np.ndarray) -> None:
    with pytest.raises(TypeError, match="y cannot be taken over through DLPack"):
        fx.pairwise_distance(torch.zeros(2, 3), array)


def test_negative_strides_are_refused() -> None:
    """In a process of its own: torch.from_dlpack ends the process on them."""
    message = run_python(
        """
        import json
        import fgsbir_ext as fx
        import numpy as np
        try:
            fx.pairwise_distance(np.zeros((2, 3)), np.zeros((2, 3))[::-1])
        except TypeError as error:
            print(json.dumps(str(error)))
        """
    )
    assert message.startswith("y cannot be taken over through DLPack")


def test_tensor_that_requires_a_gradient_keeps_it() -> None:
    x = torch.zeros(2, 3, requires_grad=True)
    assert fx.pairwise_distance(x, np.ones((2, 3), np.float32)).requires_grad


def test_cupy(device: str) -> None:
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    if device != "cuda":
        pytest.skip("CuPy arrays live on CUDA")
    array = cupy.arange(12, dtype=cupy.float32).reshape(4, 3)
    assert checks.tensor("x", array).data_ptr() == array.data.ptr
    expected = fx.pairwise_distance(torch.as_tensor(array.get()), torch.as_tensor(array.get()))
    torch.testing.assert_close(fx.pairwise_distance(array, array).cpu(), expected)
