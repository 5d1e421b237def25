"""The command line: ``fgsbir quickstart``, ``fgsbir train`` and ``fgsbir evaluate``.

Every command is a dataclass whose fields are its options; heavy imports wait until one runs.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from inspect import cleandoc
from pathlib import Path
from typing import Annotated, Literal, cast

import tyro
from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, Positional, arg

from .config import EvalConfig, TrainConfig
from .presets import PRESETS

Split = Literal["train", "test"]


@dataclass(frozen=True)
class Quickstart:
    """Train on synthetic shoes, score the result and draw it: a few minutes, nothing to download.

    Example: fgsbir quickstart --out runs/quickstart
    """

    out: Path = Path("runs/quickstart")
    """Folder for the model, the log and the picture."""
    epochs: int = 40
    """Passes over the training pairs."""
    seed: int = 0
    """Of the data, the weights and the batches."""

    def run(self) -> None:
        from .quickstart import quickstart

        quickstart(self.out, epochs=self.epochs, seed=self.seed)


@dataclass(frozen=True)
class Train:
    """Train a model on pairs of sketches and photos.

    The defaults shown are those of the --backbone given.

    Example: fgsbir train --data data/sbir_cvpr2016 --category shoes --out runs/shoes
    """

    data: str
    """Benchmark folder, folder of photos/ and sketches/, CSV file, or "synthetic"."""
    out: Path
    """Folder for the checkpoint (model.safetensors) and the log (log.jsonl)."""
    category: str | None = None
    """shoes or chairs, where the data has categories."""
    config: OmitArgPrefixes[TrainConfig] = field(default_factory=TrainConfig)

    def run(self) -> None:
        from .data import open_dataset
        from .train import train

        data = open_dataset(self.data, self.category, "train")
        train(data, self.config, self.out, category=self.category)
        score = ["fgsbir", "evaluate", str(self.out), "--data", self.data]
        if self.category:
            score += ["--category", self.category]
        print(f"Done. To score it on the test split: {shlex.join(score)}")


@dataclass(frozen=True)
class Evaluate:
    """Score a trained model: acc@1, acc@10, agreement with people's verdicts, attributes.

    Example: fgsbir evaluate runs/shoes --data data/sbir_cvpr2016 --json
    """

    run_folder: Annotated[Positional[Path], arg(metavar="RUN")]
    """Folder that fgsbir train wrote, or the checkpoint in it."""
    data: str
    """What to score on: anything that fgsbir train takes."""
    category: str | None = None
    """shoes or chairs; left out, the one that the model was trained on."""
    split: Split = "test"
    """Which part of the data."""
    as_json: Annotated[FlagCreatePairsOff[bool], arg(name="json")] = False
    """Print JSON instead of a table."""
    picture: Path | None = None
    """Also draw some queries with their ranked photos into this file."""
    device: str = "cpu"
    """Where to embed: cpu, cuda, cuda:1 ..."""
    config: OmitArgPrefixes[EvalConfig] = field(default_factory=EvalConfig)

    def run(self) -> None:
        from .checkpoint import load_run
        from .data import open_dataset
        from .evaluate import rank, score
        from .table import format_scores

        run = load_run(self.run_folder, self.device)
        data = open_dataset(
            self.data, self.category, self.split, default_category=run.data.category
        )
        if data.attribute_names and run.data.attribute_names not in ((), data.attribute_names):
            raise ValueError(
                f"{data.name}: its attributes are not those that the model was trained on: "
                f"{', '.join(data.attribute_names)}; {', '.join(run.data.attribute_names)}"
            )
        ranking = rank(run.model, data, self.config)
        scores = score(ranking, data)
        if self.as_json:
            print(json.dumps(scores.to_dict(), indent=2))
        else:
            print(format_scores(data.name, scores))
        if self.picture is not None:
            from .report import draw_retrievals

            draw_retrievals(data, ranking.order, self.picture)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code: 0, or 2 for input that it cannot work with."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        _parse(arguments).run()
    except (OSError, ValueError, FloatingPointError) as error:
        if os.environ.get("FGSBIR_TRACEBACK"):
            raise
        print(f"fgsbir: error: {error}", file=sys.stderr)
        return 2
    return 0


def _parse(arguments: list[str]) -> Quickstart | Train | Evaluate:
    commands = {
        "quickstart": Quickstart(),
        "train": Train(tyro.MISSING, tyro.MISSING, config=PRESETS[_backbone(arguments)]),
        "evaluate": Evaluate(tyro.MISSING, tyro.MISSING),
    }
    parsed = tyro.cli(
        tyro.extras.subcommand_type_from_defaults(
            commands,
            descriptions={name: cleandoc(type(c).__doc__ or "") for name, c in commands.items()},
        ),
        prog="fgsbir",
        description="Find the one photo that a sketch shows.",
        args=arguments,
    )
    return cast(Quickstart | Train | Evaluate, parsed)


def _backbone(arguments: list[str]) -> str:
    """The backbone asked for, read ahead of the rest, since the other defaults depend on it."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--backbone", default="resnet")
    name: str = parser.parse_known_args(arguments)[0].backbone
    return name if name in PRESETS else "resnet"  # the full parser says what is wrong with it


if __name__ == "__main__":
    sys.exit(main())
