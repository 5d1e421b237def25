"""The interface of a backbone, its entry in the registry, and the initialisation of weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import nn

from ..config import (
    AugmentConfig,
    LossConfig,
    ModelConfig,
    OptimConfig,
    PretrainConfig,
    TrainConfig,
)
from .imagenet import ImageNetWeights
from .preprocess import Preprocessing


class Backbone(NamedTuple):
    """Convolutions, in two parts: to the map that heads read, and on to the features.

    The map is the last one that they make, or several of them side by side.

    Attributes:
        layers: maps the input (B, channels, size, size) to features (B, width).
        to_map: how many of the layers give the map.
        channels, side: of the map, (B, channels, side, side).
        width: of the features.
        preprocessing: what it is given.
    """

    layers: nn.Sequential
    to_map: int
    channels: int
    side: int
    width: int
    preprocessing: Preprocessing


TRAINING = TrainConfig(
    model=ModelConfig(head="local", dropout=0.1),
    loss=LossConfig(contrastive_weight=10.0),
    optim=OptimConfig(epochs=120, batch_size=32, lr=1e-3),
    augment=AugmentConfig(rotate=6, scale=0.07, shear=0.07, shift=0.04, elastic=0.015, cutout=0.4),
)
PRETRAINING = PretrainConfig(
    model=ModelConfig(dropout=0.1),
    optim=OptimConfig(epochs=8, batch_size=64, lr=2e-3, warmup_epochs=0.5),
    augment=AugmentConfig(
        rotate=6,
        scale=0.08,
        shear=0.06,
        shift=0.04,
        elastic=0.012,
        cutout=0.3,
        thicken=0.3,
        flip=0.5,
    ),
)


@dataclass(frozen=True)
class Entry:
    """What the module of a backbone tells the registry, as ``ENTRY``.

    Attributes:
        build: the backbone of a configuration, for input of so many pixels a side; raises a
            ValueError for a size or an option that it does not take.
        size: side of the input in pixels where the configuration names none.
        training, pretraining: presets of ``fgsbir train`` and ``fgsbir pretrain``;
            :mod:`fgsbir.presets` puts the name of the backbone in.
        maps: how many it has that a cell can be made of.
        imagenet: its weights from ImageNet, for ``--init imagenet``; None where there are none.
    """

    build: Callable[[ModelConfig, int], Backbone]
    size: int
    training: TrainConfig = TRAINING
    pretraining: PretrainConfig = PRETRAINING
    maps: int = 1
    imagenet: ImageNetWeights | None = None


def scale_for_relu(backbone: nn.Module) -> None:
    """Weights that keep the variance through ReLU layers (He et al., 2015); biases at 0."""
    for layer in backbone.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
