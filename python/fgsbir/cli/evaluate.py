"""``fgsbir evaluate``: score a trained model."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, Positional, arg

from ..config import EvalConfig

if TYPE_CHECKING:
    from ..data import SketchPhotoSet
    from ..data.images import Images

Split = Literal["train", "test"]


@dataclass(frozen=True)
class Evaluate:
    """Score a trained model: acc@1, acc@10, agreement with people's verdicts, attributes.

    Example: fgsbir evaluate runs/shoes --data data/sbir_cvpr2016 --json
    """

    run_folders: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN [RUN ...]")]
    """Folder that fgsbir train wrote, or the checkpoint in it. Several rank together, as an
    ensemble."""
    data: str
    """What to score on: anything that fgsbir train takes."""
    category: str | None = None
    """shoes, chairs or shoes+chairs, each scored by itself; left out, what the model was trained
    on."""
    split: Split = "test"
    """Which part of the data."""
    as_json: Annotated[FlagCreatePairsOff[bool], arg(name="json")] = False
    """Print JSON instead of a table."""
    robustness: Annotated[FlagCreatePairsOff[bool], arg(name="robustness")] = False
    """Also score the sketches drawn otherwise, on grey paper, small in a corner, in pencil and so
    on, each read and taken as it is decoded."""
    picture: Path | None = None
    """Also draw some queries with their ranked photos into this file."""
    device: str = "cpu"
    """Where to embed: cpu, cuda, cuda:1 ..."""
    config: OmitArgPrefixes[EvalConfig] = field(default_factory=EvalConfig)

    def run(self) -> None:
        from ..data import open_datasets
        from ..evaluation.metrics import score, why_meaningless
        from ..evaluation.ranking import rank_together
        from ..evaluation.robustness import robustness_table
        from ..evaluation.tables import format_robustness, format_scores
        from ..models.checkpoint import load_run

        if not self.run_folders:
            raise ValueError("RUN: expected at least one")
        runs = [load_run(folder, self.device) for folder in self.run_folders]

        def opened(split: Split) -> list[SketchPhotoSet]:
            of_model = runs[0].data.category
            return open_datasets(self.data, self.category, split, default_category=of_model)

        splits = opened(self.split)
        banks: list[Images | None] = [None] * len(splits)
        if self.config.hub_weight > 0:
            if self.split == "train":
                raise ValueError(
                    "hub_weight: expected 0 on the training split, which tells of hubs"
                )
            banks = [one.sketches for one in opened("train")]
        if self.picture is not None and len(splits) > 1:
            raise ValueError("picture: is of one category; choose it by --category")
        found = {}
        for data, bank in zip(splits, banks, strict=True):
            members = [(run.model, run.data.columns_of(data.attribute_names)) for run in runs]
            ranking = rank_together(members, data, self.config, bank=bank)
            scores = score(ranking, data)
            found[data.name] = scores.to_dict()
            if why := why_meaningless(ranking):
                print(f"note: {data.name}: {why}", file=sys.stderr)
            if not self.as_json:
                print(format_scores(data.name, scores))
            if self.robustness:
                table = robustness_table(members, data, self.config, bank=bank)
                found[data.name]["robustness"] = table
                if not self.as_json:
                    print(format_robustness(data.name, table))
            if self.picture is not None:
                from ..evaluation.figures import draw_retrievals

                draw_retrievals(data, ranking.order, self.picture)
        if self.as_json:
            print(json.dumps(found if len(found) > 1 else found.popitem()[1], indent=2))
