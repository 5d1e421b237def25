"""Dispatch of checked arguments to the kernels, past torch's dispatcher or through it.

Through torch's dispatcher (``torch.ops.fgsbir``) wherever something else has to see the call: a
compiler, a tracer, a function transform, a mode, a tensor subclass. Straight to the backend where
nothing would: the dispatcher's Python layers take longer than the kernels of a small batch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function, forward_ad

from .types import PLAIN_TENSORS

Kernel = Callable[[Sequence[Tensor | None], Sequence[Any]], Any]
"""An operation of tensors and options, which its schema has in a row."""

KERNELS: dict[str, dict[str, Kernel]] = {}
"""The operations by device type and name."""

FUNCTIONS: dict[str, type[Function]] = {}
"""The differentiable ones as autograd functions of their tensors and their options.

:mod:`fgsbir_ext._ops` fills both."""

_CONSTANT = frozenset({"attribute_distance", "mine_batch_hard", "topk"})


def call(name: str, tensors: Sequence[Tensor | None], options: Sequence[Any] = ()) -> Any:
    """The operation of a name, of the tensors and options of its schema.

    Raises:
        NotImplementedError: under a transform of ``torch.func`` or in forward-mode autograd, where
            the operations have no rules.
    """
    if torch.compiler.is_compiling():
        return getattr(torch.ops.fgsbir, name)(*tensors, *options)
    given = [x for x in tensors if x is not None]
    _refuse_transforms(name, given)
    if _unobserved(given):
        differentiated = torch.is_grad_enabled() and any(x.requires_grad for x in given)
        kernel = KERNELS[given[0].device.type][name]
        if not differentiated:
            return kernel(tensors, options)
        if name in _CONSTANT:
            with torch.no_grad():
                return kernel(tensors, options)
        if name in FUNCTIONS:
            # Function.apply looks for transforms, which have been refused, in every argument.
            return super(Function, FUNCTIONS[name]).apply(*tensors, options)  # type: ignore[misc]
    return getattr(torch.ops.fgsbir, name)(*tensors, *options)


def _refuse_transforms(name: str, tensors: list[Tensor]) -> None:
    forward_mode = forward_ad._current_level >= 0 and any(
        forward_ad.unpack_dual(x).tangent is not None for x in tensors
    )
    if forward_mode or torch._C._functorch.peek_interpreter_stack() is not None:
        raise NotImplementedError(
            f"fgsbir_ext.{name} has a reverse-mode derivative only, and no rules for torch.func; "
            "the functions of fgsbir_ext.reference are made of torch's own operations"
        )


def _unobserved(tensors: Sequence[Tensor]) -> bool:
    """Whether plain tensors of one device with kernels are all that a call concerns."""
    if tensors[0].device.type not in KERNELS or torch._C._len_torch_dispatch_stack() != 0:
        return False
    return torch._C._get_tracing_state() is None and are_plain(tensors)


def are_plain(tensors: Sequence[Tensor | None]) -> bool:
    """Whether the tensors that are given are plain ones, of one type of device."""
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
