"""Equality of kernels with PyTorch, in real arithmetic, proved at fixed sizes by SentryWard.

Each function states one claim: a kernel in a launch, and the PyTorch that it must equal for every
input. References have sums written out where the verifier does not match a sum over a dimension,
and quotients guarded as straighten.py has them.
"""

from __future__ import annotations

import json
import struct
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import sentryward

from tests.verification.cases import Case, Launch, launches
from tests.verification.ptx import SOURCES, Kernel, compile_kernels
from tests.verification.straighten import straightened
from tests.verification.verifier import launch_config

_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8, "int64": 8}


@dataclass(frozen=True)
class Array:
    """A dense array that a kernel has a pointer to: where the pointer stands, shape and type."""

    parameter: int
    offset: int
    shape: tuple[int, ...]
    dtype: str = "float32"


@dataclass(frozen=True)
class Claim:
    """``reference``, the source of a function of this name, gives the outputs from the inputs."""

    kernel: Kernel
    launch: Launch
    reference: str
    inputs: dict[str, Array]
    outputs: tuple[Array, ...]


@dataclass
class Answer:
    """``result`` is ``"verified"`` where outputs are equal wherever both sides are defined.

    ``total``: both were proved to be defined for every input, too; a quotient whose divisor is
    guarded by a select is never proved to be.
    """

    result: str
    reason: str
    seconds: float
    total: bool


def prove(claim: Claim, timeout: float = 120, change: Callable[[str], str] | None = None) -> Answer:
    """Put a claim to the verifier; ``change``: a fault, planted into the instructions."""
    kernel = claim.kernel
    if change is not None:
        kernel = kernel.with_body(change(kernel.body))
        if kernel.body == claim.kernel.body:
            raise ValueError("the fault changes nothing")
    kernel = straightened(kernel, claim.launch.shared, claim.launch.parameters)
    config = launch_config(kernel, claim.launch, {})
    config["assumptions"] = {"representative_branches": False}  # equal on every way, not on one
    with tempfile.TemporaryDirectory() as folder:
        # The reference is imported by this name, which torch.export looks up.
        ptx, reference = Path(folder, "kernel.ptx"), Path(folder, "example_reference.py")
        input_, binding = Path(folder, "input.json"), Path(folder, "binding.json")
        ptx.write_text(kernel.text)
        reference.write_text(claim.reference)
        input_.write_text(json.dumps(config))
        binding.write_text(json.dumps(_binding(claim, config)))
        started = time.monotonic()
        report = sentryward.verify(
            ptx,
            input=input_,
            reference=reference,
            reference_binding=binding,
            timeout_seconds=timeout,
        )
        seconds = time.monotonic() - started
    reasons = [d.get("message") or d["code"].replace("_", " ") for d in report["diagnostics"]]
    equal = report.get("equivalence") or {}
    total = (equal.get("definedness") or {}).get("status") == "proved"
    return Answer(report["result"], "; ".join(reasons), seconds, total)


def _binding(claim: Claim, config: dict[str, Any]) -> dict[str, Any]:
    """The verifier's reference_binding.json: both sides name an input alike."""
    objects = {(d["parameter"], d["offset"]): d["object"] for d in config["declarations"]}

    def allocation(array: Array) -> str:
        name = objects[array.parameter, array.offset]
        return f"6:global{len(name)}:{name}"  # the verifier's own name: each part by its length

    layouts = {
        allocation(array): {
            "shape": array.shape,
            "element_bytes": _BYTES[array.dtype],
            "source_offset": 0,
            "target_offset": 0,
            "source_strides_bytes": _strides(array),
            "target_strides_bytes": _strides(array),
        }
        for array in claim.inputs.values()
    }
    return {
        "reference": {
            "arguments": [
                {
                    "name": name,
                    "allocation": allocation(array),
                    "shape": array.shape,
                    "dtype": array.dtype,
                }
                for name, array in claim.inputs.items()
            ]
        },
        "left_inputs": {"layouts": layouts},
        "right_inputs": {"layouts": layouts},
        "outputs": {
            "kind": "dense_tensors",
            "tensors": [
                {
                    "kind": "dense_tensor",
                    "left_allocation": f"output{i}",
                    "right_allocation": allocation(array),
                    "left_offset": 0,
                    "right_offset": 0,
                    "element_bytes": _BYTES[array.dtype],
                    "shape": array.shape,
                    "left_strides_bytes": _strides(array),
                    "right_strides_bytes": _strides(array),
                }
                for i, array in enumerate(claim.outputs)
            ],
        },
    }


