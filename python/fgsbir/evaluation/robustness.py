"""Robustness: how well photos are found by sketches that were drawn otherwise."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..config import EvalConfig
from ..data.dataset import SketchPhotoSet
from ..data.images import Images
from ..models.retrieval import Output
from ..sketches import EmptySketchError, ReadSketches, read_sketch
from .distortions import DISTORTIONS, Distorted
from .metrics import accuracy_at
from .ranking import FrozenMaps, Members, rank_together

AS_DRAWN = "as drawn"
WAYS = ("read", "decoded")
RobustnessTable = dict[str, dict[str, dict[str, float]]]
"""acc@1 and acc@10 in percent, ``table["in pencil"]["read"]["acc@10"]``, by name of the distortion,
``"as drawn"`` first, for sketches ``"read"`` and taken as they are ``"decoded"``."""


def robustness_table(
    members: Members,
    data: SketchPhotoSet,
    config: EvalConfig | None = None,
    *,
    bank: Images | None = None,
    seed: int = 0,
    maps: FrozenMaps | None = None,
) -> RobustnessTable:
    """Scores of a split with its sketches as drawn and under each distortion.

    A sketch in which nothing is found to be drawn counts as one whose photo is not found. Arguments
    and errors are those of `fgsbir.evaluation.ranking.rank_together`; the same seed distorts the
    same.
    """
    # Sketches are read here, so that an empty one is met, and ranked as they are.
    config = dataclasses.replace(config or EvalConfig(), read_sketches=False)
    banks = {"read": None if bank is None else list(ReadSketches(bank)), "decoded": bank}
    photo = rank_together(members, data, config, bank=bank, maps=maps).photo
    table: RobustnessTable = {}
    for name in (AS_DRAWN, *DISTORTIONS):
        decoded = data
        if name != AS_DRAWN:
            decoded = dataclasses.replace(data, sketches=Distorted(data.sketches, name, seed))
        sets = {"read": _read(decoded), "decoded": decoded}
        asked = len(data.sketches)
        table[name] = {
            way: _scores(members, sets[way], config, banks[way], photo, asked, maps) for way in WAYS
        }
    return table


def _read(data: SketchPhotoSet) -> SketchPhotoSet:
    """The set of only those sketches that something is drawn on, read."""
    images, drawn = [], []
    for i in range(len(data.sketches)):
        try:
            images.append(read_sketch(np.asarray(data.sketches[i])).image)
        except EmptySketchError:
            continue
        drawn.append(i)
    kept = data.take(np.array(drawn, dtype=np.int64), np.arange(len(data.photos)))
    return dataclasses.replace(kept, sketches=np.stack(images) if images else [])


def _scores(
    members: Members,
    data: SketchPhotoSet,
    config: EvalConfig,
    bank: Images | None,
    photo: Output,
    asked: int,
    maps: FrozenMaps | None,
) -> dict[str, float]:
    """Of the sketches of a set, in percent of those asked for."""
    if not len(data.sketches):
        return {"acc@1": 0.0, "acc@10": 0.0}
    order = rank_together(members, data, config, bank=bank, photo=photo, maps=maps).order
    share = len(data.sketches) / asked
    return {
        f"acc@{k}": share * accuracy_at(order, data.sketch_labels, data.photo_labels, k)
        for k in (1, 10)
    }
