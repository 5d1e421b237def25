"""Calibration of embeddings that no training has made comparable.

A network from ImageNet puts sketches in one place and photos in another, tells textures that no
sketch shows, and has hubs, photos that are near to sketches of anything. So the mean of photos is
taken off photos and the mean of sketches off sketches; channels are whitened, and the weakest
left out; and a photo's score is lessened by how near it is to sketches in general (the one-sided
form of cross-domain similarity local scaling, Conneau et al., ICLR 2018). All three need sketches
that nobody has asked with yet: edge maps of the gallery's own photos stand in for them, or
unlabelled sketches that the user has.

Everything is computed from at most :data:`SAMPLE` photos, chosen by a hash of name and size of
their files. So it does not matter in what order photos came, and a gallery brought up to date is
as one made anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor

from ..atomic_files import write_atomically
from ..models.whitening import whitening
from ..tensor_files import read_tensors
from .folder import Photo

FILE_NAME = "calibration.safetensors"
FORMAT = "fgsbir-calibration-1"
DAMAGED = "damaged; delete it and index the photos again"
SAMPLE = 256  # photos, and sketches, at most; 50 do nearly as well
# Chosen on the training split of QMUL Shoe and Chair: docs/results.md.
CHANNELS = 64  # of a cell, that are kept
HUB_NEIGHBOURS = 10  # sketches whose nearness tells a hub
HUB_WEIGHT_OF_EDGES, HUB_WEIGHT_OF_SKETCHES = 0.25, 0.5
LEAST_SPREAD = 1e-3  # spread of unit embeddings below which their mean is all there is to them


@dataclass(frozen=True, eq=False)
class Calibration:
    """What photos have in common, what sketches have in common, and what tells them apart.

    Embeddings are those of :class:`~fgsbir.models.RetrievalModel` with the head ``"cells"``, C
    channels times a number of cells: D = C * cells.

    Attributes:
        sample: keys of the photos that were chosen (:func:`key_of`).
        edges_of: keys of the photos whose edge maps stand in for sketches, in the order of these;
            empty with sketches of the user's.
        sketches: (B, D) of the sketches, as the model embeds them.
        photo_mean: (D,) of the photos in the sample; zeros where there is no difference in them.
        whitening: (C, K) from the channels of a cell to those that are kept.
    """

    sample: tuple[str, ...]
    edges_of: tuple[str, ...]
    sketches: Tensor
    photo_mean: Tensor
    whitening: Tensor

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that changes embeddings; what is made of them goes by it."""
        found = hashlib.sha256(repr(self._hub_weight).encode())
        for tensor in (self.sketches, self.photo_mean, self.whitening):
            found.update(tensor.contiguous().numpy().tobytes())
        return found.hexdigest()

    @property
    def embedding_dim(self) -> int:
        """Of a calibrated embedding."""
        channels, kept = self.whitening.shape
        return len(self.photo_mean) // channels * kept + 2

    @property
    def alike(self) -> bool:
        """Whether there is no difference in the photos of the sample."""
        return not self.photo_mean.any()

    @cached_property
    def _sketch_mean(self) -> Tensor:
        return self.sketches.mean(0)

    @cached_property
    def _known(self) -> Tensor:
        return self._whitened(self.sketches - self._sketch_mean)

    @property
    def _hub_weight(self) -> float:
        return HUB_WEIGHT_OF_EDGES if self.edges_of else HUB_WEIGHT_OF_SKETCHES

    def of_photos(self, embedding: Tensor) -> Tensor:
        """(N, embedding_dim) of photos, unit rows, from what the model gives for them, (N, D)."""
        p, w = self._whitened(embedding.float() - self.photo_mean), self._hub_weight
        nearness = (p @ self._known.T).topk(min(HUB_NEIGHBOURS, len(self._known)), dim=1)
        hubness = w * nearness.values.mean(1, keepdim=True)
        # The last column makes all rows equally long, so that every index ranks by this product.
        return F.normalize(torch.cat([p, hubness, (w**2 - hubness**2).clamp_min(0).sqrt()], 1))

    def of_sketches(self, embedding: Tensor) -> Tensor:
        """(N, embedding_dim) of sketches, unit rows, from what the model gives for them, (N, D).

        The product with a photo's row is the cosine of the whitened embeddings less the photo's
        hubness, times a constant.
        """
        s = self._whitened(embedding - self._sketch_mean)
        return F.normalize(torch.cat([s, -torch.ones(len(s), 1), torch.zeros(len(s), 1)], 1))

    def _whitened(self, centred: Tensor) -> Tensor:
        channels = self.whitening.shape[0]
        cells = centred.view(len(centred), channels, -1)
        return F.normalize(torch.einsum("ncl,ck->nkl", cells, self.whitening).flatten(1))

    def write(self, folder: Path, gallery: str) -> None:
        """Writes it into the folder of the gallery with this id, whole or not at all."""
        metadata = {
            "format": FORMAT,
            "gallery": gallery,
            "sample": json.dumps(self.sample),
            "edges_of": json.dumps(self.edges_of),
        }
        tensors = {
            "sketches": self.sketches.half(),
            "photo_mean": self.photo_mean,
            "whitening": self.whitening,
        }
        write_atomically(folder / FILE_NAME, save(tensors, metadata))


