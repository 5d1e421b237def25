"""Batches of pairs of a training split."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Generator, Tensor

from ..config import Sampler
from ..data.dataset import SketchPhotoSet
from ..data.instance_attributes import instance_attributes
from .distributed import own_share
from .fingerprint import content_digest
from .sampler import attribute_batches
from .training_images import TrainingImages

DrawnBatch = TypeVar("DrawnBatch")
ImagesOf = Callable[[SketchPhotoSet], TrainingImages]
"""Gives the images of a split; called when all else about the split is known to be right."""


@dataclass(frozen=True)
class Batch:
    """B instances, each with one sketch and one photo.

    Attributes:
        sketch, photo: (B, channels, size, size) float ink, or what frozen layers gave for it.
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


class DrawnBatches(ABC, Generic[DrawnBatch]):
    """Batches of the images of a split, drawn anew in every epoch.

    Args:
        images: of the split.
        count: batches in an epoch.
        generator: a CPU generator, the source of the order.

    Attributes:
        images: what they are drawn from, by split.
        digest: SHA-256 of that.
    """

    def __init__(self, images: TrainingImages, count: int, generator: Generator) -> None:
        self.images = (images,)
        self.digest = images.digest
        self.generator = generator
        self._count = count
        self._images = images

    def __len__(self) -> int:
        """Batches in an epoch."""
        return self._count

    @abstractmethod
    def draw(self, own: Generator) -> Iterator[DrawnBatch]:
        """One epoch, everything but the order drawn from a generator of this process's own."""


class PairBatches(DrawnBatches[Batch]):
    """Batches of pairs, in which no instance occurs twice.

    An epoch shows every instance that has both a sketch and a photo once; of several sketches or
    photos of an instance it shows a random one. Under torch.distributed every process gets its
    share of each batch.

    Args:
        data: the training split.
        images_of: gives its images.
        batch_size: instances in a batch; an epoch is cut into batches as equal as possible, so
            that none is left with too few negatives.
        generator: a CPU generator, the source of the order.
        sampler: ``"random"``, or ``"attributes"`` to put instances together that share attributes.

    Raises:
        ValueError: with fewer than two instances, since there is no negative then; for the sampler
            ``"attributes"`` without any known attribute.
    """

    def __init__(
        self,
        data: SketchPhotoSet,
        images_of: ImagesOf,
        batch_size: int,
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
        super().__init__(images_of(data), -(-len(both) // batch_size), generator)
        self._sketches_of = [torch.tensor(np.flatnonzero(data.sketch_labels == y)) for y in both]
        self._photos_of = [torch.tensor(np.flatnonzero(data.photo_labels == y)) for y in both]

    def __iter__(self) -> Iterator[Batch]:
        return self.draw(self.generator)

    def draw(self, own: Generator) -> Iterator[Batch]:
        images = self._images
        for chosen in map(own_share, self._order()):
            sketches = _one_of_each(self._sketches_of, chosen, own)
            photos = _one_of_each(self._photos_of, chosen, own)
            mirrored = images.mirror(len(chosen), own)
            yield Batch(
                images.sketches(sketches, mirrored, own),
                images.photos(photos, mirrored, own),
                None if images.sketch_attributes is None else images.sketch_attributes[sketches],
                None if images.photo_attributes is None else images.photo_attributes[photos],
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
        self.images = tuple(images for part in parts for images in part.images)
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
