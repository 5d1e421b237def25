"""Stand-ins for the parts of CUDA that a CPU lacks, so that a rehearsal runs every line of a check.

Names and signatures are those of torch.cuda: a call that it would refuse is refused here. Streams
and events order nothing, since the CPU does one thing after another.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

import fgsbir_ext as fx

from ..kernel_report.blocks import short_name
from . import instruments

_RESULTS: dict[str, Any] = {
    "_sleep": None,
    "empty_cache": None,
    "current_device": 0,
    "device_count": 2,
    "max_memory_allocated": 0,
    "memory_allocated": 0,
    "reset_peak_memory_stats": None,
    "set_device": None,
    "set_sync_debug_mode": None,
    "synchronize": None,
}
_CONTEXTS = ("stream", "graph")
_CLASSES = ("Stream", "ExternalStream", "CUDAGraph")


class Event:
    """An event that the device has always still to reach."""

    def __init__(self, enable_timing: bool = False) -> None:
        self._at = 0.0

    def record(self) -> None:
        self._at = time.perf_counter()

    def query(self) -> bool:
        return False

    def elapsed_time(self, end: Event) -> float:
        return 1e3 * (end._at - self._at)


class CupyStream(nullcontext):
    """``cupy.cuda.Stream``."""

    ptr = 0

    def __init__(self, non_blocking: bool = False) -> None:
        super().__init__()

    def synchronize(self) -> None:
        pass


_CUPY = SimpleNamespace(
    __version__=f"NumPy {np.__version__} in its place",
    from_dlpack=np.from_dlpack,
    cuda=SimpleNamespace(Stream=CupyStream),
)


def _launched(real: Callable[..., Any], work: Callable[[], Any]) -> list[dict[str, Any]]:
    """Grids of the emulation, since there is no device for the profiler to watch."""
    from tests.emulation import plugin
    from tests.emulation.attach import launches_since

    assert real(lambda: None) == []
    first = plugin.emulated.launches()
    work()
    names = [name for name, _ in launches_since(plugin.emulated, first)]
    return [{"name": short_name(name), "us": 0.0} for name in names]


def _mm(real: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """torch.mm with the one option that a CPU lacks."""

    def mm(a: Tensor, b: Tensor, *, out_dtype: torch.dtype | None = None, **options: Any) -> Tensor:
        if out_dtype is None:
            return real(a, b, **options)
        return real(a.to(out_dtype), b.to(out_dtype), **options)

    return mm


def _capture(real: Callable[..., Any], step: Callable[[], list[Tensor] | None]) -> Any:
    """A graph whose replay is the step itself, its results written where they were."""
    results, replay = real(step)

    def repeat() -> None:
        replay()
        again = step()
        with torch.no_grad():
            for result, new in zip(results or [], again or [], strict=True):
                result.copy_(new)

    return results, repeat


@contextmanager
def stand_ins() -> Iterator[None]:
    """Checks of a GPU run on CPU tensors, over kernels that the emulation has registered."""
    with ExitStack() as stack:

        def put(owner: Any, name: str, value: Any) -> None:
            stack.enter_context(mock.patch.object(owner, name, value))

        def same_signature(name: str, **options: Any) -> Any:
            return mock.create_autospec(getattr(torch.cuda, name), **options)

        for name, result in _RESULTS.items():
            put(torch.cuda, name, same_signature(name, return_value=result))
        for name in _CONTEXTS:
            context = same_signature(name, side_effect=lambda *_, **__: nullcontext())
            put(torch.cuda, name, context)
        for name in _CLASSES:
            put(torch.cuda, name, same_signature(name))
        put(torch.cuda, "Event", Event)
        put(torch, "mm", _mm(torch.mm))
        for name, stand_in in (("launched", _launched), ("capture", _capture)):
            real = getattr(instruments, name)
            put(instruments, name, lambda work, s=stand_in, r=real: s(r, work))
        info = fx.build_info()._replace(cuda=True)
        put(fx, "build_info", lambda: info)
        stack.enter_context(mock.patch.dict(sys.modules, {"cupy": _CUPY}))
        yield
