"""Metrics of a model on a split: acc@K, mean reciprocal rank, trip_acc, attribute accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..config import EvalConfig
from ..data.dataset import SketchPhotoSet
from ..data.images import Images
from ..models.retrieval import Output, RetrievalModel
from .ranking import Ranking, rank


@dataclass(frozen=True)
class Scores:
    """Percentages on one split.

    Attributes:
        acc: share of sketches with a right photo among the first K, by K.
        mrr: mean reciprocal rank of the first right photo.
        trip_acc: share of people's verdicts that the ranking agrees with; None without verdicts.
        attributes: by name, share of known values predicted right, over sketches and photos.
        sketches, photos: how many there are.
    """

    acc: dict[int, float]
    mrr: float
    trip_acc: float | None
    attributes: dict[str, float]
    sketches: int
    photos: int

    def to_dict(self) -> dict[str, Any]:
        """As one mapping for JSON: ``acc@1``, ``acc@10``, ``mrr``, ``trip_acc`` ..."""
        return {
            **{f"acc@{k}": value for k, value in self.acc.items()},
            "mrr": self.mrr,
            "trip_acc": self.trip_acc,
            "attributes": self.attributes,
            "sketches": self.sketches,
            "photos": self.photos,
        }


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
        mrr=mean_reciprocal_rank(ranking.order, data.sketch_labels, data.photo_labels),
        trip_acc=trip_acc,
        attributes=attribute_accuracy(ranking.sketch, ranking.photo, data),
        sketches=len(data.sketches),
        photos=len(data.photos),
    )


def evaluate(
    model: RetrievalModel,
    data: SketchPhotoSet,
    config: EvalConfig | None = None,
    *,
    bank: Images | None = None,
) -> Scores:
    """acc@1, acc@10, trip_acc and attribute accuracy of a model on a split, ranked as by
    :func:`fgsbir.evaluation.ranking.rank`."""
    return score(rank(model, data, config, bank=bank), data)


def first_ranks(
    order: Tensor, sketch_labels: NDArray[np.int64], photo_labels: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(S,) rank of the first right photo of each sketch, from 1; infinite for one without any.

    order (S, P) holds photo indices, nearest first.
    """
    right = photo_labels[order.numpy()] == sketch_labels[:, None]
    ranks: NDArray[np.float64] = np.where(right.any(1), 1 + right.argmax(1), np.inf)
    return ranks


def accuracy_at(
    order: Tensor, sketch_labels: NDArray[np.int64], photo_labels: NDArray[np.int64], k: int
) -> float:
    """acc@K in percent, from (S, P) photo indices, nearest first."""
    return 100 * float((first_ranks(order[:, :k], sketch_labels, photo_labels) <= k).mean())


def mean_reciprocal_rank(
    order: Tensor, sketch_labels: NDArray[np.int64], photo_labels: NDArray[np.int64]
) -> float:
    """Mean of 1 / rank of the first right photo in percent, 0 for a sketch without one."""
    return 100 * float((1 / first_ranks(order, sketch_labels, photo_labels)).mean())


def triplet_accuracy(distances: Tensor, order: Tensor, triplets: NDArray[np.int64]) -> float:
    """Share in percent of (T, 3) verdicts (sketch, nearer, farther) with r(nearer) < r(farther).

    A tie counts one half, as guessing would come to.

    distances (S, P) ascending, and order (S, P) the photo that each belongs to.
    """
    r = torch.empty_like(distances).scatter_(1, order, distances).numpy()
    sketch, nearer, farther = triplets.T
    near, far = r[sketch, nearer], r[sketch, farther]
    return 100 * float(((near < far) + 0.5 * (near == far)).mean())


def why_meaningless(ranking: Ranking) -> str:
    """Why the scores of a ranking say nothing of a model; empty where they do."""
    if not ranking.distances.isfinite().all():
        return "some distances are not finite, as of a training that diverged"
    if ranking.distances.numel() > 1 and ranking.distances.max() == ranking.distances.min():
        return "all distances are equal: the model has collapsed, and ranks by chance"
    return ""


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
