"""Layers made faster for inference."""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Layers = TypeVar("Layers", bound=nn.Module)


def without_normalisation(layers: Layers) -> Layers:
    """A copy in eval mode whose convolutions do what the batch normalisation behind each does.

    It gives the same but for rounding, at the same places: what is left of a normalisation is an
    identity. Each normalisation has to keep running statistics, as is usual.
    """
    fused = copy.deepcopy(layers).eval()
    for part in fused.modules():
        if isinstance(part, nn.Sequential):
            for i in range(1, len(part)):
                convolution, normalisation = part[i - 1], part[i]
                if isinstance(convolution, nn.Conv2d) and isinstance(normalisation, nn.BatchNorm2d):
                    part[i - 1] = fuse_conv_bn_eval(convolution, normalisation)
                    part[i] = nn.Identity()
    return fused
