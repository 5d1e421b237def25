"""The interface of a backbone, and the initialisation of its weights."""

from __future__ import annotations

from typing import NamedTuple

from torch import nn


class Backbone(NamedTuple):
    """Convolutions, in two parts: to the last map, and on to the features.

    Attributes:
        layers: maps (B, 1, size, size) to features (B, width).
        to_map: how many of the layers give the last map.
        channels, side: of that map, (B, channels, side, side).
        width: of the features.
    """

    layers: nn.Sequential
    to_map: int
    channels: int
    side: int
    width: int


def scale_for_relu(backbone: nn.Module) -> None:
    """Weights that keep the variance through ReLU layers (He et al., 2015); biases at 0."""
    for layer in backbone.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
