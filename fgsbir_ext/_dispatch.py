"""Dispatch of checked arguments to the kernels, past torch's dispatcher or through it.

Through torch's dispatcher (``torch.ops.fgsbir``) wherever something else has to see the call: a
compiler, a tracer, a function transform, a mode, a tensor subclass. Straight to the backend where
nothing would: the dispatcher's Python layers take longer than the kernels of a small batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ._torch_internals import any_tangent, are_plain, count_modes, in_transform, is_tracing

Kernel = Callable[[Sequence[Tensor | None], Sequence[Any]], Any]
"""An operation of tensors and options, which its schema has in a row."""

KERNELS: dict[str, dict[str, Kernel]] = {}
"""The operations by device type and name."""

FUNCTIONS: dict[str, Callable[..., Any]] = {}
"""The differentiable ones: ``apply`` of autograd functions of their tensors and their options.

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
    if in_transform() or any_tangent(given):
        raise NotImplementedError(
            f"fgsbir_ext.{name} has a reverse-mode derivative only, and no rules for torch.func; "
            "the functions of fgsbir_ext.reference are made of torch's own operations"
        )
    differentiated = torch.is_grad_enabled() and any(x.requires_grad for x in given)
    if differentiated and any(x.is_inference() for x in given):
        # Autograd does not save what was made in inference mode; a copy is made outside of it.
        tensors = [x.clone() if x is not None and x.is_inference() else x for x in tensors]
        given = [x for x in tensors if x is not None]
    if _unobserved(given):
        kernel = KERNELS[given[0].device.type][name]
        if not differentiated:
            return kernel(tensors, options)
        if name in _CONSTANT:
            with torch.no_grad():
                return kernel(tensors, options)
        if name in FUNCTIONS:
            return FUNCTIONS[name](*tensors, options)
    return getattr(torch.ops.fgsbir, name)(*tensors, *options)


def _unobserved(tensors: Sequence[Tensor]) -> bool:
    """Whether plain tensors of one device with kernels are all that a call concerns."""
    if tensors[0].device.type not in KERNELS or count_modes() != 0:
        return False
    return not is_tracing() and are_plain(tensors)
