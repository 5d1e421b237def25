"""``fgsbir triplets``: write a list of triplets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class MakeTriplets:
    """Write a list of triplets for `fgsbir train --triplets`.

    Example: fgsbir triplets --data sbir_cvpr2016 --category shoes --by attributes --out shoes.csv
    """

    data: str
    """Anything that fgsbir train takes."""
    out: Path
    """The CSV file to write: sketch,positive,negative, places in the training split from 0."""
    by: Literal["attributes", "random", "people"] = "attributes"
    """How negatives are chosen: by the attributes that they share with the sketch, at random, or as
    people judged pairs of photos."""
    category: str | None = None
    """shoes or chairs, where the data has categories."""
    negatives: int = 20
    """Negatives for each sketch, unless by people."""
    hard_ratio: float = 0.5
    """By attributes: part of the negatives that share most attributes with the sketch."""
    hard_share: float = 0.1
    """By attributes: part of the photos that counts as sharing most."""
    votes: Literal["raw", "majority"] = "raw"
    """By people: every vote, or one verdict for each sketch and pair of photos."""
    seed: int = 0
    """Of the draws."""

    def run(self) -> None:
        from ..data import open_dataset, triplet_lists

        data = open_dataset(self.data, self.category, "train")
        if self.by == "people":
            rows = triplet_lists.human_triplets(data, votes=self.votes)
        elif self.by == "random":
            rows = triplet_lists.random_triplets(data, negatives=self.negatives, seed=self.seed)
        else:
            rows = triplet_lists.attribute_triplets(
                data,
                negatives=self.negatives,
                hard_ratio=self.hard_ratio,
                hard_share=self.hard_share,
                seed=self.seed,
            )
        triplet_lists.write_triplets(self.out, rows)
        print(f"{self.out}: {len(rows)} triplets of {data.name}")
