"""Claims of the paper as paired differences between rows, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .rows import GUIDED

QUANTILE = 1.96  # of a normal distribution, on both sides of 95%
FIRST = (1, 10)  # K of acc@K

_Ranks = dict[int | None, dict[int | None, NDArray[np.float64]]]  # by seed, by fold


@dataclass(frozen=True)
class Claim:
    """That a row finds more than another one.

    Attributes:
        title: what one has and the other has not.
        row, baseline: names of :data:`fgsbir.reproduce.rows.ROWS`.
    """

    title: str
    row: str
    baseline: str


CLAIMS = (
    Claim("attribute prediction", "prediction", "triplet"),
    Claim("attribute ranking beside attribute prediction", "ranking", "prediction"),
    Claim("attribute prediction and ranking in training", "ranking", "triplet"),
    Claim("attributes at test time", "full", "ranking"),
    Claim("attributes in training and at test time", "full", "triplet"),
    Claim("batches by attributes", "sampler", "full"),
    *(
        Claim(f"mining guided by attributes, beta {beta:g}", name, "full")
        for name, beta in GUIDED.items()
    ),
    Claim("triplets listed by attributes, not at random", "listed-attributes", "listed-random"),
    Claim("triplets listed by attributes, not of people", "listed-attributes", "listed-people"),
)


@dataclass(frozen=True)
class Difference:
    """Of acc@K between two rows, in points.

    Attributes:
        mean: over sketches and seeds.
        half_interval: half of the 95% interval, by the deviation over sketches of what each gains
            on average over seeds, and by that over seeds of their means: other sketches of the same
            kind and other seeds would give a mean within it. Sketches of one photo count as
            independent, which they are not quite. Where no sketch has changed, 3 / sketches. None
            for a single sketch.
        ahead: seeds whose mean is above 0.
    """

    mean: float
    half_interval: float | None
    ahead: int


def paired_differences(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The differences of every claim whose two rows are there, by category.

    Args:
        results: one for each row, category, seed and fold, with the rank of the first right photo
            of each sketch.

    Returns:
        For each claim and category its ``title``, ``row``, ``baseline``, ``category``, the number
        of ``seeds``, and a :class:`Difference` as a dictionary for ``acc@1`` and ``acc@10``.
    """
    ranks: dict[tuple[str, str | None], _Ranks] = {}
    for one in results:
        of_row = ranks.setdefault((one["row"], one["category"]), {})
        of_row.setdefault(one["seed"], {})[one["fold"]] = np.array(one["ranks"], dtype=float)
    found = []
    for category in dict.fromkeys(one["category"] for one in results):
        for claim in CLAIMS:
            ours, theirs = (ranks.get((row, category)) for row in (claim.row, claim.baseline))
            if ours is None or theirs is None:
                continue
            seeds = [seed for seed in ours if seed in theirs]
            entry: dict[str, Any] = {**asdict(claim), "category": category, "seeds": len(seeds)}
            for k in FIRST:
                gains = [_gains(ours[seed], theirs[seed], k) for seed in seeds]
                entry[f"acc@{k}"] = asdict(_difference(np.stack(gains)))
            found.append(entry)
    return found


def _gains(
    ours: dict[int | None, NDArray[np.float64]],
    theirs: dict[int | None, NDArray[np.float64]],
    k: int,
) -> NDArray[np.float64]:
    """(S,) points that each sketch gains at acc@K, over all folds."""
    folds = sorted(ours, key=str)  # None where there are none
    points = [100.0 * (ours[fold] <= k) - 100.0 * (theirs[fold] <= k) for fold in folds]
    return np.concatenate(points)


def _difference(gains: NDArray[np.float64]) -> Difference:
    """Of (seeds, sketches) gains in points."""
    of_sketches, of_seeds = gains.mean(0), gains.mean(1)
    seeds, sketches = gains.shape
    half = None
    if sketches > 1:
        variance = of_sketches.var(ddof=1) / sketches
        if seeds > 1:
            # What neither a sketch nor a seed explains is in both variances.
            rest = gains - of_sketches - of_seeds[:, None] + gains.mean()
            noise = np.square(rest).sum() / ((seeds - 1) * (sketches - 1))
            variance += max(0.0, of_seeds.var(ddof=1) / seeds - noise / (seeds * sketches))
        half = QUANTILE * math.sqrt(variance) if gains.any() else 100 * 3 / sketches
    return Difference(float(of_sketches.mean()), half, int((of_seeds > 0).sum()))


def gain(difference: dict[str, Any]) -> str:
    """A difference in words, ``+1.2 ± 0.8``."""
    half = difference["half_interval"]
    return f"{difference['mean']:+.1f}" + ("" if half is None else f" ± {half:.1f}")
