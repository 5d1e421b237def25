"""Configuration of runs: frozen dataclasses that survive a round trip to JSON."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from typing_extensions import Self  # of typing from Python 3.11 on

BackboneName = Literal["resnet", "sketchanet", "efficientnet-lite0", "efficientnet-lite2"]
"""The backbones there are: each is the module of its name in :mod:`fgsbir.models`, with ``_`` for
``-``."""
Head = Literal["global", "local", "cells"]
AttributesFrom = Literal["features", "embedding"]
Precision = Literal["auto", "float32", "bfloat16"]
Views = Literal["single", "flip", "ten"]
Sampler = Literal["random", "attributes"]

# As in fgsbir_ext.types, which loads torch; `fgsbir --help` must not wait for that.
Metric = Literal["sqeuclidean", "euclidean", "cosine"]
AttributeMetric = Literal["sqeuclidean", "euclidean", "cross_entropy"]
Margin = float | Literal["soft"]


@dataclass(frozen=True)
class ModelConfig:
    """The network."""

    backbone: BackboneName = "resnet"
    """The paper's Sketch-a-Net, a small residual network that trains faster, or an
    EfficientNet-Lite, which takes photos in colour."""
    size: int | None = None
    """Side of the input in pixels; sketchanet is fixed to 225. Unless told, resnet takes 96,
    efficientnet-lite0 224, efficientnet-lite2 256."""
    width: int = 32
    """Channels of the first stage of resnet."""
    batch_norm: bool = False
    """Normalise after every convolution of sketchanet, as the paper's does not; resnet always
    does."""
    maps: int = 1
    """How many maps of the backbone, the last ones, are put side by side. Each cell then has the
    channels of all of them. An efficientnet has 2, the others 1."""
    head: Head = "global"
    """What the embedding is made of: all features by one linear layer (global), each cell of the
    map by the same weights (local), which learns more from few pairs, or the cells as they are
    (cells), without weights of its own."""
    embedding_dim: int = 256
    """D, the length of an embedding; local ones take the next multiple of the number of cells."""
    attributes_from: AttributesFrom = "features"
    """What attributes are predicted from: the features of the backbone, beside the embedding, or
    the embedding before it is made a unit vector, which then learns from attributes even where the
    backbone is frozen."""
    dropout: float = 0.5
    """Share of what both heads read that training drops."""

    def check(self) -> None:
        """Raises a ValueError for a value out of range."""
        _require(0 <= self.dropout < 1, "dropout", "at least 0 and below 1", self.dropout)
        _require(self.width > 0, "width", "above 0", self.width)
        _require(self.embedding_dim > 0, "embedding_dim", "above 0", self.embedding_dim)


@dataclass(frozen=True)
class LossConfig:
    """Eq. 1 of the paper, and how its triplets are chosen; see fgsbir_ext.AttributeTripletLoss."""

    margin: Margin = "soft"
    """Margin of L_theta; "soft" is softplus instead of a hinge."""
    attribute_margin: Margin = 0.3
    """Margin of L_a."""
    metric: Metric = "sqeuclidean"
    """d, the distance between embeddings."""
    attribute_metric: AttributeMetric = "sqeuclidean"
    """D, the distance between predicted attributes."""
    lambda_a: float = 0.1
    """Weight of L_a, ranking by predicted attributes."""
    lambda_s: float = 0.1
    """Weight of attribute prediction on the sketch."""
    lambda_pos: float = 0.1
    """Weight of attribute prediction on the positive photo."""
    lambda_neg: float = 0.1
    """Weight of attribute prediction on the negative photo."""
    attribute_guidance: float = 0.0
    """beta: how much mining prefers negatives that share the sketch's attributes."""
    embedding_scale: float = 4.0
    """Length that unit embeddings are given before the loss. A soft margin has its scale fixed,
    so this is what sets how steep it is: an inverse temperature of twice its square
    (for sqeuclidean; the cosine distance does not see it)."""
    contrastive_weight: float = 0.0
    """Weight of an extra term that is not in the paper: cross-entropy of the right photo (and the
    right sketch) among all of the batch, by softmax of -d at the same embedding_scale."""

    def check(self) -> None:
        """Raises a ValueError for a value out of range."""
        _require(self.embedding_scale > 0, "embedding_scale", "above 0", self.embedding_scale)
        weight = self.contrastive_weight
        _require(weight >= 0, "contrastive_weight", "0 or more", weight)