def _strides(array: Array) -> list[int]:
    return [_BYTES[array.dtype] * prod(array.shape[i + 1 :]) for i in range(len(array.shape))]


# --- Launches -------------------------------------------------------------------------------------


@cache
def _launch(case: Case) -> Launch:
    """The first launch of a case."""
    return launches("cuda_cores", (case,))[0]


@cache
def _kernels(source: str) -> dict[str, Kernel]:
    return compile_kernels(SOURCES / f"{source}.cu", "90a")


def _kernel_of(launch: Launch) -> Kernel:
    return _kernels(launch.source)[launch.kernel]


def _pairwise(
    kernel: str, n: int, m: int, d: int, metric: str, dtype: str = "float32"
) -> tuple[Kernel, Launch]:
    launch = _launch(
        Case("pairwise_distance", kernel, (n, m, d, 0), dtypes=(dtype,), metric=metric)
    )
    return _kernel_of(launch), launch


# --- Claims ---------------------------------------------------------------------------------------


def squared_norms(n: int, m: int, d: int) -> Claim:
    """prepare_rows, as tensor cores have it called."""
    kernel, launch = _pairwise("prepare_rows", n, m, d, "cosine")
    inverse_norms = 16  # its place in Preparation
    parameter = bytearray(launch.parameters[0])
    parameter[inverse_norms] = 0
    launch = replace(launch, parameters=(bytes(parameter),))
    return _norms(kernel, launch, n, m, d, "squared")


def inverse_norms(n: int, m: int, d: int) -> Claim:
    """prepare_rows, as cosine has it called."""
    kernel, launch = _pairwise("prepare_rows", n, m, d, "cosine")
    inverse = "torch.where(squared == 0, 0, 1) / torch.where(squared == 0, 1, squared.sqrt())"
    return _norms(kernel, launch, n, m, d, inverse)


def _norms(kernel: Kernel, launch: Launch, n: int, m: int, d: int, norm: str) -> Claim:
    reference = f"""
import torch
def norms(x):
    squared = x.square().sum(-1)
    return {norm}
def reference(x, y):
    return norms(x), norms(y)
"""
    inputs = {"x": Array(0, 32, (n, d)), "y": Array(0, 80, (m, d))}
    return Claim(kernel, launch, reference, inputs, (Array(0, 40, (n,)), Array(0, 88, (m,))))


_DISTANCES = {
    "sqeuclidean": "squared",
    "euclidean": "squared.sqrt()",
    "cosine": "one.where(a[:, None] == 0, one.where(b[None] == 0, squared / 2))",
}


def distances(n: int, m: int, d: int, metric: str, dtype: str = "float32") -> Claim:
    """distances<S>; for cosine, given the inverse norms a and b."""
    kernel, launch = _pairwise("distances<", n, m, d, metric, dtype)
    compute = "float64" if dtype == "float64" else "float32"
    inputs = {"x": Array(0, 0, (n, d), dtype), "y": Array(1, 0, (m, d), dtype)}
    x, y, more = f"x.to(torch.{compute})", f"y.to(torch.{compute})", ""
    if metric == "cosine":
        inputs |= {"a": Array(0, 24, (n,), compute), "b": Array(1, 24, (m,), compute)}
        x, y, more = f"{x} * a[:, None]", f"{y} * b[:, None]", ", a, b"
    one = "1 + 0 * (a[:, None] + b[None])" if metric == "cosine" else "1"
    reference = f"""
import torch
def reference(x, y{more}):
    squared = (({x})[:, None] - ({y})[None]).square().sum(-1)
    one = {one}
    return {_DISTANCES[metric]}
"""
    return Claim(kernel, launch, reference, inputs, (Array(2, 0, (n, m), compute),))


