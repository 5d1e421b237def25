"""Paired differences between rows of a reproduction."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from fgsbir.evaluation.metrics import accuracy_at, first_ranks
from fgsbir.reproduce.claims import CLAIMS, paired_differences
from fgsbir.reproduce.rows import GUIDED, ROWS, VARIANTS


def scored(row: str, seed: int, fold: int | None, ranks: list[int]) -> dict[str, Any]:
    return {"row": row, "category": "shoes", "seed": seed, "fold": fold, "ranks": ranks}


def test_a_difference_is_of_the_same_sketches_seed_by_seed() -> None:
    results = [
        scored("triplet", 0, 0, [1, 2, 30]),
        scored("triplet", 0, 1, [1, 11]),
        scored("triplet", 1, 0, [2, 2, 30]),
        scored("triplet", 1, 1, [1, 11]),
        # in another order, and with a seed that the other row has not
        scored("prediction", 1, 1, [1, 11]),
        scored("prediction", 1, 0, [1, 1, 30]),
        scored("prediction", 0, 0, [1, 1, 3]),
        scored("prediction", 0, 1, [2, 11]),
        scored("prediction", 2, 0, [9, 9, 9]),
        scored("prediction", 2, 1, [9, 9]),
    ]
    (entry,) = paired_differences(results)
    assert (entry["row"], entry["baseline"], entry["category"]) == (
        "prediction",
        "triplet",
        "shoes",
    )
    assert entry["seeds"] == 2
    # acc@1: seed 0 gains [0, 1, 0, -1, 0], seed 1 gains [1, 1, 0, 0, 0]
    gains = 100 * np.array([0.5, 1, 0, -0.5, 0])
    assert entry["acc@1"]["mean"] == pytest.approx(gains.mean())
    of_seeds = np.array([0.0, 40.0])  # mean gains
    rest = np.array([-30, 20, 20, -30, 20])  # of seed 0, and the same with other signs of seed 1
    noise = 2 * np.square(rest).sum() / 4
    expected = 1.96 * (gains.var(ddof=1) / 5 + of_seeds.var(ddof=1) / 2 - noise / 10) ** 0.5
    assert entry["acc@1"]["half_interval"] == pytest.approx(expected)
    assert entry["acc@1"]["ahead"] == 1
    # acc@10: only seed 0 gains, the third sketch
    assert entry["acc@10"]["mean"] == pytest.approx(10)
    assert entry["acc@10"]["ahead"] == 1
    (same,) = paired_differences([*results[:4], *({**r, "row": "prediction"} for r in results[:4])])
    assert same["acc@1"] == {"mean": 0, "half_interval": pytest.approx(60), "ahead": 0}


@pytest.mark.parametrize(("deviation", "seeds"), [(0.0, 3), (0.03, 10)])
def test_intervals_hold_the_true_difference_as_often_as_they_say(
    deviation: float, seeds: int
) -> None:
    rng, held = np.random.default_rng(0), 0
    tries, sketches = 400, 150
    for _ in range(tries):
        results = []
        easy = rng.uniform(0.2, 0.7, sketches)
        for seed in range(seeds):
            better = easy + 0.1 + rng.normal(0, deviation)
            for row, chance in (("triplet", easy), ("prediction", better)):
                ranks = np.where(rng.uniform(size=sketches) < chance, 1, 5)
                results.append(scored(row, seed, None, ranks.tolist()))
        (entry,) = paired_differences(results)
        held += abs(entry["acc@1"]["mean"] - 10) < entry["acc@1"]["half_interval"]
    assert 0.91 < held / tries < 0.98


def test_claims_are_of_rows_that_there_are() -> None:
    assert {name for claim in CLAIMS for name in (claim.row, claim.baseline)} <= set(ROWS)
    assert not any(ROWS[claim.row].ensemble for claim in CLAIMS)
    for name, beta in GUIDED.items():
        assert VARIANTS[name].overrides == {"loss.attribute_guidance": beta}


def test_ranks_count_from_one() -> None:
    order = torch.tensor([[2, 0, 1], [0, 1, 2], [1, 2, 0]])
    sketches, photos = np.array([7, 9, 5]), np.array([7, 5, 7])
    ranks = first_ranks(order, sketches, photos)
    assert ranks.tolist() == [1, np.inf, 1]  # the second shows something else
    for k in (1, 2, 3):
        assert 100 * (ranks <= k).mean() == pytest.approx(accuracy_at(order, sketches, photos, k))
