"""Scores of a model on a split: acc@K, agreement with people, and attribute prediction.

Photos are ranked by r = d + mu D (:func:`fgsbir_ext.topk`), d between embeddings and D between
predicted attributes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

import fgsbir_ext as fx

from .config import EvalConfig, Views
from .data.dataset import SketchPhotoSet
from .models import Output, RetrievalModel
from .transforms import as_float, to_ink


class Ranking(NamedTuple):
    """All P photos of a split, nearest first, for each of its S sketches.

    Attributes:
        distances: (S, P) r, ascending.
        order: (S, P) index of the photo that each distance belongs to.
        sketch, photo: what the model gave for the S sketches and the P photos.
    """

    distances: Tensor
    order: Tensor
    sketch: Output
    photo: Output


@dataclass(frozen=True)
class Scores:
    """Percentages on one split.

    Attributes:
        acc: share of sketches with a right photo among the first K, by K.
        trip_acc: share of people's verdicts that the ranking agrees with; None without verdicts.
        attributes: by name, share of known values predicted right, over sketches and photos.
        sketches, photos: how many there are.
    """

    acc: dict[int, float]
    trip_acc: float | None
    attributes: dict[str, float]
    sketches: int
    photos: int

    def to_dict(self) -> dict[str, Any]:
        """As one mapping for JSON: ``acc@1``, ``acc@10``, ``trip_acc``, ``attributes`` ..."""
        return {
            **{f"acc@{k}": value for k, value in self.acc.items()},
            "trip_acc": self.trip_acc,
            "attributes": self.attributes,
            "sketches": self.sketches,
            "photos": self.photos,
        }


@torch.no_grad()
def embed(
    model: RetrievalModel, inks: Tensor, *, views: Views = "single", batch_size: int = 64
) -> Output:
    """Embeddings and logits of (B, 1, size, size) uint8 inks, on the CPU, in eval mode.

    Embeddings of V views are put side by side, (B, V D), still of unit length: the squared
    distance of two images is then the mean over corresponding views. Logits are averaged.
    """
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    embeddings, logits = [], []
    for batch in inks.split(batch_size):
        seen = [model(image) for image in _views(as_float(batch.to(device)), views)]
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
) -> Ranking:
    """Embeds a split and sorts its photos for each of its sketches.

    Args:
        model: what embeds.
        data: the split.
        config: how to rank.
        columns: the logits that predict the split's attributes, of a model that predicts those of
            several categories (:meth:`fgsbir.checkpoint.DataFacts.columns_of`); None for all.

    Raises:
        ValueError: when the set is empty.
    """
    return rank_together([(model, columns)], data, config)


def rank_together(
    members: Sequence[tuple[RetrievalModel, Sequence[int] | None]],
    data: SketchPhotoSet,
    config: EvalConfig | None = None,
) -> Ranking:
    """Ranks a split by several models together, an ensemble: squared distances and attribute
    logits are the means over them.

    Args:
        members: each model and its columns, as for :func:`rank`.
        data: the split.
        config: how to rank.

    Raises:
        ValueError: when the set is empty, or the models predict different attributes.
    """
    config = config or EvalConfig()
    widths = {model.attributes if c is None else len(c) for model, c in members} - {0}
    if len(widths) > 1:
        raise ValueError(f"an ensemble has to predict the same attributes, got {sorted(widths)}")
    if not len(data.sketches) or not len(data.photos):
        raise ValueError(
            f"{data.name}: nothing to rank, {len(data.sketches)} sketches and "
            f"{len(data.photos)} photos"
        )
    sketch, photo = (
        _mean(
            [
                _only(embed(model, to_ink(images, model.size), views=config.views), columns)
                for model, columns in members
            ]
        )
        for images in (data.sketches, data.edges)
    )
    distances, order = fx.topk(
        sketch.embedding,
        photo.embedding,
        len(data.photos),
        query_logits=sketch.logits,
        gallery_logits=photo.logits,
        attribute_weight=config.attribute_weight,
        metric=config.metric,
        attribute_metric=config.attribute_metric,
    )
    return Ranking(distances, order, sketch, photo)


def score(ranking: Ranking, data: SketchPhotoSet, *, ks: tuple[int, ...] = (1, 10)) -> Scores:
    """What a ranking of a split is worth.

    Raises:
        ValueError: when the model predicts another number of attributes than the split has.
    """
    trip_acc = None
    if data.triplets is not None and len(data.triplets):
        trip_acc = triplet_accuracy(ranking.distances, ranking.order, data.triplets)
    return Scores(
        acc={k: accuracy_at(ranking.order, data.sketch_labels, data.photo_labels, k) for k in ks},
        trip_acc=trip_acc,
        attributes=attribute_accuracy(ranking.sketch, ranking.photo, data),
        sketches=len(data.sketches),
        photos=len(data.photos),
    )


def evaluate(
    model: RetrievalModel, data: SketchPhotoSet, config: EvalConfig | None = None
) -> Scores:
    """acc@1, acc@10, trip_acc and attribute accuracy of a model on a split."""
    return score(rank(model, data, config), data)


def accuracy_at(
    order: Tensor, sketch_labels: NDArray[np.int64], photo_labels: NDArray[np.int64], k: int
) -> float:
    """acc@K in percent, from (S, P) photo indices, nearest first."""
    found = photo_labels[order[:, :k].numpy()] == sketch_labels[:, None]
    return 100 * float(found.any(1).mean())


def triplet_accuracy(distances: Tensor, order: Tensor, triplets: NDArray[np.int64]) -> float:
    """Share in percent of (T, 3) verdicts (sketch, nearer, farther) with r(nearer) < r(farther).

    distances (S, P) ascending, and order (S, P) the photo that each belongs to.
    """
    r = torch.empty_like(distances).scatter_(1, order, distances).numpy()
    sketch, nearer, farther = triplets.T
    return 100 * float((r[sketch, nearer] < r[sketch, farther]).mean())


def attribute_accuracy(sketch: Output, photo: Output, data: SketchPhotoSet) -> dict[str, float]:
    """Share of known values on the right side of probability 1/2, in percent, by attribute.

    Empty when either the model or the data has no attributes; an attribute without any known
    value is left out.
    """
    pairs = [(sketch.logits, data.sketch_attributes), (photo.logits, data.photo_attributes)]
    annotated = [(p.numpy() > 0, t) for p, t in pairs if p is not None and t is not None]
    if not annotated:
        return {}
    predicted = np.concatenate([p for p, _ in annotated])
    truth = np.concatenate([t for _, t in annotated])
    if predicted.shape != truth.shape:
        raise ValueError(
            f"{data.name}: the model predicts {predicted.shape[1]} attributes, the data has "
            f"{truth.shape[1]}"
        )
    known = truth >= 0
    right = ((predicted == (truth == 1)) & known).sum(0)
    return {
        name: 100 * float(r / n)
        for name, r, n in zip(data.attribute_names, right, known.sum(0), strict=True)
        if n
    }


def _mean(outputs: Sequence[Output]) -> Output:
    """Embeddings side by side, so that a squared distance is the mean over them; mean logits."""
    embedding = torch.cat([one.embedding for one in outputs], 1) / len(outputs) ** 0.5
    logits = [one.logits for one in outputs if one.logits is not None]
    return Output(embedding, torch.stack(logits).mean(0) if logits else None)


def _only(output: Output, columns: Sequence[int] | None) -> Output:
    if output.logits is None or columns is None:
        return output
    return Output(output.embedding, output.logits[:, list(columns)])


def _views(inks: Tensor, views: Views) -> list[Tensor]:
    """The images that stand for each of (B, 1, S, S): a list of V such tensors."""
    crops = [inks]
    if views == "ten":
        size = inks.shape[-1]
        side = round(size * 256 / 225)
        enlarged = F.interpolate(inks, (side, side), mode="bilinear")
        end = side - size
        corners = [(0, 0), (0, end), (end, 0), (end, end), (end // 2, end // 2)]
        crops = [enlarged[..., y : y + size, x : x + size] for y, x in corners]
    return crops if views == "single" else crops + [crop.flip(-1) for crop in crops]
