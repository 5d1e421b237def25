"""Rows of the reproduced table: what is trained, and how it is scored."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from ..config import ExtraData, LossConfig
from ..data.align import annotated_names
from ..data.dataset import SketchPhotoSet
from ..data.triplet_lists import Source

Config = TypeVar("Config")


@dataclass(frozen=True)
class Variant:
    """One way to train, in what it differs from the preset.

    Attributes:
        overrides: settings by dotted name, ``"loss.lambda_a"``.
        triplets: the list to train on; None for triplets mined in the batch.
        joint: whether one model learns all categories.
        extra: whether it learns from further training data too.
        needs: what the training data must have.
    """

    overrides: Mapping[str, Any] = field(default_factory=dict)
    triplets: Source | None = None
    joint: bool = False
    extra: bool = False
    needs: Literal["attributes", "people", "nothing"] = "attributes"

    def lacks(self, data: list[SketchPhotoSet], extra: ExtraData) -> str | None:
        """What the training splits lack for it, in words; None where nothing."""
        if self.extra and extra == ExtraData():
            return "further sketches and photos"
        if self.joint and len(data) < 2:
            return "a second category"
        if self.needs == "attributes" and not all(map(annotated_names, data)):
            return "attributes"
        if self.needs == "people" and any(s.triplets is None or not len(s.triplets) for s in data):
            return "people's verdicts"
        return None


_TRIPLET_ALONE = {
    f"loss.{setting.name}": 0.0
    for setting in dataclasses.fields(LossConfig)
    if setting.name.startswith("lambda_")
}
# A list names every negative, so neither the softmax over the batch nor mining has a part in it.
_LISTED = {"loss.contrastive_weight": 0.0, "loss.attribute_guidance": 0.0, "sampler": "random"}

GUIDED = {f"guided-{beta:g}": beta for beta in (0.25, 0.5, 1.0, 2.0)}
"""Rows of guided mining, and how strongly it is guided."""

VARIANTS: dict[str, Variant] = {
    "triplet": Variant(_TRIPLET_ALONE, needs="nothing"),
    "prediction": Variant({"loss.lambda_a": 0.0}),
    "full": Variant(),
    "sampler": Variant({"sampler": "attributes"}),
    **{name: Variant({"loss.attribute_guidance": beta}) for name, beta in GUIDED.items()},
    "listed-random": Variant(_LISTED, "random"),
    "listed-attributes": Variant(_LISTED, "attributes"),
    "listed-people": Variant(_LISTED, "people", needs="people"),
    "joint": Variant(joint=True),
    "joint-extra": Variant(joint=True, extra=True),
}


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        title: what it says.
        variant: name of what was trained.
        fused: ranked by embedding and predicted attributes together; else by embedding alone.
        ensemble: the models of all seeds rank together; else each for itself.
        scoring: settings of the ranking that differ from those asked for.
    """

    title: str
    variant: str
    fused: bool = False
    ensemble: bool = False
    scoring: Mapping[str, Any] = field(default_factory=dict)


# Chosen by cross-validation: docs/results.md.
_CORRECTED = {"hub_weight": 0.5, "hub_neighbours": 5}
_HOW = "hubs corrected (weight {hub_weight}, {hub_neighbours} neighbours)".format(**_CORRECTED)

ROWS: dict[str, Row] = {
    "triplet": Row("triplet alone", "triplet"),
    "prediction": Row("+ attribute prediction", "prediction"),
    "ranking": Row("+ attribute ranking: the full model, embedding alone", "full"),
    "full": Row("full model, embedding + attributes at test time", "full", fused=True),
    "sampler": Row("full model, batches by attributes", "sampler", fused=True),
    **{
        name: Row(f"full model, mining guided by attributes, beta {beta:g}", name, fused=True)
        for name, beta in GUIDED.items()
    },
    "listed-random": Row("listed triplets at random", "listed-random", fused=True),
    "listed-people": Row("listed triplets of people", "listed-people", fused=True),
    "listed-attributes": Row("listed triplets by attributes", "listed-attributes", fused=True),
    "joint": Row("full model of all categories together", "joint", fused=True),
    "joint-corrected": Row(f"the row `joint`, {_HOW}", "joint", fused=True, scoring=_CORRECTED),
    "joint-extra": Row(
        "full model of all categories together, with further training data",
        "joint-extra",
        fused=True,
    ),
    "joint-extra-corrected": Row(
        f"the row `joint-extra`, {_HOW}", "joint-extra", fused=True, scoring=_CORRECTED
    ),
    "ensemble": Row("ensemble of the row `joint`, all seeds", "joint", fused=True, ensemble=True),
    "ensemble-corrected": Row(
        f"ensemble of the row `joint`, all seeds, {_HOW}",
        "joint",
        fused=True,
        ensemble=True,
        scoring=_CORRECTED,
    ),
    "ensemble-extra": Row(
        "ensemble of the row `joint-extra`, all seeds", "joint-extra", fused=True, ensemble=True
    ),
    "ensemble-extra-corrected": Row(
        f"ensemble of the row `joint-extra`, all seeds, {_HOW}",
        "joint-extra",
        fused=True,
        ensemble=True,
        scoring=_CORRECTED,
    ),
}


def override(config: Config, values: Mapping[str, Any]) -> Config:
    """A configuration with some fields changed, nested ones by dotted name."""
    changed: Any = config
    for name, value in values.items():
        first, _, rest = name.partition(".")
        inner = override(getattr(changed, first), {rest: value}) if rest else value
        changed = dataclasses.replace(changed, **{first: inner})
    result: Config = changed
    return result
