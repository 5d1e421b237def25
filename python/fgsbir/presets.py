"""Settings that work, chosen on a held-out part of the training split of QMUL Shoe.

Each setting was compared with ``holdout=60``, never on the test split. From scratch on a few
hundred pairs, batch-hard triplets alone collapse to one point: the contrastive term keeps all
photos of the batch apart until the triplets can take over.
"""

from __future__ import annotations

from .config import AugmentConfig, LossConfig, ModelConfig, OptimConfig, TrainConfig

RESNET = TrainConfig(
    model=ModelConfig("resnet", dropout=0.1),
    loss=LossConfig(contrastive_weight=1.0),
    optim=OptimConfig(epochs=200, batch_size=32, lr=1e-3),
    augment=AugmentConfig(rotate=6, scale=0.07, shear=0.07, shift=0.04, elastic=0.015, cutout=0.4),
)

SKETCHANET = TrainConfig(
    model=ModelConfig("sketchanet", dropout=0.3),
    loss=LossConfig(contrastive_weight=1.0),
    optim=OptimConfig(epochs=120, batch_size=32, lr=3e-4),
    augment=AugmentConfig(rotate=4, scale=0.05, shear=0.05, shift=0.03, elastic=0.01, cutout=0.3),
)

PRESETS: dict[str, TrainConfig] = {"resnet": RESNET, "sketchanet": SKETCHANET}
"""By backbone: the defaults of ``fgsbir train``."""

QUICKSTART = TrainConfig(
    model=ModelConfig("resnet", size=64, width=24, dropout=0.1),
    loss=LossConfig(contrastive_weight=1.0),
    optim=OptimConfig(batch_size=32, lr=1e-3, warmup_epochs=2),
    augment=AugmentConfig(rotate=4, scale=0.05, shear=0.05, shift=0.03, elastic=0.01, cutout=0.3),
)
"""A few minutes on the synthetic set."""
