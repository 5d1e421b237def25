"""Ranking of the photos of a split for each of its sketches.

By r = d + mu D (:func:`fgsbir_ext.topk`), d between embeddings and D between predicted attributes.
Hubs, photos that lie near to sketches of anything, can be corrected by what is known of them from
the sketches of the training split: the one-sided form of cross-domain similarity local scaling
(Conneau et al., ICLR 2018), with a bank of queries as in Bogolin et al. (CVPR 2022).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

import fgsbir_ext as fx

from ..config import EvalConfig, Views
from ..data.dataset import SketchPhotoSet
from ..data.images import Images
from ..models.preprocess import (
    Preprocessing,
    as_float,
    photos_to_ink,
    sketches_to_ink,
    to_ink,
)
from ..models.retrieval import Output, RetrievalModel

Members = Sequence[tuple[RetrievalModel, Sequence[int] | None]]
"""Models that rank together, each with its columns: the logits that predict the attributes of what
is ranked, of a model that predicts those of several categories; None for all."""


class Ranking(NamedTuple):
    """All P photos of a split, nearest first, for each of its S sketches.

    Attributes:
        distances: (S, P) r, ascending. Less than 0 where hubs were corrected.
        order: (S, P) index of the photo that each distance belongs to.
        sketch, photo: what the model gave for the S sketches and the P photos.
    """

    distances: Tensor
    order: Tensor
    sketch: Output
    photo: Output


BATCH_ON_CPU, BATCH_ON_GPU = 4, 64
"""Images that go through a network at a time. On a CPU the maps of more are so large that the
allocator gives their memory back each time: an image took EfficientNet-Lite0 8 ms among 4, 12 among
8 and 27 among 64."""


def batch_size(device: torch.device) -> int:
    """Images that go through a network at a time."""
    return BATCH_ON_CPU if device.type == "cpu" else BATCH_ON_GPU


class FrozenMaps:
    """Maps of images, kept for other models with the same backbone: heads alone are fast."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, bytes], Tensor] = {}

    def of(self, model: RetrievalModel, inks: Tensor) -> Tensor:
        """(B, C, h, w) of (B, channels, size, size) uint8 inks, on the CPU."""
        backbone = model.digest_below(model.layers_below(0))
        keys = [(backbone, hashlib.sha256(ink.numpy().data).digest()) for ink in inks]
        new = {key: i for i, key in enumerate(keys) if key not in self._known}
        size = batch_size(next(model.parameters()).device)
        for part in torch.tensor(list(new.values()), dtype=torch.int64).split(size):
            maps = model.map_of(_as_input(model, inks[part])).cpu()
            self._known |= {keys[i]: one for i, one in zip(part.tolist(), maps, strict=True)}
        return torch.stack([self._known[key] for key in keys])


@torch.no_grad()
def embed(
    model: RetrievalModel,
    inks: Tensor,
    *,
    views: Views = "single",
    maps: FrozenMaps | None = None,
) -> Output:
    """Embeddings and logits of (B, channels, size, size) uint8 inks, on the CPU, in eval mode.

    Embeddings of V views are put side by side, (B, V D), still of unit length: the squared
    distance of two images is then the mean over corresponding views. Logits are averaged.

    Args:
        model: what embeds.
        inks: of the images.
        views: of each image.
        maps: where to keep the maps of images; only of a single view.
    """
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    given, after = inks, 0
    if maps is not None and views == "single":
        given, after = maps.of(model, inks), model.layers_below(0)
    embeddings, logits = [], []
    for batch in given.split(batch_size(device)):
        if after:
            seen = [model(batch.to(device), after)]
        else:
            seen = [model(image) for image in _views(_as_input(model, batch), views)]
        mean = _mean(seen)
        embeddings.append(mean.embedding.cpu())
        if mean.logits is not None:
            logits.append(mean.logits.cpu())
    model.train(was_training)
    return Output(torch.cat(embeddings), torch.cat(logits) if model.attributes else None)


def rank(
    model: RetrievalModel,
    data: SketchPhotoSet,
    config: EvalConfig | None = None,
    columns: Sequence[int] | None = None,
    *,
    bank: Images | None = None,
) -> Ranking:
    """Embeds a split and sorts its photos for each of its sketches.

    Args:
        model: what embeds.
        data: the split.
        config: how to rank.
        columns: the logits that predict the split's attributes, of a model that predicts those of
            several categories (:meth:`~fgsbir.models.checkpoint.DataFacts.columns_of`); None for
            all.
        bank: sketches of the training split, which tell how near a photo is to any sketch; needed
            where ``config.hub_weight`` is more than 0.

    Raises:
        ValueError: when the set is empty, or the config is out of range or lacks a bank.
    """
    return rank_together([(model, columns)], data, config, bank=bank)


