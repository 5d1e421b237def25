"""Choice of device, memory format and precision."""

from __future__ import annotations

import torch

from ..config import Precision

DEVICE_TYPES = ("cpu", "cuda")


def choose_device(name: str) -> torch.device:
    """The device of a name.

    Raises:
        ValueError: where torch does not know it, this package has no kernels for it, or torch
            sees no such GPU.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device: {str(error).splitlines()[0]}") from error
    if device.type not in DEVICE_TYPES:
        raise ValueError(f"device: expected cpu, cuda, cuda:1 ..., got {name}")
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if not count:
            raise ValueError(f"device: {name} asked for, but torch sees no GPU")
        if device.index is not None and device.index >= count:
            raise ValueError(f"device: {name} asked for, but torch sees {count} GPUs")
    return device


def image_format(device: torch.device) -> torch.memory_format:
    """How images and convolutions lie in memory.

    Channels come last on a GPU. On a CPU they do not, though it would be faster: the gradient of a
    strided convolution with few channels then ends the process (torch 2.13, batches of odd size).
    """
    return torch.channels_last if device.type == "cuda" else torch.contiguous_format


def takes_bfloat16(precision: Precision, device: torch.device) -> bool:
    """Whether convolutions run in bfloat16."""
    return precision == "bfloat16" or (precision == "auto" and has_fast_bfloat16(device))


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether the processor multiplies bfloat16 natively; False where torch cannot tell."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if not hasattr(torch.cpu, "get_capabilities"):  # older versions of torch
        return False
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))
