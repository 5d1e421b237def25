"""EfficientNet-Lite, photo backbones with weights from ImageNet.

The mobile variants of EfficientNet (Tan and Le, ICML 2019) that Google published in 2020: ReLU6 in
place of swish, no squeeze and excitation, stem and head of fixed width.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import AugmentConfig, LossConfig, ModelConfig, OptimConfig, TrainConfig
from .backbone import Backbone, Entry, scale_for_relu
from .imagenet import IMAGENET, ImageNetWeights
from .preprocess import Preprocessing

# repeats, kernel, stride, expansion, channels of each stage, at width and depth 1
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM = 32
EPSILON = 1e-3  # of batch normalisation, as in the original
MEAN, STD = 127 / 255, 128 / 255  # of the pixels that the original was trained on, by definition
STRIDE = 32  # pixels of the input for each cell of the last map
GRID = 7  # cells of a side, at most, that the last map is averaged to
FEATURE_GRID = 3  # the same for the features
SMALLEST = FEATURE_GRID * STRIDE  # pixels of a side

TRAINING = TrainConfig(
    model=ModelConfig(
        head="local",
        maps=2,
        embedding_dim=128 * GRID**2,
        attributes_from="embedding",
        dropout=0.1,
    ),
    loss=LossConfig(margin=0.3, embedding_scale=1.0),
    optim=OptimConfig(epochs=20, batch_size=32, lr=1e-3, warmup_epochs=1),
    augment=AugmentConfig(rotate=6, scale=0.07, shear=0.07, shift=0.04, elastic=0.015, cutout=0.3),
    init=IMAGENET,
    frozen_views=7,
)


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow's "SAME": an odd pixel goes right and to the bottom."""

    def forward(self, x: Tensor) -> Tensor:
        totals = [
            max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
            for side, kernel, stride in zip(x.shape[2:], self.kernel_size, self.stride, strict=True)
        ]
        height, width = (total // 2 for total in totals)
        if any(total % 2 for total in totals):
            x = F.pad(x, (width, totals[1] - width, height, totals[0] - height))
            height = width = 0
        # Padded inside it takes two thirds of the time on a CPU: wide maps are not copied.
        padding = (height, width)
        return F.conv2d(x, self.weight, self.bias, self.stride, padding, groups=self.groups)


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution and projection, beside a shortcut where shapes allow."""

    def __init__(
        self, inputs: int, outputs: int, *, kernel: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        wide = inputs * expansion
        expand = [*_conv(inputs, wide, 1), nn.ReLU6(inplace=True)] if expansion != 1 else []
        self.body = nn.Sequential(
            *expand,
            *_conv(wide, wide, kernel, stride=stride, groups=wide),
            nn.ReLU6(inplace=True),
            *_conv(wide, outputs, 1),
        )
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.shortcut else y


class SideBySide(nn.Module):
    """What comes in and what each further part of a network makes of it, averaged to one grid, so
    that a cell has the channels of all (hypercolumns: Hariharan et al., CVPR 2015).

    Args:
        parts: of the network, one behind the other.
        side: of the grid, in cells.
    """

    def __init__(self, parts: Iterable[nn.Module], side: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.pool = nn.AdaptiveAvgPool2d(side)

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.pool(x)]
        for part in self.parts:
            x = part(x)
            maps.append(self.pool(x))
        return torch.cat(maps, 1)


def _conv(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    return [
        SameConv2d(inputs, outputs, kernel, stride, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=EPSILON),
    ]


@dataclass(frozen=True)
class Variant:
    """One of the family.

    Attributes:
        width, depth: how much wider and deeper it is than the smallest.
        size: side of the input in pixels.
        maps: after how many of its blocks it has a map; nothing behind the last of them is used.
        weights: from ImageNet.
    """

    width: float
    depth: float
    size: int
    maps: tuple[int, ...]
    weights: ImageNetWeights


def entry(variant: Variant) -> Entry:
    """The entry of a variant in the registry of backbones."""
    return Entry(
        build=partial(_build, variant),
        size=variant.size,
        training=TRAINING,
        maps=len(variant.maps),
        imagenet=variant.weights,
    )


def _build(variant: Variant, config: ModelConfig, size: int) -> Backbone:
    if size < SMALLEST:
        raise ValueError(f"size: {config.backbone} needs at least {SMALLEST} pixels, got {size}")
    return build(variant, size, config.maps)


def build(variant: Variant, size: int, maps: int = 1) -> Backbone:
    """The backbone of a variant, for input of so many pixels a side, with freshly drawn weights,
    and with so many of its maps, the last ones."""
    layers, widths = _layers(variant)
    side = min(GRID, -(-size // STRIDE))
    ends = variant.maps[-maps:]
    cuts = (0, *(end + 1 for end in ends))
    first, *parts = (nn.Sequential(*layers[start:stop]) for start, stop in pairwise(cuts))
    to_map = nn.Sequential(*first, SideBySide(parts, side))
    scale_for_relu(to_map)
    channels = sum(widths[end] for end in ends)
    whole = nn.Sequential(*to_map, nn.AdaptiveAvgPool2d(FEATURE_GRID), nn.Flatten())
    return Backbone(
        whole,
        len(to_map),
        channels=channels,
        side=side,
        width=channels * FEATURE_GRID**2,
        preprocessing=Preprocessing(size, "colour", mean=(MEAN,) * 3, std=(STD,) * 3),
    )


def _layers(variant: Variant) -> tuple[list[nn.Module], list[int]]:
    """The stem and the blocks that are used, and how many channels come out of each."""
    stem = nn.Sequential(*_conv(3, STEM, 3, stride=2), nn.ReLU6(inplace=True))
    layers: list[nn.Module] = [stem]
    widths = [STEM]
    for number, (repeats, kernel, stride, expansion, channels) in enumerate(STAGES):
        at_the_ends = number in (0, len(STAGES) - 1)
        outputs = _rounded(channels * variant.width)
        for i in range(repeats if at_the_ends else math.ceil(repeats * variant.depth)):
            if len(layers) > variant.maps[-1]:
                return layers, widths
            block = InvertedResidual(
                widths[-1], outputs, kernel=kernel, stride=1 if i else stride, expansion=expansion
            )
            layers.append(block)
            widths.append(outputs)
    return layers, widths


def _rounded(channels: float) -> int:
    """To a multiple of 8, at least nine tenths of what was asked for."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * channels else rounded + 8
