"""Time of reading a sketch, as drawn, under each distortion of the evaluation and several.

    OMP_NUM_THREADS=1 python -m benchmarks.studies.sketch_reading --out sketch-reading.json

Pictures are decoded before the clock starts. One thread reads; the best and the median of some
rounds over several sketches are given, in milliseconds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
from PIL import Image

from fgsbir.data import synthetic
from fgsbir.evaluation.distortions import DISTORTIONS
from fgsbir.evaluation.robustness import AS_DRAWN
from fgsbir.sketches import read_sketch

from ..harness.machine import publish

SKETCHES = 5
COMBINED = (
    ("40% in a corner", "in yellow"),
    ("40% in a corner", "white on nothing"),
    ("40% in a corner", "on grey paper", "in yellow"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--side", type=int, default=1024, help="of the pictures, in pixels")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--note", default="", help="what else the machine was doing")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    size = options.side, options.side
    drawn = [
        Image.fromarray(sketch).resize(size, Image.Resampling.LANCZOS)
        for sketch in synthetic("shoes", SKETCHES, "test").sketches
    ]
    milliseconds = {}
    for names in ((), *((name,) for name in DISTORTIONS), *COMBINED):
        times = []
        for i, sketch in enumerate(drawn):
            picture = sketch
            for name in names:
                picture = DISTORTIONS[name](picture, np.random.default_rng(i)).resize(size)
            times += [seconds(picture) for _ in range(options.rounds)]
        milliseconds[", ".join(names) or AS_DRAWN] = {
            "best": 1000 * min(times),
            "median": 1000 * statistics.median(times),
        }
    command = f"python -m benchmarks.studies.sketch_reading --side {options.side}"
    publish({"command": command, "milliseconds": milliseconds}, options.note, options.out)


def seconds(picture: Image.Image) -> float:
    """Of reading a picture once."""
    start = time.perf_counter()
    read_sketch(picture)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
