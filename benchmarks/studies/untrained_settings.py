"""Settings of galleries without training, compared on the training split of the QMUL benchmark.

    python -m benchmarks.studies.untrained_settings --data sbir_cvpr2016 --out settings.json

Every setting is changed by itself from what `fgsbir.gallery.calibration` uses: the network and the
block that gives the map, normalisation of channels, the stand-in for sketches, what is whitened,
how many channels are kept, how hubs are corrected, how many photos are looked at.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from fgsbir.data import PhotoEdges, load_sbir
from fgsbir.data.images import Images
from fgsbir.gallery.calibration import CHANNELS, HUB_NEIGHBOURS, HUB_WEIGHT_OF_EDGES, SAMPLE
from fgsbir.models import efficientnet_lite0, efficientnet_lite2
from fgsbir.models.efficientnet_lite import Variant, build
from fgsbir.models.preprocess import as_float, photos_to_ink, sketches_to_ink, to_ink
from fgsbir.models.whitening import SHRINKAGE
from fgsbir.sketches import EmptySketchError, read_sketch

from ..harness.machine import publish

CATEGORIES = ("shoes", "chairs")
NETWORKS = {"lite0": efficientnet_lite0.VARIANT, "lite2": efficientnet_lite2.VARIANT}
BLOCKS = {"lite0": (8, 9, 11, 12, 13, 14, 15), "lite2": (12, 13, 15, 16, 17)}
CELLS = 7
TEST_SIZE = {"shoes": 115, "chairs": 97}  # photos of the test splits
DRAWS = 20  # random galleries of these sizes

Maps = dict[str, Tensor]
"""Of photos, of sketches and of edge maps: (N, C, CELLS, CELLS)."""


@dataclass(frozen=True)
class Setting:
    """What is compared; the defaults are what galleries use."""

    network: str = "lite0"
    blocks: int = 13
    sketches: str = "edge maps, read"
    means: bool = True
    normalised: bool = True
    whitened: tuple[str, ...] = ("photos", "sketches")
    channels: int = CHANNELS
    shrinkage: float = SHRINKAGE
    neighbours: int = HUB_NEIGHBOURS
    hub_weight: float = HUB_WEIGHT_OF_EDGES
    sample: int | None = SAMPLE


def settings() -> Iterator[tuple[str, Setting]]:
    """All settings with their names."""
    chosen = Setting()
    yield "as galleries are", chosen
    yield "no means taken off", replace(chosen, means=False)
    yield "channels not normalised", replace(chosen, normalised=False)
    yield "not whitened", replace(chosen, whitened=())
    yield (
        "none of these",
        replace(chosen, means=False, normalised=False, whitened=(), hub_weight=0.0),
    )
    yield "means alone", replace(chosen, normalised=False, whitened=(), hub_weight=0.0)
    yield "whitened by photos alone", replace(chosen, whitened=("photos",))
    for channels in (32, 96, 192):
        yield f"{channels} channels", replace(chosen, channels=channels)
    for shrinkage in (0.3, 3.0):
        yield f"shrinkage {shrinkage}", replace(chosen, shrinkage=shrinkage)
    for weight in (0.0, 0.5, 1.0):
        yield f"hub weight {weight}", replace(chosen, hub_weight=weight)
    for sample in (5, 20, 50):
        yield f"{sample} photos looked at", replace(chosen, sample=sample)
    yield "all photos looked at", replace(chosen, sample=None)
    yield "edge maps as they are", replace(chosen, sketches="edge maps")
    for weight in (0.25, 0.5):
        yield (
            f"the very sketches searched with, hub weight {weight}",
            replace(chosen, sketches="sketches", hub_weight=weight),
        )
    for network, counts in BLOCKS.items():
        for blocks in counts:
            if (network, blocks) != (chosen.network, chosen.blocks):
                yield f"{network}, {blocks} blocks", replace(chosen, network=network, blocks=blocks)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the benchmark")
    parser.add_argument("--note", default="", help="what else the machine was doing")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    scores: dict[str, dict[str, list[float]]] = {name: {} for name, _ in settings()}
    smaller = {}
    for network in NETWORKS:
        for category in CATEGORIES:
            found = maps(options.data, category, network)
            if network == Setting().network:
                smaller[category] = in_smaller_galleries(found[Setting().blocks], category)
            for name, setting in settings():
                if setting.network == network:
                    scores[name][category] = accuracy(found[setting.blocks], setting)
    report = {
        "command": "python -m benchmarks.studies.untrained_settings",
        "what": "training split, all photos of a category as the gallery; acc@1, acc@10 in percent",
        "scores": scores,
        "what_smaller": f"means over {DRAWS} random galleries as large as those of the test split",
        "smaller": smaller,
    }
    publish(report, options.note, options.out)


@torch.inference_mode()
def maps(root: Path, category: str, network: str) -> dict[int, Maps]:
    """What some numbers of blocks give for all images of a category."""
    variant: Variant = NETWORKS[network]
    backbone = build(replace(variant, maps=(max(BLOCKS[network]),)), variant.size)
    variant.weights.load(backbone.layers)
    layers, given = backbone.layers.eval(), backbone.preprocessing
    data = load_sbir(root, category, "train")
    edges: Images = PhotoEdges(data.photos)
    inks = {
        "photos": photos_to_ink(data.photos, given),
        "sketches": sketches_to_ink(data.sketches, given),
        "edge maps": to_ink(edges, given),
        "edge maps, read": to_ink([_read(edges[i]) for i in range(len(edges))], given),
    }
    wanted = set(BLOCKS[network])
    found: dict[int, dict[str, list[Tensor]]] = {count: {} for count in wanted}
    for kind, images in inks.items():
        for batch in images.split(4):
            x = given.normalised(as_float(batch)).contiguous(memory_format=torch.channels_last)
            for count, layer in enumerate(layers[: max(wanted) + 1]):
                x = layer(x)
                if count in wanted:
                    found[count].setdefault(kind, []).append(F.adaptive_avg_pool2d(x, CELLS))
    return {
        count: {kind: torch.cat(parts) for kind, parts in kinds.items()}
        for count, kinds in found.items()
    }


def _read(edges: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An edge map as if somebody had drawn it; itself where it is empty."""
    try:
        return read_sketch(edges).image
    except EmptySketchError:
        return edges


