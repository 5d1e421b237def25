"""Every use of torch's private names, each with a public way where a version of torch lacks it.

A public way gives the same results and refusals, and takes longer. Names are bound at import: they
are asked at every step of a small batch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function, forward_ad

from .types import PLAIN_TENSORS

# --- What else concerns a call ----------------------------------------------------------------

is_tracing: Callable[[], bool] = getattr(torch._C, "_is_tracing", torch.jit.is_tracing)
"""Whether ``torch.jit.trace`` records."""

_LEAF = torch.empty(0, device="cpu")


def _refuses_changed_leaves() -> bool:
    """Whether ``requires_grad_`` is refused, as inside every transform of ``torch.func``."""
    try:
        _LEAF.requires_grad_(False)
    except RuntimeError:
        return True
    return False


in_transform: Callable[[], bool] = getattr(
    torch._C, "_are_functorch_transforms_active", _refuses_changed_leaves
)
"""Whether a transform of ``torch.func`` runs."""


def _any_tangent(tensors: Iterable[Tensor]) -> bool:
    return any(forward_ad.unpack_dual(x).tangent is not None for x in tensors)


def _any_tangent_on_a_level(tensors: Iterable[Tensor]) -> bool:
    return forward_ad._current_level >= 0 and _any_tangent(tensors)


any_tangent = _any_tangent_on_a_level if hasattr(forward_ad, "_current_level") else _any_tangent
"""Whether a tensor has a tangent of forward-mode autograd."""


# --- The way past torch's dispatcher ----------------------------------------------------------


count_modes: Callable[[], int] = getattr(torch._C, "_len_torch_dispatch_stack", lambda: 1)
"""How many of ``TorchDispatchMode`` are active; where torch does not tell, one may be."""


def _are_plain_by_keys(tensors: Sequence[Tensor | None]) -> bool:
    kind = ""
    # More than plain is a subclass, which would see the call, or a lazy negation, for one, which
    # the dispatcher would carry out.
    keys_of, more_than_plain = torch._C._dispatch_keys, 0
    for x in tensors:
        if x is None:
            continue
        if not kind:
            kind = x.device.type
            more_than_plain = ~_plain_keys(kind)
        if type(x) not in PLAIN_TENSORS or keys_of(x).raw_repr() & more_than_plain:
            return False
    return True


@functools.cache
def _plain_keys(kind: str) -> int:
    return torch._C._dispatch_keys(torch.empty(0, device=kind)).raw_repr()


are_plain: Callable[[Sequence[Tensor | None]], bool] = (
    _are_plain_by_keys
    if hasattr(torch._C, "_dispatch_keys") and hasattr(torch._C._dispatch_keys(_LEAF), "raw_repr")
    else lambda tensors: False
)
"""Whether the tensors that are given are plain ones, of one type of device.

Where torch does not tell keys, none is: no public function recognises a tensor of zeros without
memory."""


def unchecked_apply(function: type[Function]) -> Callable[..., Any]:
    """``function.apply`` without its look for transforms in every argument."""
    return getattr(super(Function, function), "apply", function.apply)


# --- CUDA -------------------------------------------------------------------------------------


def _current_stream(device: int) -> int:
    return torch.cuda.current_stream(device).cuda_stream


# Torch's own makes no object for the stream.
current_stream: Callable[[int], int] = getattr(
    torch._C, "_cuda_getCurrentRawStream", _current_stream
)
"""The address of the current stream of a device."""