_SLOPES = {
    "sqeuclidean": "2 * g",
    "euclidean": "torch.where(h == 0, 0, g) / torch.where(h == 0, 1, h)",
    "cosine": "torch.where(b[:, None] == 0, 0, g)",
}


def gradients(n: int, m: int, d: int, metric: str, of_y: bool = False) -> Claim:
    """gradients<float, float, of_y>, given distances h; for cosine, of the unit vectors."""
    name = f"gradients<float, float, {str(of_y).lower()}>"
    kernel, launch = _pairwise(name, n, m, d, metric)
    own, other = ((m, d), (n, d)) if of_y else ((n, d), (m, d))
    inputs = {"g": Array(0, 0, (n, m)), "own": Array(1, 0, own), "other": Array(2, 0, other)}
    scaled = ""
    if metric == "euclidean":
        inputs["h"] = Array(0, 8, (n, m))
    if metric == "cosine":
        inputs |= {"a": Array(1, 24, (own[0],)), "b": Array(2, 24, (other[0],))}
        scaled = "own, other = own * a[:, None], other * b[:, None]"
    slope = _SLOPES[metric]
    index = "[{k}, :, None]" if of_y else "[:, {k}:{k} + 1]"
    terms = []
    for k in range(other[0]):
        at = slope.replace("b[:, None]", f"b[{k}:{k + 1}]")
        for name in ("g", "h"):
            at = at.replace(f" {name}", f" {name}{index.format(k=k)}")
            at = at.replace(f"({name}", f"({name}{index.format(k=k)}")
        terms.append(f"({at}) * (own - other[{k}:{k + 1}])")
    reference = f"""
import torch
def reference({", ".join(inputs)}):
    {scaled}
    return {" + ".join(terms)}
"""
    return Claim(kernel, launch, reference, inputs, (Array(3, 0, own),))


WEIGHTS = (1.0, 0.5, 2.0, 0.25, 3.0)  # of the terms


def reduced_terms(n: int) -> Claim:
    """reduce_terms<float> for the mean, with these weights of the terms."""
    launch = _launch(
        Case("attribute_triplet_loss", "reduce_terms", (n, n, n, 0), metric="sqeuclidean")
    )
    lambdas = 40  # their place in LossOptions
    options = bytearray(launch.parameters[3])
    struct.pack_into(f"<{len(WEIGHTS)}d", options, lambdas, *WEIGHTS)
    parameters = (*launch.parameters[:3], bytes(options), *launch.parameters[4:])
    launch = replace(launch, parameters=parameters)
    count = " + ".join(f"torch.where(positive[{i}:{i + 1}] >= 0, 1, 0)" for i in range(n))
    sums = " + ".join(f"terms[:, {i}]" for i in range(n))
    total = " + ".join(f"{w} * sums[{t}:{t + 1}] / divisor" for t, w in enumerate(WEIGHTS))
    reference = f"""
import torch
def reference(terms, positive):
    count = ({count}).to(torch.float64)
    divisor = torch.where(count > 0, count, 1)
    sums = ({sums}).to(torch.float64)
    total, parts, scale = {total}, sums / divisor, 1 / divisor
    return total.to(torch.float32), parts.to(torch.float32), scale.to(torch.float32)
"""
    inputs = {"terms": Array(0, 0, (len(WEIGHTS), n)), "positive": Array(1, 0, (n,), "int64")}
    outputs = (Array(4, 0, (1,)), Array(5, 0, (len(WEIGHTS),)), Array(6, 0, (1,)))
    return Claim(_kernel_of(launch), launch, reference, inputs, outputs)
