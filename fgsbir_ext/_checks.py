"""Argument validation: an error names the argument, what was expected and what came.

Everything here looks at shapes, types, devices and options only, never at values on a device, so it
costs no synchronisation and works on tensors without data (under torch.compile). Values of CPU
tensors are checked where the kernels read them; on CUDA only after ``set_debug_checks(True)``.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from . import _C
from . import _backends as backends
from ._torch_internals import in_transform, is_tracing
from .types import PLAIN_TENSORS, ArrayLike, Weights

_FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
_NUMBERS = (int, float, np.number)
_ANNOTATIONS = (torch.int8, torch.bool, *_FLOATS, *_INTEGERS)

_DEVICE_TYPES = (*backends.available(), "meta")

Named = tuple[str, Tensor | None]
"""An argument and what messages call it. Pairs, and not keywords: small batches feel the price of
a dictionary for each of a dozen checks."""

_debug = os.environ.get("FGSBIR_DEBUG", "") not in ("", "0")


def set_debug_checks(enabled: bool) -> None:
    """Check values on CUDA too, at the price of a synchronisation at every call.

    Off at start, unless the environment has ``FGSBIR_DEBUG=1``.
    """
    global _debug
    _debug = enabled


# --- What has passed --------------------------------------------------------------------------

_MOST = 1024


class Passed:
    """Calls whose arguments the checks of this module once let pass unchanged.

    Since they look at nothing but what :meth:`key` holds, they would again.
    """

    def __init__(self) -> None:
        self._keys: set[tuple[Any, ...]] = set()

    def key(self, tensors: Sequence[Any], *rest: Any) -> tuple[Any, ...] | None:
        """Type, shape and place of every tensor; None where the checks have to see the call."""
        if _debug or torch.compiler.is_compiling() or is_tracing() or in_transform():
            return None
        key = [*rest]
        for x in tensors:
            if x is None:
                key.append(None)
            elif type(x) not in PLAIN_TENSORS or x.is_nested:
                return None
            else:
                key += (x.dtype, x.shape, x.device, x.layout)
        return tuple(key)

    def __contains__(self, key: tuple[Any, ...]) -> bool:
        return key in self._keys

    def add(self, key: tuple[Any, ...]) -> None:
        if len(self._keys) >= _MOST:
            self._keys.clear()
        self._keys.add(key)


# --- Tensors ----------------------------------------------------------------------------------


def tensor(name: str, value: ArrayLike) -> Tensor:
    """A tensor as it is; any other array that speaks DLPack without a copy."""
    if isinstance(value, Tensor):
        if value.is_nested or value.layout != torch.strided:
            kind = "a nested tensor" if value.is_nested else value.layout
            raise TypeError(f"{name} must be a dense tensor, got {kind}")
        if type(value) is not Tensor and hasattr(value, "full_tensor"):
            raise TypeError(
                f"{name} must be a tensor of one process, got a DTensor; pass its full_tensor(), "
                "or its to_local() to fgsbir_ext.distributed"
            )
        return value
    if not hasattr(value, "__dlpack__"):
        raise TypeError(
            f"{name} must be a torch.Tensor or an array with __dlpack__ (CuPy, NumPy, JAX), "
            f"got {type(value).__name__}"
        )
    if any(stride < 0 for stride in getattr(value, "strides", None) or ()):
        raise TypeError(f"{name} cannot be taken over through DLPack: it has negative strides")
    try:
        return from_dlpack(value)
    except (BufferError, RuntimeError, TypeError) as error:
        raise TypeError(f"{name} cannot be taken over through DLPack: {error}") from error


def matrix(name: str, value: ArrayLike, shape: str) -> Tensor:
    """A floating-point tensor of rank 2; ``shape`` is what the message calls it."""
    x = tensor(name, value)
    if x.ndim != 2:
        raise ValueError(f"{name} must have shape {shape}, got {tuple(x.shape)}")
    if x.dtype not in _FLOATS:
        raise TypeError(
            f"{name} must be float32, float64, float16 or bfloat16, got {_type_name(x)}"
        )
    return x


def attributes(name: str, value: ArrayLike, shape: str) -> Tensor:
    """An annotation of rank 2: bool, integer or floating."""
    x = tensor(name, value)
    if x.ndim != 2:
        raise ValueError(f"{name} must have shape {shape}, got {tuple(x.shape)}")
    if x.dtype not in _ANNOTATIONS:
        raise TypeError(f"{name} must be int8, bool or floating, got {_type_name(x)}")
    if _debug:
        valid = (x == 1) | (x == 0)
        if x.dtype != torch.uint8:  # which compares 255 equal to -1
            valid |= x == -1
        if not bool(valid.all()):
            raise ValueError(
                f"{name} must hold only 1 (yes), 0 (no) and -1 (unknown), "
                f"got {x[~valid][0].item():g}"
            )
    return x


def labels(name: str, value: ArrayLike, count_name: str, count: int) -> Tensor:
    """Instance ids (count,) as int64."""
    x = tensor(name, value)
    if x.dtype not in _INTEGERS:
        raise TypeError(f"{name} must be int64 instance ids, got {_type_name(x)}")
    if x.ndim != 1 or x.shape[0] != count:
        raise ValueError(
            f"{name} must have shape ({count_name},) = ({count},), got {tuple(x.shape)}"
        )
    return x.long()


def weights(
    name: str, value: Weights | None, count: int | None = None, device: torch.device | None = None
) -> Tensor | None:
    """One weight for each of K attributes, from a tensor, an array or numbers."""
    if value is None:
        return None
    if isinstance(value, Sequence) and not isinstance(value, str):
        x = torch.tensor([number(name, w) for w in value], dtype=torch.float64, device="cpu")
        # Created there it would wait for the device.
        x = x if device is None else x.to(device, non_blocking=True)
    else:
        x = tensor(name, value)
    if x.dtype not in (*_FLOATS, *_INTEGERS):
        raise TypeError(f"{name} must be floating, got {_type_name(x)}")
    if x.ndim != 1 or (count is not None and x.shape[0] != count):
        expected = "(K,)" if count is None else f"(K,) = ({count},)"
        raise ValueError(f"{name} must have shape {expected}, got {tuple(x.shape)}")
    if _debug:
        _weights_values(name, x)
        if len(x) and not bool(x.any()):
            raise ValueError(f"{name} must not all be 0")
    return x


def fixed_weights(name: str, value: Weights | None) -> Tensor | None:
    """Weights that are set before K is known, values included."""
    x = weights(name, value)
    if x is not None:
        _weights_values(name, x)
    return x


def _weights_values(name: str, x: Tensor) -> None:
    if not bool(((x >= 0) & x.isfinite()).all()):
        raise ValueError(f"{name} must be finite and not negative, got {x.tolist()}")


def same_device(first: tuple[str, Tensor], *others: Named) -> None:
    """All on one device, and one that has kernels here."""
    first_name, device = first[0], first[1].device
    for name, x in others:
        if x is not None and x.device != device:
            raise ValueError(
                f"{name} must be on the device of {first_name}, {device}, got {x.device}"
            )
    if device.type not in _DEVICE_TYPES:
        raise ValueError(
            f"{first_name} is on {device}, for which this build of fgsbir_ext has no kernels"
            f"{_missing(device.type)}; fgsbir_ext.reference runs on any device"
        )


def _missing(device_type: str) -> str:
    return f" ({_C.why_no_cuda})" if device_type == "cuda" and _C.why_no_cuda else ""


def same_type(first: tuple[str, Tensor], *others: Named) -> list[Any]:
    """All of one floating type. Under autocast the widest is taken instead of an error."""
    widest = first[1].dtype
    for name, x in others:
        if x is None or x.dtype == widest:
            continue
        if not torch.is_autocast_enabled(x.device.type):
            raise TypeError(
                f"{name} must have the type of {first[0]}, {_type_name(first[1])}, "
                f"got {_type_name(x)}"
            )
        widest = torch.promote_types(widest, x.dtype)
    return [x if x is None or x.dtype == widest else x.to(widest) for _, x in (first, *others)]


def same_size(axis: str, dim: int, first: tuple[str, Tensor], *others: tuple[str, Tensor]) -> int:
    """All of one size along a dimension, which messages call ``axis``; returns it."""
    size = first[1].shape[dim]
    for name, x in others:
        if x.shape[dim] != size:
            raise ValueError(
                f"{name} must have {axis} = {size} in dimension {dim} like {first[0]}, "
                f"got {tuple(x.shape)}"
            )
    return size


def all_or_none(*values: tuple[str, object]) -> bool:
    """Whether all are given; an error unless it is all or none."""
    missing = [name for name, value in values if value is None]
    if missing and len(missing) < len(values):
        given = [name for name, value in values if value is not None]
        raise ValueError(f"{' and '.join(given)} must come with {' and '.join(missing)}, got None")
    return not missing


# --- Options ----------------------------------------------------------------------------------


def choice(name: str, value: object, options: Sequence[str]) -> str:
    """One of some strings."""
    if not isinstance(value, str) or value not in options:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, options))}, got {value!r}")
    return value


def number(name: str, value: object, *, infinite: bool = False) -> float:
    """A number that is not negative, and finite unless ``infinite`` is allowed."""
    if isinstance(value, bool) or not isinstance(value, _NUMBERS):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}")
    # Comparisons and not math.isnan: these trace where the number is symbolic (torch.compile).
    if not value >= 0 or (value == math.inf and not infinite):
        expected = "not be negative" if infinite else "be finite and not negative"
        raise ValueError(f"{name} must {expected}, got {value}")
    return float(value)


def margin(name: str, value: object) -> float | None:
    """A number like those of :func:`number`, or None for "soft"."""
    if not isinstance(value, str):
        return number(name, value)
    if value != "soft":
        raise ValueError(f"{name} must be a number or 'soft', got {value!r}")
    return None


def count(name: str, value: object, limit: int, limit_name: str) -> int:
    """An integer in [0, limit]."""
    if isinstance(value, np.integer):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (int, torch.SymInt)):
        raise TypeError(f"{name} must be an integer, got {type(value).__name__}")
    if value < 0 or value > limit:
        raise ValueError(f"{name} must be in [0, {limit_name}] = [0, {limit}], got {value}")
    return value  # type: ignore[return-value]  # a SymInt is as good as an int


def _type_name(x: Tensor) -> str:
    return str(x.dtype).removeprefix("torch.")
