"""Images of a training split in memory, and what batches get of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from ..config import AugmentConfig
from ..data.dataset import SketchPhotoSet
from ..data.edges import PhotoEdges
from ..models.preprocess import (
    Preprocessing,
    as_float,
    augment,
    photos_to_ink,
    sketches_to_ink,
    source_size,
    to_ink,
)
from .fingerprint import content_digest


class SplitImages:
    """The images and attributes of a split, resized once and kept in memory as uint8.

    Args:
        data: the split.
        preprocessing: what the model is given.

    Attributes:
        sketches, photos: (S, channels, H, H) and (P, channels, H, H) uint8 ink (50 KB a channel
            at 225 pixels).
        sketch_attributes, photo_attributes: (S, K) and (P, K) int8; None without annotation.
        digest: SHA-256 of all of it, and of which sketch shows which photo.
    """

    def __init__(self, data: SketchPhotoSet, preprocessing: Preprocessing) -> None:
        self.preprocessing = preprocessing
        source = replace(preprocessing, size=source_size(preprocessing.size))
        self.photos = photos_to_ink(data.photos, source, edges=data.edges)
        # Edge maps stand in for the sketches of photos that nobody sketched.
        of_photos = isinstance(data.sketches, PhotoEdges)
        to_sketch_ink = to_ink if of_photos else sketches_to_ink
        self.sketches = to_sketch_ink(data.sketches, source)
        self.sketch_attributes = _attributes(data, data.sketch_attributes, len(data.sketches))
        self.photo_attributes = _attributes(data, data.photo_attributes, len(data.photos))
        self.digest = content_digest(
            self.sketches.numpy(),
            self.photos.numpy(),
            data.sketch_labels,
            data.photo_labels,
            data.sketch_attributes,
            data.photo_attributes,
        )


class TrainingImages(ABC):
    """What batches get of the images of a split.

    Args:
        images: of the split.
        config: augmentation.

    Attributes:
        sketch_attributes, photo_attributes, digest: of the images.
        sketch_augmentation, photo_augmentation: how each is changed. The width of lines is only
            changed where there are lines.
    """

    def __init__(self, images: SplitImages, config: AugmentConfig) -> None:
        self.preprocessing = images.preprocessing
        self.sketch_attributes = images.sketch_attributes
        self.photo_attributes = images.photo_attributes
        self.digest = images.digest
        thicken = config.thicken if images.preprocessing.photos == "edges" else 0
        self.sketch_augmentation = config
        self.photo_augmentation = replace(config, thicken=thicken)

    def mirror(self, count: int, own: Generator) -> Tensor:
        """(count,) bool: the sketches to mirror, each together with its photos."""
        return torch.rand(count, generator=own) < self.sketch_augmentation.flip

    @abstractmethod
    def sketches(self, which: Tensor, mirrored: Tensor, own: Generator) -> Tensor:
        """What the network gets of B sketches, changed at random.

        Args:
            which: (B,) indices.
            mirrored: (B,) bool.
            own: source of randomness.
        """

    @abstractmethod
    def photos(self, which: Tensor, mirrored: Tensor, own: Generator) -> Tensor:
        """The same of photos."""


class AugmentedImages(TrainingImages):
    """Images, augmented anew each time."""

    def __init__(self, images: SplitImages, config: AugmentConfig) -> None:
        super().__init__(images, config)
        self._images = images

    def sketches(self, which: Tensor, mirrored: Tensor, own: Generator) -> Tensor:
        inks = as_float(self._images.sketches[which])
        return augment(inks, self.preprocessing.size, self.sketch_augmentation, own, mirrored)

    def photos(self, which: Tensor, mirrored: Tensor, own: Generator) -> Tensor:
        inks = as_float(self._images.photos[which])
        return augment(inks, self.preprocessing.size, self.photo_augmentation, own, mirrored)


def _attributes(data: SketchPhotoSet, values: NDArray[np.int8] | None, count: int) -> Tensor | None:
    """(count, K) int8; all unknown if only the other domain is annotated, None if neither is."""
    if data.sketch_attributes is None and data.photo_attributes is None:
        return None
    if values is None:
        return torch.full((count, len(data.attribute_names)), -1, dtype=torch.int8)
    return torch.tensor(values)