def accuracy(found: Maps, setting: Setting) -> list[float]:
    """acc@1 and acc@10 of a setting."""
    photos, sketches, known = (
        F.instance_norm(found[kind]) if setting.normalised else found[kind]
        for kind in ("photos", "sketches", setting.sketches)
    )
    looked_at = np.random.default_rng(0).permutation(len(photos))[: setting.sample]
    photo_mean = photos[looked_at].mean(0) * setting.means
    sketch_mean = known[looked_at].mean(0) * setting.means
    centred = {
        "photos": photos[looked_at] - photos[looked_at].mean(0),
        "sketches": known[looked_at] - known[looked_at].mean(0),
    }
    change = _whitening([centred[kind] for kind in setting.whitened], setting)
    p = _rows(photos - photo_mean, change)
    s = _rows(sketches - sketch_mean, change)
    hubs = p @ _rows(known[looked_at] - sketch_mean, change).T
    nearest = hubs.topk(min(setting.neighbours, hubs.shape[1]), dim=1).values
    scores = s @ p.T - setting.hub_weight * nearest.mean(1)
    ranks = (scores > scores.diagonal()[:, None]).sum(1)
    return [100 * float((ranks < k).float().mean()) for k in (1, 10)]


def in_smaller_galleries(found: Maps, category: str) -> list[float]:
    """acc@1 and acc@10 in random galleries of the size of the test split, on average."""
    rng = np.random.default_rng(0)
    scores = []
    for _ in range(DRAWS):
        chosen = rng.permutation(len(found["photos"]))[: TEST_SIZE[category]]
        scores.append(accuracy({kind: of[chosen] for kind, of in found.items()}, Setting()))
    return np.mean(scores, 0).tolist()


def _rows(maps: Tensor, change: Tensor | None) -> Tensor:
    if change is not None:
        maps = torch.einsum("nchw,ck->nkhw", maps, change)
    return F.normalize(maps.flatten(1))


def _whitening(domains: list[Tensor], setting: Setting) -> Tensor | None:
    if not domains:
        return None
    cells = [one.transpose(0, 1).flatten(1).double() for one in domains]
    covariance = sum(one @ one.T / one.shape[1] for one in cells)
    variances, directions = torch.linalg.eigh(covariance)
    shrunk = variances + setting.shrinkage * variances.mean()
    return (directions * shrunk.rsqrt())[:, -setting.channels :].float()


if __name__ == "__main__":
    main()