@dataclass(frozen=True)
class OptimConfig:
    """The optimizer and its schedule: linear warm-up, then a half cosine down to zero."""

    epochs: int = 100
    """Passes over all training pairs."""
    batch_size: int = 64
    """Pairs in a batch; every other photo of the batch is a candidate negative."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """AdamW, or SGD with Nesterov momentum 0.9."""
    lr: float = 1e-3
    """Learning rate at its highest."""
    weight_decay: float = 0.05
    """lambda_theta of the paper, on weights of layers only, not on biases or normalisation."""
    warmup_epochs: float = 5.0
    """Epochs until the learning rate is at its highest."""
    clip_norm: float = 5.0
    """Largest norm of the gradient of all weights; 0 for no limit."""
    average_decay: float = 0.0
    """Share of the old that a running average of the weights keeps in each step, 0.999 say; the
    average is then what is scored and saved. 0 for no average."""

    def check(self) -> None:
        """Raises a ValueError for a value out of range."""
        _require(self.epochs >= 1, "epochs", "1 or more", self.epochs)
        _require(self.batch_size >= 2, "batch_size", "2 or more", self.batch_size)
        _require(self.lr > 0, "lr", "above 0", self.lr)
        for name in ("weight_decay", "warmup_epochs", "clip_norm"):
            _require(getattr(self, name) >= 0, name, "0 or more", getattr(self, name))
        decay = self.average_decay
        _require(0 <= decay < 1, "average_decay", "at least 0 and below 1", decay)


@dataclass(frozen=True)
class AugmentConfig:
    """How far a training image is bent away from the original."""

    rotate: float = 8.0
    """Standard deviation of the rotation, in degrees."""
    scale: float = 0.1
    """Standard deviation of the logarithm of the scale, drawn for each axis."""
    shear: float = 0.1
    """Standard deviation of the shear."""
    shift: float = 0.05
    """Standard deviation of the translation, as a share of the image side."""
    elastic: float = 0.02
    """Standard deviation of a smooth displacement of every line, as a share of the side."""
    cutout: float = 0.5
    """Probability that a rectangle is erased."""
    thicken: float = 0.5
    """Probability that lines are made thicker, by up to two pixels."""
    flip: float = 0.0
    """Probability that a sketch and its photo are both mirrored."""

    def check(self) -> None:
        """Raises a ValueError for a value out of range."""
        for name, value in vars(self).items():
            if name in ("cutout", "thicken", "flip"):
                _require(0 <= value <= 1, name, "a probability", value)
            else:
                _require(value >= 0, name, "0 or more", value)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What every run that trains is set by."""

    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    seed: int = 0
    """Same seed, same machine, same number of threads: same weights, bit for bit (on CPU)."""
    holdout: int = 0
    """What to leave out of training and to score."""
    precision: Precision = "auto"
    """Type of the convolutions; bfloat16 halves the time where the processor has instructions for
    it and multiplies it where it has not, so auto asks the processor. The loss is in float32."""
    device: str = "cpu"
    """Where to train: cpu, cuda, cuda:1 ..."""

    def check(self) -> None:
        """Raises a ValueError for a value out of range."""
        for part in (self.model, self.optim, self.augment):
            part.check()
        _require(0 <= self.seed < 2**63, "seed", "0 or more, below 2**63", self.seed)
        _require(self.holdout >= 0, "holdout", "0 or more", self.holdout)

    def to_dict(self) -> dict[str, Any]:
        """As nested dictionaries of plain values, for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`; a field that does not exist raises a TypeError."""
        parts = {
            "model": ModelConfig,
            "loss": LossConfig,
            "optim": OptimConfig,
            "augment": AugmentConfig,
        }
        return cls(**{k: parts[k](**v) if k in parts else v for k, v in values.items()})


