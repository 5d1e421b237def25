"""Sketch-a-Net, the paper's backbone."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from ..config import AugmentConfig, LossConfig, ModelConfig, OptimConfig, TrainConfig
from .backbone import PRETRAINING, Backbone, Entry, scale_for_relu
from .preprocess import Preprocessing

SIZE = 225


def sketch_a_net(*, batch_norm: bool = False) -> Backbone:
    """conv1 to fc6 of Sketch-a-Net as in "Sketch Me That Shoe" (CVPR 2016), for 225x225 input.

    fc6 is the 7x7 convolution that turns the last (256, 7, 7) map into a feature vector. The
    original draws its weights as Caffe does; ours are scaled for ReLU (He et al., 2015), so that
    it trains without pretraining. `batch_norm` normalises what every convolution gives, which the
    original does not: it reaches in minutes what takes hours without.
    """

    def conv(
        inputs: int, outputs: int, kernel: int, *, stride: int = 1, padding: int = 0
    ) -> list[nn.Module]:
        layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, kernel, stride, padding)]
        if batch_norm:
            layers.append(nn.BatchNorm2d(outputs))
        return [*layers, nn.ReLU(inplace=True)]

    to_map = nn.Sequential(
        *conv(1, 64, 15, stride=3),  # 225 -> 71
        nn.MaxPool2d(3, stride=2),  # 35
        *conv(64, 128, 5),  # 31
        nn.MaxPool2d(3, stride=2),  # 15
        *conv(128, 256, 3, padding=1),
        *conv(256, 256, 3, padding=1),
        *conv(256, 256, 3, padding=1),
        nn.MaxPool2d(3, stride=2),  # 7
    )
    layers = nn.Sequential(*to_map, *conv(256, 512, 7), nn.Flatten())  # fc6
    scale_for_relu(layers)
    return Backbone(
        layers, len(to_map), channels=256, side=7, width=512, preprocessing=Preprocessing(SIZE)
    )


def _build(config: ModelConfig, size: int) -> Backbone:
    if size != SIZE:
        raise ValueError(f"size: sketchanet has a fixed input of {SIZE} pixels, got {size}")
    return sketch_a_net(batch_norm=config.batch_norm)


ENTRY = Entry(
    build=_build,
    size=SIZE,
    training=TrainConfig(
        model=ModelConfig(batch_norm=True, head="local", dropout=0.3),
        loss=LossConfig(contrastive_weight=10.0),
        optim=OptimConfig(epochs=20, batch_size=32, lr=1e-3, warmup_epochs=1),
        augment=AugmentConfig(
            rotate=4, scale=0.05, shear=0.05, shift=0.03, elastic=0.01, cutout=0.3
        ),
        edge_variants=True,
    ),
    pretraining=replace(
        PRETRAINING,
        model=ModelConfig(batch_norm=True, dropout=0.3),
        optim=replace(PRETRAINING.optim, lr=1e-3),
    ),
)
