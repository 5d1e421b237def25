"""Accuracy and speed of galleries on the QMUL benchmark.

    python -m benchmarks.studies.search_accuracy --data sbir_cvpr2016 --split test --out test.json

Photos are indexed and sketches searched as users do it, by `Gallery.build` and `Gallery.search`.
Without `--model`, galleries are those without training; their calibration is by the photos' own
edge maps, by the sketches of the other split, or by sketches of other things (`--tu-berlin`). With
`--distractors`, shoes and chairs and further photos are also one gallery.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from fgsbir.data import SketchPhotoSet, load_sbir
from fgsbir.data.edges import PhotoEdges
from fgsbir.data.images import ImageFiles, Images, name_of
from fgsbir.evaluation.metrics import score
from fgsbir.evaluation.ranking import Ranking
from fgsbir.gallery import Gallery
from fgsbir.models import Output

from ..harness.machine import publish

CATEGORIES = ("shoes", "chairs")
TU_BERLIN_SKETCHES = 800


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the benchmark")
    parser.add_argument("--split", choices=("train", "test"), default="train")
    parser.add_argument("--model", type=Path, help="run of `fgsbir train` on both categories")
    parser.add_argument("--attribute-weight", type=float, default=0.0, help="of a trained model")
    parser.add_argument("--tu-berlin", type=Path, help="tu_berlin_224_bits.npz")
    parser.add_argument("--distractors", type=Path, help="folder of shoes that face the other way")
    parser.add_argument("--note", default="", help="what else the machine was doing")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.model is not None and options.tu_berlin is not None:
        parser.error("--tu-berlin calibrates galleries without training, not those of --model")
    if options.model is None and options.attribute_weight:
        parser.error("--attribute-weight needs --model: without training there are no attributes")
    trained = f" --model RUN --attribute-weight {options.attribute_weight:g}"
    with tempfile.TemporaryDirectory() as scratch:
        report = {
            "command": f"python -m benchmarks.studies.search_accuracy --split {options.split}"
            + (trained if options.model is not None else ""),
            "split": options.split,
            "galleries": list(_galleries(options, Path(scratch))),
            "threads": torch.get_num_threads(),
        }
    publish(report, options.note, options.out)


def _galleries(options: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    sets = {name: load_sbir(options.data, name, options.split) for name in CATEGORIES}
    other = "train" if options.split == "test" else "test"
    model: Path | None = options.model
    own = "nothing" if model else "edge maps of its photos"
    stand_ins: dict[str, Path | None] = {own: None}
    if options.tu_berlin is not None:
        stand_ins["TU-Berlin"] = _tu_berlin(options.tu_berlin, folder / "tu-berlin")
    for name, data in sets.items():
        _link(data.photos, folder / name)
        ways = dict(stand_ins)
        if model is None:
            drawn = load_sbir(options.data, name, other).sketches
            ways[f"{name} {other}"] = _link(drawn, folder / f"{name} {other}")
        for kind, sketches in ways.items():
            out = folder / f"{name} {kind}.gallery"
            gallery, seconds = _build(folder / name, model, out, sketches)
            yield {
                "photos": name,
                "calibrated_by": kind,
                "index_seconds": seconds,
                **_scores(gallery, data, folder / name, options.attribute_weight),
            }
    if options.distractors is not None:
        everything = folder / "everything"
        for name, data in sets.items():
            _link(data.photos, everything / name)
        _mirror(options.distractors, everything / "others")
        gallery, seconds = _build(everything, model, folder / "everything.gallery", None)
        for name, data in sets.items():
            yield {
                "photos": f"{name} among {len(gallery)}",
                "calibrated_by": own,
                "index_seconds": seconds,
                **_scores(gallery, data, everything / name, options.attribute_weight),
            }


def _build(
    photos: Path, model: Path | None, out: Path, sketches: Path | None
) -> tuple[Gallery, float]:
    started = time.perf_counter()
    gallery = Gallery.build(photos, model, out, sketches=sketches, progress=False)
    return gallery, time.perf_counter() - started


def _scores(gallery: Gallery, data: SketchPhotoSet, photos: Path, weight: float) -> dict[str, Any]:
    """Accuracy of all sketches of a split in a gallery that holds its photos, and time of each."""
    own = [photos / Path(name_of(data.photos, i)).name for i in range(len(data.photos))]
    rest = sorted({Path(path) for path in gallery.rows().paths} - set(own))
    place = {path: i for i, path in enumerate([*own, *rest])}
    distances, order, seconds = [], [], []
    for i in range(len(data.sketches)):
        started = time.perf_counter()
        sketch = name_of(data.sketches, i)
        matches = gallery.search(sketch, k=len(gallery), attribute_weight=weight)
        seconds.append(time.perf_counter() - started)
        distances.append([match.distance for match in matches])
        order.append([place[match.path] for match in matches])
    nothing = Output(torch.empty(0, 0), None)
    ranking = Ranking(torch.tensor(distances), torch.tensor(order), nothing, nothing)
    files = ImageFiles(list(place))
    labels = np.concatenate([data.photo_labels, np.full(len(rest), -1)])
    whole = replace(
        data, photos=files, edges=PhotoEdges(files), photo_labels=labels, photo_attributes=None
    )
    found = score(ranking, whole).to_dict()
    return {
        **{name: found[name] for name in ("acc@1", "acc@10", "mrr", "trip_acc", "sketches")},
        "gallery": len(gallery),
        "search_median_ms": 1000 * statistics.median(seconds),
    }


def _link(images: Images, folder: Path) -> Path:
    """A folder of links to the files of a set."""
    folder.mkdir(parents=True)
    for i in range(len(images)):
        file = Path(name_of(images, i)).resolve()
        (folder / file.name).symlink_to(file)
    return folder


def _mirror(photos: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    for file in sorted(photos.glob("*.jpg")):
        with Image.open(file) as photo:
            ImageOps.mirror(photo).save(folder / file.name, quality=95)


def _tu_berlin(file: Path, folder: Path) -> Path:
    """Every so many sketches of TU-Berlin as files."""
    folder.mkdir()
    packed = np.load(file)["bits"]
    chosen: Sequence[int] = range(0, len(packed), len(packed) // TU_BERLIN_SKETCHES)
    for i in chosen:
        ink = np.unpackbits(packed[i], axis=1)
        Image.fromarray(255 * (1 - ink)).save(folder / f"{i:05}.png")
    return folder


if __name__ == "__main__":
    main()