@dataclass(frozen=True, kw_only=True)
class TrainConfig(RunConfig):
    """A training run."""

    loss: LossConfig = field(default_factory=LossConfig)
    holdout: int = 0
    """Instances (of each category) to leave out of training and to score as a gallery of their own,
    for choosing settings without looking at the test split."""
    sampler: Sampler = "random"
    """How pairs come into one batch: at random, or with others that share their attributes, so
    that the batch holds hard negatives."""
    edge_variants: bool = False
    """Also train on edge maps drawn anew from every photo with finer and with coarser lines, beside
    the one that came with it."""
    eval_every: int = 10
    """Epochs between two scorings of what is held out."""
    init: str | None = None
    """Folder of `fgsbir pretrain`, or of an earlier `fgsbir train`: start from its backbone; or
    imagenet: from the published weights of an efficientnet."""
    frozen_views: int = 0
    """More than 0 freezes the backbone: what it gives is computed once for so many views of each
    image, one as it is and the others augmented, and kept, so that an epoch takes less than a
    second. A local head then starts as the whitening of these maps."""
    trained_layers: int = 0
    """How many of the last layers that lead to the map of a frozen backbone learn all the
    same: convolutions, or blocks of an efficientnet; those between two maps count as one."""

    def check(self) -> None:
        """Raises a ValueError for a value out of range."""
        super().check()
        self.loss.check()
        _require(self.eval_every >= 1, "eval_every", "1 or more", self.eval_every)
        _require(self.frozen_views >= 0, "frozen_views", "0 or more", self.frozen_views)
        _require(self.trained_layers >= 0, "trained_layers", "0 or more", self.trained_layers)
        if self.frozen_views and self.init is None:
            raise ValueError(
                "frozen_views: expected 0 without init, since a backbone of random weights sees "
                "nothing"
            )
        if self.trained_layers and not self.frozen_views:
            raise ValueError("trained_layers: expected 0 without frozen_views, where all learn")


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(RunConfig):
    """Pretraining of a backbone as a classifier of sketches."""

    holdout: int = 0
    """Images to leave out of training and to score after every epoch."""
    label_smoothing: float = 0.1
    """Share of the target that is spread over all classes."""

    def check(self) -> None:
        """Raises a ValueError for a value out of range."""
        super().check()
        smoothing = self.label_smoothing
        _require(0 <= smoothing < 1, "label_smoothing", "in [0, 1)", smoothing)


@dataclass(frozen=True)
class ExtraData:
    """Further training data. A score that it had a part in says so."""

    extra_sketches: Path | None = None
    """Folder of more sketches of the benchmark's train shoes, {photo}_{number}.png (Li et al., WACV
    2016)."""
    extra_photos: Path | None = None
    """Folder of photos that nobody sketched: the edges of each, bent, stand in for its sketch, in
    batches of their own."""
    mirror_extra_photos: bool = False
    """Flip those photos left to right, where they face the other way."""


@dataclass(frozen=True)
class EvalConfig:
    """How a split is ranked."""

    attribute_weight: float = 0.2
    """mu, the weight of predicted attributes beside the embedding; without meaning for a model that
    predicts none."""
    metric: Metric = "sqeuclidean"
    """d, the distance between embeddings."""
    attribute_metric: AttributeMetric = "sqeuclidean"
    """D, the distance between predicted attributes."""
    views: Views = "single"
    """What is embedded of an image: itself, it and its mirror image, or ten crops (the corners
    and the middle at 225/256 of the side, each also mirrored), as in the CVPR 2016 paper."""
    read_sketches: bool = True
    """Whether sketches are read before they are embedded: turned to dark on light, cleaned and
    fitted into the frame; without it they are taken as they are decoded."""
    hub_weight: float = 0.0
    """How much of a photo's mean distance to the nearest sketches of the training split is taken
    off its distances: hubs, near to sketches of anything, gain less than others."""
    hub_neighbours: int = 5
    """How many nearest ones."""

    def check(self) -> None:
        """Raise a ValueError for a value out of range."""
        for name in ("attribute_weight", "hub_weight"):
            value = getattr(self, name)
            _require(0 <= value < math.inf, name, "a finite number from 0", value)
        _require(self.hub_neighbours >= 1, "hub_neighbours", "1 or more", self.hub_neighbours)


def _require(holds: bool, name: str, expected: str, got: object) -> None:
    if not holds:
        raise ValueError(f"{name}: expected {expected}, got {got}")
