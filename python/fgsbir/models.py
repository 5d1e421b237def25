"""Networks that map a line image to an embedding and to attribute logits.

Sketches and edge maps go through the same weights: the two branches of a triplet network are one
network, called once on both.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from .config import Backbone, Head

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


class Trunk(NamedTuple):
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


class LocalEmbedding(nn.Module):
    """Every cell of a map embedded by the same weights: (B, C, h, w) to (B, channels * h * w).

    With a few hundred pairs a linear layer over all cells has to learn for every place anew what a
    line means; this one learns it once, and still says where it is.
    """

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.cell = nn.Conv2d(channels, outputs, 1)

    def forward(self, cells: Tensor) -> Tensor:
        embedded: Tensor = self.cell(cells).flatten(1)
        return embedded


class RetrievalModel(nn.Module):
    """A trunk of convolutions with two heads: the embedding and the attributes.

    Args:
        trunk: the convolutions.
        size: side of the square input in pixels.
        head: what embeds: ``"global"``, a linear layer over the features, or ``"local"``, one
            over the channels of each cell of the last map (:class:`LocalEmbedding`).
        embedding_dim: D; of local embeddings the next multiple of the number of cells.
        attributes: K; 0 leaves the attribute head out.
        dropout: share of what both heads read that training drops.
    """

    def __init__(
        self,
        trunk: Trunk,
        size: int,
        *,
        head: Head = "global",
        embedding_dim: int = 256,
        attributes: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.size = size
        self.head = head
        self.attributes = attributes
        self.feature_dim = trunk.width
        self.trunk = trunk.layers
        self._to_map = trunk.to_map
        self.dropout = nn.Dropout(dropout)
        if head == "global":
            self.embedding_dim = embedding_dim
            linear: nn.Linear | nn.Conv2d = nn.Linear(trunk.width, embedding_dim)
            self.embedding: nn.Module = linear
        else:
            cells = trunk.side**2
            channels = -(-embedding_dim // cells)
            self.embedding_dim = channels * cells
            self.embedding = LocalEmbedding(trunk.channels, channels)
            linear = self.embedding.cell
        self.attribute_head = nn.Linear(trunk.width, attributes) if attributes else None
        nn.init.xavier_uniform_(linear.weight)
        assert linear.bias is not None
        nn.init.zeros_(linear.bias)
        if self.attribute_head is not None:
            # Near probability 1/2 at first: the features of a network without normalisation are
            # large, and confident wrong guesses would drown the ranking for many epochs.
            nn.init.normal_(self.attribute_head.weight, std=1e-3)
            nn.init.zeros_(self.attribute_head.bias)

    def forward(self, ink: Tensor) -> Output:
        """Embeds (B, 1, size, size) images in [0, 1], ink 1 on background 0."""
        cells = self._map(ink)
        features = self._features(cells) if self.reads_features else None
        embedded = self.embedding(features if self.head == "global" else self.dropout(cells))
        # float32 even under autocast: the loss subtracts distances that differ little
        embedding = F.normalize(embedded.float(), dim=1)
        logits = self.attribute_head(features).float() if self.attribute_head else None
        return Output(embedding, logits)

    @property
    def reads_features(self) -> bool:
        """Whether a head reads what lies behind the last map; else those layers do not learn."""
        return self.head == "global" or self.attribute_head is not None

    def features(self, ink: Tensor) -> Tensor:
        """(B, feature_dim) of (B, 1, size, size) images in [0, 1]: what a global head reads."""
        return self._features(self._map(ink))

    def _map(self, ink: Tensor) -> Tensor:
        if ink.shape[1:] != (1, self.size, self.size):
            raise ValueError(
                f"ink: expected (B, 1, {self.size}, {self.size}), got {tuple(ink.shape)}"
            )
        cells: Tensor = self.trunk[: self._to_map]((ink - INK_MEAN) / INK_STD)
        return cells

    def _features(self, cells: Tensor) -> Tensor:
        features: Tensor = self.dropout(self.trunk[self._to_map :](cells))
        return features


def sketch_a_net_trunk(*, batch_norm: bool = False) -> Trunk:
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
    _scale_for_relu(layers)
    return Trunk(layers, len(to_map), channels=256, side=7, width=512)


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


def residual_trunk(size: int, width: int = 32, grid: int = 3) -> Trunk:
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
    trunk = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(grid), nn.Flatten())
    _scale_for_relu(trunk)
    side = -(-size // 16)
    return Trunk(trunk, len(layers), widths[-1], side, widths[-1] * grid * grid)


def build_model(
    name: Backbone,
    *,
    size: int | None = None,
    width: int = 32,
    batch_norm: bool = False,
    head: Head = "global",
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
        head, embedding_dim, attributes, dropout: see :class:`RetrievalModel`.

    Raises:
        ValueError: for an unknown name or an impossible size.
    """
    if name == "sketchanet":
        if size not in (None, 225):
            raise ValueError(f"size: sketchanet has a fixed input of 225 pixels, got {size}")
        trunk, size = sketch_a_net_trunk(batch_norm=batch_norm), 225
    elif name == "resnet":
        size = 96 if size is None else size
        if size < 32:
            raise ValueError(f"size: resnet needs at least 32 pixels, got {size}")
        trunk = residual_trunk(size, width)
    else:
        raise ValueError(f"backbone: expected 'sketchanet' or 'resnet', got {name!r}")
    return RetrievalModel(
        trunk,
        size,
        head=head,
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
