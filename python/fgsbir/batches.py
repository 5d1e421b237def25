"""A training split in memory, and the batches of pairs drawn from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from .config import AugmentConfig
from .data.dataset import SketchPhotoSet
from .transforms import as_float, augment, source_size, to_ink


@dataclass(frozen=True)
class Batch:
    """B instances, each with one sketch and one photo.

    Attributes:
        sketch, photo: (B, 1, size, size) float ink.
        sketch_attributes, photo_attributes: (B, K) int8; None without annotation.
    """

    sketch: Tensor
    photo: Tensor
    sketch_attributes: Tensor | None
    photo_attributes: Tensor | None

    def to(self, device: str) -> Batch:
        """The same batch on a device."""
        return Batch(
            self.sketch.to(device),
            self.photo.to(device),
            None if self.sketch_attributes is None else self.sketch_attributes.to(device),
            None if self.photo_attributes is None else self.photo_attributes.to(device),
        )


class PairBatches:
    """Augmented batches, in which no instance occurs twice.

    An epoch shows every instance that has both a sketch and a photo once; of several sketches or
    photos of an instance it shows a random one. All images are resized once and stay in memory as
    uint8 (50 KB each at 225 pixels).

    Args:
        data: the training split.
        size: side of the images in pixels.
        batch_size: instances in a batch; an epoch is cut into batches as equal as possible, so
            that none is left with too few negatives.
        config: augmentation.
        generator: a CPU generator, the only source of randomness.

    Raises:
        ValueError: with fewer than two instances, since there is no negative then.
    """

    def __init__(
        self,
        data: SketchPhotoSet,
        size: int,
        batch_size: int,
        config: AugmentConfig,
        generator: Generator,
    ) -> None:
        both = np.intersect1d(data.sketch_labels, data.photo_labels)
        if len(both) < 2:
            raise ValueError(
                f"{data.name}: training needs at least two instances with a sketch and a photo, "
                f"got {len(both)}"
            )
        self.size = size
        self.config = config
        self.generator = generator
        self._count = -(-len(both) // batch_size)
        self._sketches = to_ink(data.sketches, source_size(size))
        self._photos = to_ink(data.edges, source_size(size))
        self._sketch_attributes = _attributes(data, data.sketch_attributes, len(data.sketches))
        self._photo_attributes = _attributes(data, data.photo_attributes, len(data.photos))
        self._sketches_of = [torch.tensor(np.flatnonzero(data.sketch_labels == y)) for y in both]
        self._photos_of = [torch.tensor(np.flatnonzero(data.photo_labels == y)) for y in both]

    def __len__(self) -> int:
        """Batches in an epoch."""
        return self._count

    def __iter__(self) -> Iterator[Batch]:
        order = torch.randperm(len(self._sketches_of), generator=self.generator)
        for chosen in order.tensor_split(self._count):
            sketches = self._one_of_each(self._sketches_of, chosen)
            photos = self._one_of_each(self._photos_of, chosen)
            mirrored = torch.rand(len(chosen), generator=self.generator) < self.config.flip
            yield Batch(
                self._augment(self._sketches[sketches], mirrored),
                self._augment(self._photos[photos], mirrored),
                None if self._sketch_attributes is None else self._sketch_attributes[sketches],
                None if self._photo_attributes is None else self._photo_attributes[photos],
            )

    def _augment(self, inks: Tensor, mirrored: Tensor) -> Tensor:
        return augment(as_float(inks), self.size, self.config, self.generator, mirrored)

    def _one_of_each(self, members: list[Tensor], chosen: Tensor) -> Tensor:
        """(B,) indices of a random image of each chosen instance."""
        share = torch.rand(len(chosen), generator=self.generator).tolist()
        picks = zip(chosen.tolist(), share, strict=True)
        return torch.stack([members[i][int(u * len(members[i]))] for i, u in picks])


def hold_out(data: SketchPhotoSet, count: int, seed: int) -> tuple[SketchPhotoSet, SketchPhotoSet]:
    """Splits a set by instance into one to train on and one of `count` instances to score.

    Raises:
        ValueError: when fewer than two instances would be left to train on.
    """
    labels = np.unique(np.concatenate([data.sketch_labels, data.photo_labels]))
    if not 0 < count <= len(labels) - 2:
        raise ValueError(
            f"holdout: expected 1 to {len(labels) - 2} of the {len(labels)} instances of "
            f"{data.name}, got {count}"
        )
    held = np.random.default_rng(seed).permutation(labels)[:count]
    held_sketches, held_photos = np.isin(data.sketch_labels, held), np.isin(data.photo_labels, held)
    rest = data.take(~held_sketches, ~held_photos)
    gallery = data.take(held_sketches, held_photos)
    return (
        replace(rest, name=f"{data.name} without {count} held out"),
        replace(gallery, name=f"{data.name}, {count} held out"),
    )


def _attributes(data: SketchPhotoSet, values: NDArray[np.int8] | None, count: int) -> Tensor | None:
    """(count, K) int8; all unknown if only the other domain is annotated, None if neither is."""
    if data.sketch_attributes is None and data.photo_attributes is None:
        return None
    if values is None:
        return torch.full((count, len(data.attribute_names)), -1, dtype=torch.int8)
    return torch.tensor(values)
