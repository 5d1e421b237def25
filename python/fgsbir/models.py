"""Networks that map a line image to an embedding and to attribute logits.

Sketches and edge maps go through the same weights: the two branches of a triplet network are one
network, called once on both.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from .config import Backbone

INK_MEAN, INK_STD = 0.05, 0.2
"""Rough statistics of line images in [0, 1]; centred inputs let a network without batch
normalisation train from scratch."""


class Output(NamedTuple):
    """What a model gives for B images.

    Attributes:
        embedding: (B, D), rows of unit length.
        logits: (B, K) attribute predictions before the sigmoid; None without attributes.
    """

    embedding: Tensor
    logits: Tensor | None


class RetrievalModel(nn.Module):
    """A trunk of convolutions with two heads: the embedding and the attributes.

    Args:
        trunk: maps (B, 1, size, size) to features (B, feature_dim).
        feature_dim: width of the trunk's features, which both heads read.
        size: side of the square input in pixels.
        embedding_dim: D.
        attributes: K; 0 leaves the attribute head out.
        dropout: share of the features that training drops, the same for both heads.
    """

    def __init__(
        self,
        trunk: nn.Module,
        feature_dim: int,
        size: int,
        *,
        embedding_dim: int = 256,
        attributes: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.size = size
        self.embedding_dim = embedding_dim
        self.attributes = attributes
        self.trunk = trunk
        self.dropout = nn.Dropout(dropout)
        self.embedding = nn.Linear(feature_dim, embedding_dim)
        self.attribute_head = nn.Linear(feature_dim, attributes) if attributes else None
        nn.init.xavier_uniform_(self.embedding.weight)
        nn.init.zeros_(self.embedding.bias)
        if self.attribute_head is not None:
            # Near probability 1/2 at first: the features of a network without normalisation are
            # large, and confident wrong guesses would drown the ranking for many epochs.
            nn.init.normal_(self.attribute_head.weight, std=1e-3)
            nn.init.zeros_(self.attribute_head.bias)

    def forward(self, ink: Tensor) -> Output:
        """Embeds (B, 1, size, size) images in [0, 1], ink 1 on background 0."""
        features = self.features(ink)
        # float32 even under autocast: the loss subtracts distances that differ little
        embedding = F.normalize(self.embedding(features).float(), dim=1)
        logits = self.attribute_head(features).float() if self.attribute_head else None
        return Output(embedding, logits)

    def features(self, ink: Tensor) -> Tensor:
        """What the heads read: (B, feature_dim) of (B, 1, size, size) images in [0, 1]."""
        if ink.shape[1:] != (1, self.size, self.size):
            raise ValueError(
                f"ink: expected (B, 1, {self.size}, {self.size}), got {tuple(ink.shape)}"
            )
        features: Tensor = self.dropout(self.trunk((ink - INK_MEAN) / INK_STD))
        return features


def sketch_a_net_trunk(feature_dim: int = 512, *, batch_norm: bool = False) -> nn.Sequential:
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

    trunk = nn.Sequential(
        *conv(1, 64, 15, stride=3),  # 225 -> 71
        nn.MaxPool2d(3, stride=2),  # 35
        *conv(64, 128, 5),  # 31
        nn.MaxPool2d(3, stride=2),  # 15
        *conv(128, 256, 3, padding=1),
        *conv(256, 256, 3, padding=1),
        *conv(256, 256, 3, padding=1),
        nn.MaxPool2d(3, stride=2),  # 7
        *conv(256, feature_dim, 7),  # fc6
        nn.Flatten(),
    )
    _scale_for_relu(trunk)
    return trunk


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


def residual_trunk(width: int = 32, cells: int = 3) -> tuple[nn.Sequential, int]:
    """A strided stem and four residual stages of one block each, for input of any size.

    The last map is averaged over a grid of cells x cells, not over the whole image: fine-grained
    retrieval has to know where a line is. Returns the trunk and its feature width.
    """
    widths = (width, 2 * width, 4 * width, 8 * width)
    layers: list[nn.Module] = [
        nn.Conv2d(1, width, 5, stride=2, padding=2, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    ]
    for inputs, outputs in zip((width, *widths), widths, strict=False):
        layers.append(ResidualBlock(inputs, outputs, stride=1 if inputs == outputs else 2))
    trunk = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(cells), nn.Flatten())
    _scale_for_relu(trunk)
    return trunk, widths[-1] * cells * cells


def build_model(
    name: Backbone,
    *,
    size: int | None = None,
    width: int = 32,
    batch_norm: bool = False,
    embedding_dim: int = 256,
    attributes: int = 0,
    dropout: float = 0.0,
) -> RetrievalModel:
    """A backbone by name, with freshly drawn weights.

    Args:
        name: ``"sketchanet"``, the paper's, or ``"resnet"``, a small residual network.
        size: side of the input in pixels; None for the backbone's own: 225 or 96.
        width: channels of the first stage of ``resnet``; ``sketchanet`` has the paper's.
        batch_norm: whether ``sketchanet`` normalises after every convolution; ``resnet`` always
            does.
        embedding_dim: D.
        attributes: K; 0 leaves the attribute head out.
        dropout: share of the features before both heads that training drops.

    Raises:
        ValueError: for an unknown name or an impossible size.
    """
    if name == "sketchanet":
        if size not in (None, 225):
            raise ValueError(f"size: sketchanet has a fixed input of 225 pixels, got {size}")
        trunk, features, size = sketch_a_net_trunk(batch_norm=batch_norm), 512, 225
    elif name == "resnet":
        size = 96 if size is None else size
        if size < 32:
            raise ValueError(f"size: resnet needs at least 32 pixels, got {size}")
        trunk, features = residual_trunk(width)
    else:
        raise ValueError(f"backbone: expected 'sketchanet' or 'resnet', got {name!r}")
    return RetrievalModel(
        trunk,
        features,
        size,
        embedding_dim=embedding_dim,
        attributes=attributes,
        dropout=dropout,
    )


def _scale_for_relu(trunk: nn.Module) -> None:
    """Weights that keep the variance through ReLU layers (He et al., 2015); biases at 0."""
    for layer in trunk.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
