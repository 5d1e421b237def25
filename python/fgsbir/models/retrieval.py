"""Retrieval network that maps an image to an embedding and to attribute logits.

Sketches and photos go through the same weights: the two branches of a triplet network are one
network, called once on both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import AttributesFrom, Head
from .backbone import Backbone
from .whitening import whitening

PREDICTED = 0.5
"""Probability above which an attribute counts as predicted."""


class Output(NamedTuple):
    """What a model gives for B images.

    Attributes:
        embedding: (B, D), rows of unit length.
        logits: (B, K) attribute predictions before the sigmoid; None without attributes.
    """

    embedding: Tensor
    logits: Tensor | None


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

    @torch.no_grad()
    def whiten(self, domains: Iterable[Tensor]) -> None:
        """Makes it the whitening of maps, which is a better start for training than random weights.

        It must not give more channels than the maps have.

        Args:
            domains: (N, C, h, w) maps of each domain, sketches and photos; their means are taken
                off.
        """
        kept, channels = self.cell.weight.shape[:2]
        centred = [(maps - maps.mean(0)).flatten(1) for maps in domains]
        matrix = whitening(channels, kept, *centred)
        self.cell.weight.copy_(matrix.T[:, :, None, None])
        assert self.cell.bias is not None
        self.cell.bias.zero_()


class RetrievalModel(nn.Module):
    """A backbone of convolutions with two heads: the embedding and the attributes.

    Args:
        backbone: the convolutions.
        head: what embeds: ``"global"``, a linear layer over the features; ``"local"``, one over the
            channels of each cell of the map (:class:`LocalEmbedding`); or ``"cells"``,
            nothing: the map is the embedding, each channel normalised over the image, which
            takes off some of what tells a photo from a drawing (Ulyanov et al., 2016).
        embedding_dim: D; of local embeddings the next multiple of the number of cells, of cells as
            many numbers as they have.
        attributes: K; 0 leaves the attribute head out.
        attributes_from: what they are predicted from, the features or the embedding.
        dropout: share of what both heads read that training drops.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        head: Head = "global",
        embedding_dim: int = 256,
        attributes: int = 0,
        attributes_from: AttributesFrom = "features",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.preprocessing = backbone.preprocessing
        self.head = head
        self.attributes = attributes
        self.attributes_from = attributes_from
        self.feature_dim = backbone.width
        self.map_channels = backbone.channels
        self.trunk = backbone.layers  # by the name that checkpoints know
        self._to_map = backbone.to_map
        self.dropout = nn.Dropout(dropout)
        cells = backbone.side**2
        self.embedding: nn.Module
        if head == "global":
            self.embedding_dim = embedding_dim
            self.embedding = nn.Linear(backbone.width, embedding_dim)
        elif head == "cells":
            self.embedding_dim = backbone.channels * cells
            self.embedding = nn.Sequential(nn.InstanceNorm2d(backbone.channels), nn.Flatten())
        else:
            channels = -(-embedding_dim // cells)
            self.embedding_dim = channels * cells
            self.embedding = LocalEmbedding(backbone.channels, channels)
        known = backbone.width if attributes_from == "features" else self.embedding_dim
        self.attribute_head = nn.Linear(known, attributes) if attributes else None
        for layer in self.embedding.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                nn.init.xavier_uniform_(layer.weight)
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)
        if self.attribute_head is not None:
            # Near probability 1/2 at first: the features of a network without normalisation are
            # large, and confident wrong guesses would drown the ranking for many epochs.
            nn.init.normal_(self.attribute_head.weight, std=1e-3)
            nn.init.zeros_(self.attribute_head.bias)

    def forward(self, images: Tensor, after: int = 0) -> Output:
        """Embeds (B, channels, size, size) images in [0, 1], ink 1 on background 0.

        Args:
            images: B of them; or with `after`, what the first layers of the trunk gave for them.
            after: how many layers that were.
        """
        cells = self.map_of(images, after)
        features = self._features(cells) if self.reads_features else None
        embedded = self.embedding(features if self.head == "global" else self.dropout(cells))
        # float32 even under autocast: the loss subtracts distances that differ little
        embedding = F.normalize(embedded.float(), dim=1)
        logits = None
        if self.attribute_head is not None:
            known = self.dropout(embedded) if self.attributes_from == "embedding" else features
            logits = self.attribute_head(known).float()
        return Output(embedding, logits)

    @property
    def reads_features(self) -> bool:
        """Whether a head reads what lies behind the map; else those layers do not learn."""
        predicting = self.attribute_head is not None and self.attributes_from == "features"
        return self.head == "global" or predicting

    def features(self, ink: Tensor) -> Tensor:
        """(B, feature_dim) of images as :meth:`forward` takes them: what a global head reads."""
        return self._features(self.map_of(ink))

    def map_of(self, images: Tensor, after: int = 0) -> Tensor:
        """(B, map_channels, side, side), the map, of images as :meth:`forward` takes them."""
        given = images if after else self.preprocessing.normalised(images)
        cells: Tensor = self.trunk[after : self._to_map](given)
        return cells

    def freeze(self, count: int) -> None:
        """Lets the first `count` layers of the trunk, and those behind the map, not learn."""
        for layers in (self.trunk[:count], self.trunk[self._to_map :]):
            layers.requires_grad_(False)

    def digest_below(self, after: int) -> str:
        """SHA-256 of the weights of the first `after` layers of the trunk, and of what they are
        given: models of the same digest have the same maps behind them."""
        digest = hashlib.sha256(f"{after} {self.preprocessing}".encode())
        for name, value in self.trunk[:after].state_dict().items():
            digest.update(name.encode())
            digest.update(value.cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def layers_below(self, trained: int) -> int:
        """How many layers of the trunk lie below the last `trained` ones that lead to the map
        and have matrices of weights; normalisation after such a layer is not counted.

        Raises:
            ValueError: there are not so many.
        """
        weighted = [
            i
            for i in range(self._to_map)
            if any(weight.ndim > 1 for weight in self.trunk[i].parameters())
        ]
        if trained >= len(weighted):
            raise ValueError(
                f"trained_layers: expected fewer than the {len(weighted)} that the backbone has, "
                f"got {trained}; without --frozen-views all of them learn"
            )
        return weighted[-trained] if trained else self._to_map

    def _features(self, cells: Tensor) -> Tensor:
        features: Tensor = self.dropout(self.trunk[self._to_map :](cells))
        return features
