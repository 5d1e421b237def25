"""What the frozen layers of a network give for views of training images, computed once.

Features lie in a folder, one file an image, under a name that tells image, views and weights apart.
So a run that was killed goes on with what is there, and runs with the same backbone share it, also
those of other folds of the data.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from safetensors.torch import save
from torch import Generator, Tensor, nn
from tqdm import tqdm

from fgsbir_ext.collectives import count_ranks

from ..atomic_files import write_atomically
from ..config import AugmentConfig
from ..evaluation.ranking import batch_size
from ..models.inference import without_normalisation
from ..models.preprocess import as_float, augment
from ..models.retrieval import LocalEmbedding, RetrievalModel
from ..tensor_files import read_tensors
from .distributed import broadcast_weights, is_main, rank
from .fingerprint import content_digest
from .training_images import SplitImages, TrainingImages

FOLDER = "features"  # in that of a run
VERSION = 2
FORMAT = f"fgsbir-features-{VERSION}"
A_DAY = 24 * 60 * 60


class FrozenLayers:
    """The first layers of a model, frozen here, as are those of its trunk behind the map.

    Args:
        model: whose.
        count: how many.

    Attributes:
        model, count: as given.
        digest: SHA-256 of their weights and of what they are given.

    Raises:
        ValueError: nothing would be left to learn, or a local head cannot start from their maps.
    """

    def __init__(self, model: RetrievalModel, count: int) -> None:
        self.model = model
        self.count = count
        model.freeze(count)
        if not any(weight.requires_grad for weight in model.parameters()):
            raise ValueError(
                f"frozen_views: expected 0 with the head {model.head}, since nothing would learn"
            )
        if isinstance(model.embedding, LocalEmbedding):
            kept, channels = model.embedding.cell.weight.shape[:2]
            cells = model.embedding_dim // kept
            if kept > channels:
                raise ValueError(
                    f"embedding_dim: expected at most {channels * cells}, {channels} for each of "
                    f"the {cells} cells that the frozen backbone gives, got {kept} for each"
                )
        self.digest = model.digest_below(count)

    @cached_property
    def _layers(self) -> nn.Module:
        return without_normalisation(self.model.trunk[: self.count])

    @torch.no_grad()
    def __call__(self, ink: Tensor) -> Tensor:
        """(V, C, h, w) float16, on the CPU, of V views of an image.

        Raises:
            ValueError: they are too large for float16.
        """
        device = next(self.model.parameters()).device
        views = ink.to(device).contiguous(memory_format=torch.channels_last)
        inputs = map(self.model.preprocessing.normalised, views.split(batch_size(device)))
        given = torch.cat([self._layers(part).half().cpu() for part in inputs])
        if not given.isfinite().all():
            raise ValueError(
                "frozen_views: expected 0 for this backbone, whose maps are too large for float16"
            )
        return given.contiguous()


class FrozenFeatures(TrainingImages):
    """Features of a few views of each image: one of them is drawn each time.

    Args:
        images: of a split.
        config: how the views are augmented; the first one is the image as it is.
        layers: what gives the features.
        count: views of an image; as many again are mirrored where the augmentation mirrors.
        folder: of the files.
        progress: whether to show a progress bar.
    """

    def __init__(
        self,
        images: SplitImages,
        config: AugmentConfig,
        layers: FrozenLayers,
        count: int,
        folder: Path,
        *,
        progress: bool = True,
    ) -> None:
        super().__init__(images, config)
        self.count = count
        self._images: SplitImages | None = images
        self._layers = layers
        self._folder = folder
        self._progress = progress

    def prepare(self) -> None:
        """Computes what is not in the folder yet, and reads all of it; of several processes each
        computes its share.

        Raises:
            ValueError: the folder cannot be read or written.
        """
        if self._images is None:
            return
        images = self._images
        parts = (
            (images.sketches, self.sketch_augmentation),
            (images.photos, self.photo_augmentation),
        )
        hidden = not (self._progress and is_main())
        count = sum(len(inks) for inks, _ in parts)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._remove_leftovers()
            with tqdm(None, "features of images", count, leave=False, disable=hidden) as bar:
                if count_ranks() > 1:
                    for inks, config in parts:
                        for ink in inks[rank() :: count_ranks()]:
                            self._of_one(ink, config)
                    dist.barrier()
                self._sketches, self._photos = (self._of_all(*part, bar) for part in parts)
        except OSError as error:
            raise ValueError(f"{self._folder}: features cannot be kept here ({error})") from error
        self._images = None  # inks are larger than their features

    def first_views(self) -> tuple[Tensor, Tensor]:
        """(S, C, h, w) and (P, C, h, w) of sketches and photos as they are."""
        return self._sketches[:, 0].float(), self._photos[:, 0].float()

    def sketches(self, which: Tensor, mirrored: Tensor, own: Generator) -> Tensor:
        return self._any_view(self._sketches, which, mirrored, own)

    def photos(self, which: Tensor, mirrored: Tensor, own: Generator) -> Tensor:
        return self._any_view(self._photos, which, mirrored, own)

    def _any_view(
        self, features: Tensor, which: Tensor, mirrored: Tensor, own: Generator
    ) -> Tensor:
        views = torch.randint(self.count, which.shape, generator=own) + self.count * mirrored
        return features[which, views].float()

    def _of_all(self, inks: Tensor, config: AugmentConfig, bar: tqdm[None]) -> Tensor:
        """(N, V, C, h, w) float16 of N images."""
        features = torch.empty(0)
        for i, ink in enumerate(inks):
            views = self._of_one(ink, config)
            if not i:
                features = views.new_empty(len(inks), *views.shape)
            features[i] = views
            bar.update()
        return features

    def _remove_leftovers(self) -> None:
        """Removes what killed runs left half written, but not what may still be written."""
        for left in self._folder.glob(".*.safetensors.*"):
            with suppress(FileNotFoundError):
                if time.time() - left.stat().st_mtime > A_DAY:
                    left.unlink()

    def _of_one(self, ink: Tensor, config: AugmentConfig) -> Tensor:
        """(V, C, h, w) float16 of an image, from its file where there is one."""
        device = next(self._layers.model.parameters()).device.type
        # Other versions and numbers of threads round otherwise.
        made_by = f"{device} {torch.__version__} {torch.get_num_threads()}"
        asked = (json.dumps(asdict(config)), self._layers.digest, str(self.count), made_by)
        key = content_digest(ink.numpy(), *asked)
        path = self._folder / f"{key}-{VERSION}.safetensors"
        if path.is_file():
            with suppress(ValueError, KeyError):  # what is damaged is made again
                metadata, tensors = read_tensors(path, FORMAT)
                digest = content_digest(tensors["views"].numpy())
                if (metadata["of"], metadata["digest"]) == (key, digest):
                    return tensors["views"]
        views = self._layers(self._views(ink[None], config, int(key[:15], 16)))
        metadata = {"format": FORMAT, "of": key, "digest": content_digest(views.numpy())}
        write_atomically(path, save({"views": views}, metadata))
        return views

    def _views(self, ink: Tensor, config: AugmentConfig, seed: int) -> Tensor:
        """(V, channels, size, size) of (1, channels, H, H) ink, the mirrored ones last."""
        mirrored = torch.arange(self.count if config.flip == 0 else 2 * self.count) >= self.count
        size, whole = self.preprocessing.size, as_float(ink)
        inks = whole.expand(len(mirrored), -1, -1, -1)
        views = augment(inks, size, config, Generator().manual_seed(seed), mirrored)
        plain = F.interpolate(whole, (size, size), mode="bilinear", antialias=True)[0]
        views[0] = plain
        if config.flip:
            views[self.count] = plain.flip(-1)
        return views


def prepare_features(
    model: RetrievalModel, after: int, images: Sequence[TrainingImages], *, start: bool
) -> None:
    """Has the features of images at hand, for an epoch.

    Args:
        model: that learns from them.
        after: how many of its layers are frozen.
        images: those among them of which there are features.
        start: whether it is the first epoch: a local head starts as the whitening of maps then.

    Raises:
        ValueError: features cannot be kept in their folder.
    """
    kept = [one for one in images if isinstance(one, FrozenFeatures)]
    for one in kept:
        one.prepare()
    if start and isinstance(model.embedding, LocalEmbedding):
        model.embedding.whiten(
            _map_of(model, features, after) for one in kept for features in one.first_views()
        )
        broadcast_weights(model.embedding)


@torch.no_grad()
def _map_of(model: RetrievalModel, features: Tensor, after: int) -> Tensor:
    """(N, C, h, w), the map, on the CPU."""
    model.trunk.eval()
    device = next(model.parameters()).device
    parts = features.split(batch_size(device))
    return torch.cat([model.map_of(part.to(device), after).cpu() for part in parts])
