"""Quickstart: data, training, scores and a figure on the synthetic set.

From the command line: ``fgsbir quickstart``.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
from pathlib import Path

import numpy as np
from PIL import Image

from .data import synthetic
from .data.images import Images
from .evaluation.figures import draw_retrievals
from .evaluation.metrics import Scores, score
from .evaluation.ranking import rank
from .evaluation.tables import format_scores
from .models.checkpoint import FILE_NAME
from .presets import QUICKSTART
from .training.run_log import LOG_NAME
from .training.train import train

CATEGORY = "shoes"
TRAIN_PAIRS = 300
TEST_PAIRS = 100


def quickstart(out: Path, *, epochs: int, seed: int) -> Scores:
    """Trains on synthetic shoes; leaves the model, its log, scores and pictures in a folder.

    Raises:
        ValueError: for an option out of range.
    """
    config = dataclasses.replace(
        QUICKSTART, seed=seed, optim=dataclasses.replace(QUICKSTART.optim, epochs=epochs)
    )
    config.check()
    print(f"Drawing {TRAIN_PAIRS} synthetic shoes to train on and {TEST_PAIRS} others to find.")
    train_set = synthetic(CATEGORY, TRAIN_PAIRS, "train", seed)
    test_set = synthetic(CATEGORY, TEST_PAIRS, "test", seed)
    print(f"Training a {config.model.backbone} for {epochs} epochs.")
    run = train(train_set, config, out, category=CATEGORY, overwrite=True)

    ranking = rank(run.model, test_set)
    scores = score(ranking, test_set)
    (out / "scores.json").write_text(json.dumps(scores.to_dict(), indent=2) + "\n")
    picture = draw_retrievals(test_set, ranking.order, out / "retrievals.png", seed=seed)
    photos = _write_images(test_set.photos, out / "photos")
    sketches = _write_images(test_set.sketches, out / "sketches")
    print(f"\n{format_scores(test_set.name, scores)}\n")
    print(f"Picture of sketches and the photos found for them: {picture}")
    print(f"Model: {out / FILE_NAME}   log: {out / LOG_NAME}   scores: {out / 'scores.json'}")
    run_folder, gallery = shlex.quote(str(out)), shlex.quote(str(out / "gallery"))
    print(
        "Draw a shoe and see it found (the page needs: pip install 'fgsbir-ext[demo]'):\n"
        f"  fgsbir index {shlex.quote(str(photos))} --model {run_folder} --out {gallery}\n"
        f"  fgsbir serve {gallery}\n"
        "or look for one of the sketches:\n"
        f"  fgsbir search {gallery} {shlex.quote(str(sketches / 'shoe-000.png'))}"
    )
    print(
        "Next, with pairs of your own (a folder with sketches/ and photos/, same file names):\n"
        "  fgsbir train --data FOLDER --out runs/mine\n"
        "  fgsbir evaluate runs/mine --data FOLDER --picture runs/mine/retrievals.png"
    )
    return scores


def _write_images(images: Images, folder: Path) -> Path:
    """Images of a set as files; returns the folder."""
    folder.mkdir(exist_ok=True)
    for i in range(len(images)):
        Image.fromarray(np.asarray(images[i])).save(folder / f"shoe-{i:03}.png")
    return folder
