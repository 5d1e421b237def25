"""Training on a list of triplets instead of on those mined in the batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor, nn

from fgsbir_ext.collectives import reduce_over_ranks
from fgsbir_ext.reference import Triple, loss_of_triplets
from fgsbir_ext.types import LossParts

from ..config import LossConfig
from ..data.dataset import SketchPhotoSet
from ..models.retrieval import Output
from .batches import DrawnBatches, ImagesOf
from .distributed import own_share
from .fingerprint import content_digest
from .losses import settings_for


@dataclass(frozen=True)
class TripletBatch:
    """B triplets.

    Attributes:
        images: sketches, positive and negative photos, (B, channels, size, size) float ink each, or
            what frozen layers gave for it.
        attributes: of the same, (B, K) int8 each; None without annotation.
    """

    images: Triple
    attributes: Triple | None

    def to(self, device: str | torch.device) -> TripletBatch:
        """The same batch on a device."""
        sketch, positive, negative = (x.to(device) for x in self.images)
        attributes = None
        if self.attributes is not None:
            t_s, t_p, t_n = (x.to(device) for x in self.attributes)
            attributes = (t_s, t_p, t_n)
        return TripletBatch((sketch, positive, negative), attributes)


class TripletBatches(DrawnBatches[TripletBatch]):
    """Batches of listed triplets, the three images of each mirrored together.

    An epoch shows every sketch that has triplets once, with a random one of them: as many steps as
    training on pairs takes, however long the list is.

    Args:
        data: a split whose ``triplets`` are (sketch, positive, negative).
        images_of: gives its images.
        batch_size: triplets in a batch; an epoch is cut into batches as equal as possible.
        generator: a CPU generator, the source of the order.
        copies: edge maps of every photo, of which a random one is shown: of P photos those of photo
            i are i, i + P, i + 2 P ...

    Raises:
        ValueError: without any triplet.
    """

    def __init__(
        self,
        data: SketchPhotoSet,
        images_of: ImagesOf,
        batch_size: int,
        generator: Generator,
        copies: int = 1,
    ) -> None:
        if data.triplets is None or not len(data.triplets):
            raise ValueError(f"{data.name}: there are no triplets to train on")
        sketches = np.unique(data.triplets[:, 0])
        super().__init__(images_of(data), -(-len(sketches) // batch_size), generator)
        self._rows_of = [torch.tensor(data.triplets[data.triplets[:, 0] == i]) for i in sketches]
        self._copies, self._photos = copies, len(data.photos) // copies
        self.digest = content_digest(self.digest, data.triplets)

    def draw(self, own: Generator) -> Iterator[TripletBatch]:
        images = self._images
        order = torch.randperm(len(self._rows_of), generator=self.generator)
        for chosen in map(own_share, order.tensor_split(self._count)):
            share = torch.rand(len(chosen), generator=own).tolist()
            picks = zip(chosen.tolist(), share, strict=True)
            rows = [self._rows_of[i][int(u * len(self._rows_of[i]))] for i, u in picks]
            s, p, n = torch.stack(rows).unbind(1)
            p, n = self._any_copy(p, own), self._any_copy(n, own)
            mirrored = images.mirror(len(chosen), own)
            attributes = None
            if images.sketch_attributes is not None and images.photo_attributes is not None:
                known = images.photo_attributes
                attributes = (images.sketch_attributes[s], known[p], known[n])
            yield TripletBatch(
                (
                    images.sketches(s, mirrored, own),
                    images.photos(p, mirrored, own),
                    images.photos(n, mirrored, own),
                ),
                attributes,
            )

    def _any_copy(self, photos: Tensor, own: Generator) -> Tensor:
        if self._copies == 1:
            return photos
        return photos + self._photos * torch.randint(self._copies, photos.shape, generator=own)


class ListedObjective(nn.Module):
    """Eq. 1 over given triplets, with the options of :func:`fgsbir_ext.attribute_triplet_loss`.

    Raises:
        ValueError: for options that speak of the other photos of a batch.
    """

    def __init__(self, config: LossConfig) -> None:
        super().__init__()
        if config.contrastive_weight:
            raise ValueError(
                "contrastive_weight: expected 0 with listed triplets, which name every negative, "
                f"got {config.contrastive_weight}"
            )
        if config.attribute_guidance:
            raise ValueError(
                "attribute_guidance: expected 0 with listed triplets, since nothing is mined, "
                f"got {config.attribute_guidance}"
            )
        self.embedding_scale = config.embedding_scale
        self.options = settings_for(loss_of_triplets, config)

    def forward(
        self, sketch: Output, positive: Output, negative: Output, batch: TripletBatch
    ) -> tuple[Tensor, dict[str, float]]:
        """The scalar to minimise, and the figures to log."""
        s, p, n, scale = sketch, positive, negative, self.embedding_scale
        logits: Triple | None = None
        if s.logits is not None and p.logits is not None and n.logits is not None:
            logits = s.logits, p.logits, n.logits
        total, *of_terms = loss_of_triplets(
            (scale * s.embedding, scale * p.embedding, scale * n.embedding),
            logits,
            batch.attributes,
            **self.options,
        )
        by_name = dict(zip(LossParts._fields[1:-1], of_terms, strict=True))
        terms = {"triplet": by_name["triplet"]}
        if logits is not None and batch.attributes is not None:
            terms["attribute_rank"] = by_name["attribute_rank"]
            terms["attributes"] = by_name["sketch_attribute"]
        count = torch.tensor(len(total), device=total.device)
        loss, *figures = reduce_over_ranks([x.sum() for x in (total, *terms.values())], count)
        named = dict(zip(terms, (x.item() for x in figures), strict=True))
        return loss, {"loss": loss.item(), **named}
