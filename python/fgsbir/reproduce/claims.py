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

_Ranks = dict[int | None, dict[int | None, NDArray[np.int64]]]  # by seed, by fold


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
    Claim("attribute ranking beside it", "ranking", "prediction"),
    Claim("both", "ranking", "triplet"),
    Claim("attributes at test time", "full", "ranking"),
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
            on average over seeds: other sketches of the same kind would give a mean within it.
        ahead: seeds whose mean is above 0.
    """

    mean: float
    half_interval: float
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
        of_row.setdefault(one["seed"], {})[one["fold"]] = np.array(one["ranks"])
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
    ours: dict[int | None, NDArray[np.int64]], theirs: dict[int | None, NDArray[np.int64]], k: int
) -> NDArray[np.float64]:
    """(S,) points that each sketch gains at acc@K, over all folds."""
    folds = sorted(ours, key=str)  # None where there are none
    points = [100.0 * (ours[fold] <= k) - 100.0 * (theirs[fold] <= k) for fold in folds]
    return np.concatenate(points)


def _difference(gains: NDArray[np.float64]) -> Difference:
    """Of (seeds, sketches) gains in points."""
    of_sketches = gains.mean(0)
    deviation = of_sketches.std(ddof=1) if len(of_sketches) > 1 else math.nan
    return Difference(
        mean=float(of_sketches.mean()),
        half_interval=float(QUANTILE * deviation / math.sqrt(len(of_sketches))),
        ahead=int((gains.mean(1) > 0).sum()),
    )
