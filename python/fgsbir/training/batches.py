"""Images of a training split in memory, and the batches of pairs drawn from them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from ..config import AugmentConfig, Sampler
from ..data.dataset import SketchPhotoSet
from ..data.edges import PhotoEdges
from ..data.instance_attributes import instance_attributes
from ..models.preprocess import (
    Preprocessing,
    as_float,
    augment,
    photos_to_ink,
    sketches_to_ink,
    source_size,
    to_ink,
)
from .distributed import own_share
from .fingerprint import content_digest
from .sampler import attribute_batches

DrawnBatch = TypeVar("DrawnBatch")


@dataclass(frozen=True)
class Batch:
    """B instances, each with one sketch and one photo.

    Attributes:
        sketch, photo: (B, channels, size, size) float ink.
        sketch_attributes, photo_attributes: (B, K) int8; None without annotation.
    """

    sketch: Tensor
    photo: Tensor
    sketch_attributes: Tensor | None
    photo_attributes: Tensor | None

    @property
    def images(self) -> tuple[Tensor, Tensor]:
        """What goes through the network: sketches and photos."""
        return self.sketch, self.photo

    def to(self, device: str | torch.device) -> Batch:
        """The same batch on a device."""
        return Batch(
            self.sketch.to(device),
            self.photo.to(device),
            None if self.sketch_attributes is None else self.sketch_attributes.to(device),
            None if self.photo_attributes is None else self.photo_attributes.to(device),
        )


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


class AugmentedBatches(ABC, Generic[DrawnBatch]):
    """Batches of the images of a split, augmented anew in every epoch.

    Args:
        data: the split.
        preprocessing: what the model is given.
        count: batches in an epoch.
        config: augmentation.
        generator: a CPU generator, the source of the order.

    Attributes:
        digest: SHA-256 of what the batches are drawn from.
    """

    def __init__(
        self,
        data: SketchPhotoSet,
        preprocessing: Preprocessing,
        count: int,
        config: AugmentConfig,
        generator: Generator,
    ) -> None:
        self.preprocessing = preprocessing
        self.config = config
        self.generator = generator
        self._count = count
        self._images = SplitImages(data, preprocessing)
        self.digest = self._images.digest

    def __len__(self) -> int:
        """Batches in an epoch."""
        return self._count

    @abstractmethod
    def draw(self, own: Generator) -> Iterator[DrawnBatch]:
        """One epoch, everything but the order drawn from a generator of this process's own."""

    def _augment(self, inks: Tensor, mirrored: Tensor, own: Generator) -> Tensor:
        return augment(as_float(inks), self.preprocessing.size, self.config, own, mirrored)

    def _augment_photos(self, inks: Tensor, mirrored: Tensor, own: Generator) -> Tensor:
        """The same but for the width of lines, where photos are no lines."""
        thicken = self.config.thicken if self.preprocessing.photos == "edges" else 0
        config = replace(self.config, thicken=thicken)
        return augment(as_float(inks), self.preprocessing.size, config, own, mirrored)


class PairBatches(AugmentedBatches[Batch]):
    """Augmented batches, in which no instance occurs twice.

    An epoch shows every instance that has both a sketch and a photo once; of several sketches or
    photos of an instance it shows a random one. Under torch.distributed every process gets its
    share of each batch.

    Args:
        data: the training split.
        preprocessing: what the model is given.
        batch_size: instances in a batch; an epoch is cut into batches as equal as possible, so
            that none is left with too few negatives.
        config: augmentation.
        generator: a CPU generator, the source of the order.
        sampler: ``"random"``, or ``"attributes"`` to put instances together that share attributes.

    Raises:
        ValueError: with fewer than two instances, since there is no negative then; for the sampler
            ``"attributes"`` without any known attribute.
    """

    def __init__(
        self,
        data: SketchPhotoSet,
        preprocessing: Preprocessing,
        batch_size: int,
        config: AugmentConfig,
        generator: Generator,
        sampler: Sampler = "random",
    ) -> None:
        both = np.intersect1d(data.sketch_labels, data.photo_labels)
        if len(both) < 2:
            raise ValueError(
                f"{data.name}: training needs at least two instances with a sketch and a photo, "
                f"got {len(both)}"
            )
        self._described = instance_attributes(data, both) if sampler == "attributes" else None
        super().__init__(data, preprocessing, -(-len(both) // batch_size), config, generator)
        self._sketches_of = [torch.tensor(np.flatnonzero(data.sketch_labels == y)) for y in both]
        self._photos_of = [torch.tensor(np.flatnonzero(data.photo_labels == y)) for y in both]

    def __iter__(self) -> Iterator[Batch]:
        return self.draw(self.generator)

    def draw(self, own: Generator) -> Iterator[Batch]:
        inks = self._images
        for chosen in map(own_share, self._order()):
            sketches = _one_of_each(self._sketches_of, chosen, own)
            photos = _one_of_each(self._photos_of, chosen, own)
            mirrored = torch.rand(len(chosen), generator=own) < self.config.flip
            yield Batch(
                self._augment(inks.sketches[sketches], mirrored, own),
                self._augment_photos(inks.photos[photos], mirrored, own),
                None if inks.sketch_attributes is None else inks.sketch_attributes[sketches],
                None if inks.photo_attributes is None else inks.photo_attributes[photos],
            )

    def _order(self) -> Sequence[Tensor]:
        """The instances of each batch of an epoch."""
        if self._described is not None:
            return attribute_batches(self._described, self._count, self.generator)
        order = torch.randperm(len(self._sketches_of), generator=self.generator)
        return order.tensor_split(self._count)


class JointBatches:
    """Batches of several splits in random order, each batch of one of them alone.

    So every negative is of the same category as its sketch.
    """

    def __init__(self, parts: Sequence[PairBatches], generator: Generator) -> None:
        self.parts = parts
        self.generator = generator
        self.digest = content_digest(*(part.digest for part in parts))

    def __len__(self) -> int:
        """Batches in an epoch."""
        return sum(map(len, self.parts))

    def draw(self, own: Generator) -> Iterator[Batch]:
        """One epoch of all parts; see :meth:`PairBatches.draw`."""
        turns = torch.tensor([i for i, part in enumerate(self.parts) for _ in range(len(part))])
        order = torch.randperm(len(turns), generator=self.generator)
        epochs = [part.draw(own) for part in self.parts]
        for i in turns[order].tolist():
            yield next(epochs[i])


def _one_of_each(members: list[Tensor], chosen: Tensor, own: Generator) -> Tensor:
    """(B,) indices of a random image of each chosen instance."""
    share = torch.rand(len(chosen), generator=own).tolist()
    picks = zip(chosen.tolist(), share, strict=True)
    return torch.stack([members[i][int(u * len(members[i]))] for i, u in picks])


def _attributes(data: SketchPhotoSet, values: NDArray[np.int8] | None, count: int) -> Tensor | None:
    """(count, K) int8; all unknown if only the other domain is annotated, None if neither is."""
    if data.sketch_attributes is None and data.photo_attributes is None:
        return None
    if values is None:
        return torch.full((count, len(data.attribute_names)), -1, dtype=torch.int8)
    return torch.tensor(values)
