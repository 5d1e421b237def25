"""What batches of a split see in tests."""

from __future__ import annotations

from functools import partial

from fgsbir.config import AugmentConfig
from fgsbir.data import SketchPhotoSet
from fgsbir.models.preprocess import Preprocessing
from fgsbir.training.batches import ImagesOf
from fgsbir.training.training_images import AugmentedImages, SplitImages


def seen(size: int, config: AugmentConfig | None = None) -> ImagesOf:
    """Edge maps and sketches of so many pixels a side, augmented."""
    return partial(_see, size=size, config=config or AugmentConfig())


def _see(data: SketchPhotoSet, *, size: int, config: AugmentConfig) -> AugmentedImages:
    return AugmentedImages(SplitImages(data, Preprocessing(size)), config)