def read_calibration(folder: Path, gallery: str) -> Calibration | None:
    """Gives back what :meth:`Calibration.write` wrote; None where there is nothing yet.

    Raises:
        ValueError: it is damaged, or of another gallery.
    """
    file = folder / FILE_NAME
    if not file.is_file():
        return None
    metadata, tensors = read_tensors(file, FORMAT, damaged=DAMAGED)
    try:
        if metadata["gallery"] != gallery:
            raise ValueError("it belongs to another gallery")
        read = Calibration(
            sample=tuple(map(str, json.loads(metadata["sample"]))),
            edges_of=tuple(map(str, json.loads(metadata["edges_of"]))),
            sketches=tensors["sketches"].float(),
            photo_mean=tensors["photo_mean"],
            whitening=tensors["whitening"],
        )
        if read.edges_of and len(read.edges_of) != len(read.sketches):
            raise ValueError("not as many edge maps as photos")
        read.of_sketches(read.photo_mean[None])  # raises where shapes do not fit each other
    except (KeyError, TypeError, ValueError, RuntimeError, RecursionError) as error:
        raise ValueError(f"{file}: {DAMAGED} ({error})") from error
    return read


def make_calibration(
    sample: Sequence[str],
    photos: Tensor,
    sketches: Tensor,
    channels: int,
    *,
    edges_of: Sequence[str] = (),
) -> Calibration:
    """The calibration by a sample of photos and by sketches.

    Args:
        sample: keys of the photos.
        photos: (N, D) of them, as the model embeds them.
        sketches: (B, D) likewise.
        channels: C, of a cell.
        edges_of: keys of the photos that the sketches are the edge maps of.
    """
    mean = photos.mean(0)
    if (photos - mean).norm(dim=1).max() < LEAST_SPREAD:
        mean = torch.zeros_like(mean)  # nothing would be left of them
    # As it will be read, so that a gallery is the same before and after.
    sketches = sketches.half().float()
    matrix = whitening(channels, CHANNELS, photos - mean, sketches - sketches.mean(0))
    return Calibration(tuple(sample), tuple(edges_of), sketches, mean, matrix)


def key_of(photo: Photo) -> str:
    """What tells a version of a file from others, also where it gets another number."""
    told = f"{photo.path}/{photo.size}/{photo.mtime}"
    return hashlib.sha256(told.encode(errors="surrogateescape")).hexdigest()[:16]


def choose_sample(photos: Mapping[int, Photo]) -> list[int]:
    """Numbers of at most :data:`SAMPLE` photos, ascending, by a hash of name and size of a file."""

    def place(number: int) -> tuple[bytes, str]:
        photo = photos[number]
        name = f"{Path(photo.path).name}/{photo.size}"
        return hashlib.sha256(name.encode(errors="surrogateescape")).digest(), photo.path

    return sorted(sorted(photos, key=place)[:SAMPLE])
