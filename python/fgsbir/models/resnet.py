"""Small residual backbone that trains faster than the paper's."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ..config import ModelConfig
from .backbone import Backbone, Entry, scale_for_relu
from .preprocess import Preprocessing


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation beside a shortcut (He et al., 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


def residual_net(size: int, width: int = 32, grid: int = 3) -> Backbone:
    """A strided stem and four residual stages of one block each, for input of any size.

    The last map, a sixteenth of the input's side, is averaged over a grid of grid x grid, not over
    the whole image: fine-grained retrieval has to know where a line is.
    """
    widths = (width, 2 * width, 4 * width, 8 * width)
    layers: list[nn.Module] = [
        nn.Conv2d(1, width, 5, stride=2, padding=2, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    ]
    for inputs, outputs in zip((width, *widths), widths, strict=False):
        layers.append(ResidualBlock(inputs, outputs, stride=1 if inputs == outputs else 2))
    backbone = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(grid), nn.Flatten())
    scale_for_relu(backbone)
    side = -(-size // 16)
    return Backbone(
        backbone,
        len(layers),
        channels=widths[-1],
        side=side,
        width=widths[-1] * grid * grid,
        preprocessing=Preprocessing(size),
    )


def _build(config: ModelConfig, size: int) -> Backbone:
    if size < 32:
        raise ValueError(f"size: resnet needs at least 32 pixels, got {size}")
    return residual_net(size, config.width)


ENTRY = Entry(build=_build, size=96)
