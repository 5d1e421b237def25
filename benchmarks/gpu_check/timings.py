"""Times of mining and of the loss, on the device and on the host, beside the baselines.

    python -m benchmarks.gpu_check.timings bfloat16
    python -m benchmarks.gpu_check.timings float32 --sizes 4096 16384 --only fgsbir_ext
    python -m benchmarks.gpu_check.timings float32 --only torch.compile

Device time is that of calls that wait in the stream's queue (instruments.py). Attributes guide the
other implementations by 0.5, and this library by 0, 0.5 and infinity.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

import fgsbir_ext as fx

from ..baselines import BASELINES
from ..baselines.base import GUIDANCE, MARGIN, forward_backward, without_gradients
from ..harness.cards import short_name
from ..harness.measure import gradient_bytes, peak_bytes
from ..workload import Inputs, Workload, make_inputs
from . import instruments
from .device import add_rehearse, device_or_rehearsal
from .figures import Figures, attempt
from .names import (
    COMPILED,
    GRAPH,
    GUIDANCES,
    INTO_FLOAT32,
    LOSS,
    MINING,
    OURS,
    PLAIN,
    PRODUCT,
    TUNED,
)
from .names import engine as engine_name

SIZES = (16384, 65536, 4096, 1024, 128)  # those first that most is to be learnt from
REHEARSED = (32,)
TIMED = (PRODUCT, INTO_FLOAT32, PLAIN, TUNED)
GRAPHED = 1024  # up to which size a graph is timed, too: above it launches do not matter
PROFILED = (16384, 1024)


@dataclass(frozen=True)
class Cell:
    """What one figure is of."""

    operation: str
    baseline: str
    guidance: float
    prepare: Callable[[Inputs], Callable[[], Any]]


def loss_module(guidance: float) -> fx.AttributeTripletLoss:
    return fx.AttributeTripletLoss(
        margin=MARGIN, attribute_margin=MARGIN, attribute_guidance=guidance
    )


def our_loss(guidance: float) -> Callable[[Inputs], Callable[[], Any]]:
    loss = loss_module(guidance)

    def prepare(inputs: Inputs) -> Callable[[], Any]:
        return partial(forward_backward, lambda x: instruments.loss_of(x, loss), inputs)

    return prepare


def our_mining(guidance: float) -> Callable[[Inputs], Callable[[], Any]]:
    def mine(inputs: Inputs) -> Any:
        return fx.mine_batch_hard(
            inputs.sketch,
            inputs.photo,
            **inputs.both("attributes"),
            attribute_guidance=guidance,
        )

    return without_gradients(mine)


def in_a_graph(inputs: Inputs) -> Callable[[], Any]:
    """The replay of a captured step of the loss, forward and backward."""
    loss = loss_module(GUIDANCE)

    def step() -> list[torch.Tensor]:
        total = instruments.loss_of(inputs, loss)
        return [total, *torch.autograd.grad(total, inputs.leaves)]

    step()
    torch.cuda.synchronize()
    return instruments.capture(step)[1]


def cells(workload: Workload, only: Sequence[str]) -> Iterator[Cell]:
    """Our operations, then the limits, then other implementations."""
    for guidance in GUIDANCES:
        yield Cell(LOSS, OURS, guidance, our_loss(guidance))
        yield Cell(MINING, OURS, guidance, our_mining(guidance))
    if workload.n <= GRAPHED:
        yield Cell(LOSS, GRAPH, GUIDANCE, in_a_graph)
    for name in (*TIMED, COMPILED):
        if name == INTO_FLOAT32 and workload.dtype == torch.float32:
            continue
        if name == COMPILED and COMPILED not in only:
            continue  # minutes of compilation, in a step of its own
        yield Cell(LOSS, name, GUIDANCE, BASELINES[name].operations[LOSS])


def timed(cell: Cell, inputs: Inputs, device: str) -> Figures:
    """The times of a cell; of our loss the peak of memory beyond inputs and gradients, too."""
    work = cell.prepare(inputs)
    # A stream's queue takes some 1000 launches; PyTorch's versions have up to 160 a call.
    calls = 20 if cell.baseline in (OURS, GRAPH, PRODUCT, INTO_FLOAT32) else 4
    budget = 0.25 if device == "cuda" else 0.02  # seconds
    figures = instruments.time_queued(work, budget, calls).figures()
    if cell.baseline == OURS and cell.operation == LOSS and device == "cuda":
        inputs.clear_gradients()  # which would otherwise be there before, and freed
        peak, _ = peak_bytes(work, device)
        figures["peak_bytes"] = max(0, (peak or 0) - gradient_bytes(LOSS, inputs))
    inputs.clear_gradients()
    return figures


def kernel_times(inputs: Inputs, guidance: float) -> Figures:
    """Microseconds of every kernel of the loss, forward and backward, in the order of launches."""
    work = our_loss(guidance)(inputs)
    return {"kernels": [[k["name"], k["us"]] for k in instruments.launched(work)]}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dtypes", nargs="+", choices=("bfloat16", "float32"))
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--only", nargs="+", default=[], help="names of implementations")
    add_rehearse(parser)
    arguments = parser.parse_args()
    sizes = REHEARSED if arguments.rehearse else arguments.sizes
    with device_or_rehearsal(arguments.rehearse) as device:
        passed = [time_type(x, sizes, arguments.only, device) for x in arguments.dtypes]
        if arguments.only in ([], [OURS]):  # last, as a profiler's hooks may stay
            passed += [time_kernels(x, sizes, device) for x in arguments.dtypes]
    return 0 if all(passed) else 1


def time_type(dtype: str, sizes: Sequence[int], only: Sequence[str], device: str) -> bool:
    """Emits the times of all cells of a type, and returns whether ours have any."""
    passed = True
    for n in sizes:
        workload = Workload(n, dtype=getattr(torch, dtype), device=device)
        inputs = make_inputs(workload)
        if COMPILED in only:
            torch._dynamo.reset()  # after a few sizes it would compile a function no more
        for cell in cells(workload, only):
            if only and cell.baseline not in only:
                continue
            which = about(workload) | {
                "operation": cell.operation,
                "baseline": cell.baseline,
                "guidance": str(cell.guidance),
            }
            if attempt("time", partial(timed, cell, inputs, device), **which):
                continue
            if instruments.context_is_broken():
                return False
            torch.cuda.empty_cache()
            # That another implementation has no room for its matrices is a result.
            passed &= cell.baseline not in (OURS, GRAPH)
    return passed


def time_kernels(dtype: str, sizes: Sequence[int], device: str) -> bool:
    """Emits the times of the kernels of the loss at the sizes of most interest."""
    passed = True
    for n in sizes if device == "cpu" else set(PROFILED) & set(sizes):
        workload = Workload(n, dtype=getattr(torch, dtype), device=device)
        inputs = make_inputs(workload)
        for guidance in GUIDANCES:
            which = about(workload) | {"guidance": str(guidance)}
            passed &= attempt("kernels", partial(kernel_times, inputs, guidance), **which)
    return passed


def about(workload: Workload) -> dict[str, Any]:
    card = short_name(torch.cuda.get_device_name()) if workload.device == "cuda" else "CPU"
    return {"card": card, "engine": engine_name(), "dtype": workload.type_name, "n": workload.n}


if __name__ == "__main__":
    sys.exit(main())