def rank_together(
    members: Members,
    data: SketchPhotoSet,
    config: EvalConfig | None = None,
    *,
    bank: Images | None = None,
    photo: Output | None = None,
    maps: FrozenMaps | None = None,
) -> Ranking:
    """Ranks a split by several models together, an ensemble: squared distances and attribute
    logits are the means over them.

    Args:
        members: each model and its columns, as for :func:`rank`.
        data: the split.
        config: how to rank.
        bank: as for :func:`rank`.
        photo: what the models give for the photos, where another ranking of them has it.
        maps: where to keep the maps of images, for other models of the same backbone.

    Raises:
        ValueError: as :func:`rank`, or when the models predict different attributes.
    """
    config = config or EvalConfig()
    config.check()
    widths = {model.attributes if c is None else len(c) for model, c in members} - {0}
    if len(widths) > 1:
        raise ValueError(f"an ensemble has to predict the same attributes, got {sorted(widths)}")
    if not len(data.sketches) or not len(data.photos):
        raise ValueError(
            f"{data.name}: nothing to rank, {len(data.sketches)} sketches and "
            f"{len(data.photos)} photos"
        )
    to_sketch_ink = sketches_to_ink if config.read_sketches else to_ink
    sketch = _embed_together(members, data.sketches, config, to_sketch_ink, maps)
    if photo is None:
        to_photo_ink = partial(photos_to_ink, edges=data.edges)
        photo = _embed_together(members, data.photos, config, to_photo_ink, maps)
    distances, order = _topk(sketch, photo, config)
    if config.hub_weight > 0:
        if bank is None or not len(bank):
            raise ValueError("hub_weight > 0 needs a bank of training sketches")
        known, photo_of = _topk(
            _embed_together(members, bank, config, to_sketch_ink, maps), photo, config
        )
        by_photo = torch.empty_like(known).scatter_(1, photo_of, known)
        nearest = by_photo.topk(min(config.hub_neighbours, len(bank)), dim=0, largest=False)
        correction = config.hub_weight * nearest.values.mean(0)
        distances, places = (distances - correction[order]).sort(dim=1, stable=True)
        order = order.gather(1, places)
    return Ranking(distances, order, sketch, photo)


def _embed_together(
    members: Members,
    images: Images,
    config: EvalConfig,
    to_inks: Callable[[Images, Preprocessing], Tensor],
    maps: FrozenMaps | None,
) -> Output:
    inks: dict[Preprocessing, Tensor] = {}
    outputs = []
    for model, columns in members:
        given = model.preprocessing
        if given not in inks:
            inks[given] = to_inks(images, given)
        outputs.append(_only(embed(model, inks[given], views=config.views, maps=maps), columns))
    return _mean(outputs)


def _topk(sketch: Output, photo: Output, config: EvalConfig) -> tuple[Tensor, Tensor]:
    """(S, P) r, ascending, and the photos they belong to; by d alone without attributes."""
    return fx.topk(
        sketch.embedding,
        photo.embedding,
        len(photo.embedding),
        query_logits=sketch.logits,
        gallery_logits=photo.logits,
        attribute_weight=0.0 if sketch.logits is None else config.attribute_weight,
        metric=config.metric,
        attribute_metric=config.attribute_metric,
    )


def _mean(outputs: Sequence[Output]) -> Output:
    """Embeddings side by side, so that a squared distance is the mean over them; mean logits."""
    embedding = torch.cat([one.embedding for one in outputs], 1) / len(outputs) ** 0.5
    logits = [one.logits for one in outputs if one.logits is not None]
    return Output(embedding, torch.stack(logits).mean(0) if logits else None)


def _only(output: Output, columns: Sequence[int] | None) -> Output:
    if output.logits is None or columns is None:
        return output
    return Output(output.embedding, output.logits[:, list(columns)])


def _as_input(model: RetrievalModel, inks: Tensor) -> Tensor:
    """uint8 inks as the model takes them, on its device."""
    device = next(model.parameters()).device
    return as_float(inks.to(device)).contiguous(memory_format=torch.channels_last)


def _views(inks: Tensor, views: Views) -> list[Tensor]:
    """The images that stand for each of (B, C, S, S): a list of V such tensors."""
    crops = [inks]
    if views == "ten":
        size = inks.shape[-1]
        side = round(size * 256 / 225)
        enlarged = F.interpolate(inks, (side, side), mode="bilinear")
        end = side - size
        corners = [(0, 0), (0, end), (end, 0), (end, end), (end // 2, end // 2)]
        crops = [enlarged[..., y : y + size, x : x + size] for y, x in corners]
    return crops if views == "single" else crops + [crop.flip(-1) for crop in crops]
