"""Latency of the search page over a large gallery, for one visitor and for many clients.

    python -m benchmarks.studies.serve --photos 10000 --out serve.json

`fgsbir serve` runs as a process of its own, with its defaults, over the network that `fgsbir train`
trains by default or with `--backbone` (its weights do not matter for time), or with `--untrained`
over a gallery that needs no training. One real headless Chromium draws strokes: a time goes from
the pointerup event to the frame that shows the ten photos. Then 64 clients, each of an address of
its own, search as fast as they are answered, and fetch the ten photos of every answer. Chromium,
the clients and the server share the machine.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fgsbir.config import BackboneName
from fgsbir.data import synthetic
from fgsbir.gallery import Gallery
from fgsbir.models.checkpoint import DataFacts, Run, create_model, save_run
from fgsbir.presets import PRESETS
from tests.support.browser import chromium, draw
from tests.support.serving import Server, encoded, serving

from ..harness.machine import publish

DRAWN = 200  # different photos; the rest are variants of them
SIDE = 512
CLIENTS = 64
LISTEN = """() => {
    window.ended = [];
    addEventListener("pointerup", (event) => window.ended.push(event.timeStamp), true);
}"""
SHOWN = """() => {
    const { startTime, duration } = performance.getEntriesByName("search").at(-1) ?? {};
    return { count: performance.getEntriesByName("search").length, at: startTime + duration };
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--photos", type=int, default=10_000)
    parser.add_argument("--backbone", choices=PRESETS, default="resnet", help="of `fgsbir train`")
    parser.add_argument("--untrained", action="store_true", help="the network from ImageNet")
    parser.add_argument("--strokes", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=10, help="searches of each of the 64 clients")
    parser.add_argument(
        "--folder", type=Path, default=Path("build/serve_study"), help="kept for the next time"
    )
    parser.add_argument("--note", default="", help="what else the machine was doing")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    backbone = None if options.untrained else options.backbone
    gallery, indexing = make_gallery(options.folder, options.photos, backbone)
    weight = 0.0 if options.untrained else 0.1  # of attributes, which need training
    with serving(gallery) as server:
        wait_for_thumbnails(gallery / "thumbnails", options.photos)
        strokes = time_strokes(server, options.strokes)
        load_server(server, 2, weight)  # its threads come into being
        before = server.memory()
        crowd = load_server(server, options.rounds, weight)
        after = server.memory()
        code, errors = server.stop()
    report = {
        "command": f"python -m benchmarks.studies.serve --photos {options.photos} "
        f"{'--untrained' if backbone is None else f'--backbone {backbone}'} "
        f"--strokes {options.strokes} "
        f"--rounds {options.rounds}",
        "photos": options.photos,
        "photos_indexed_per_second": None if indexing is None else options.photos / indexing,
        "stroke_to_results": summary(strokes),
        "crowd": {**crowd, "rss_mib_before": before / 2**20, "rss_mib_after": after / 2**20},
        "exit_code": code,
        "stderr": errors,
    }
    publish(report, options.note, options.out)


def make_gallery(
    folder: Path, count: int, backbone: BackboneName | None
) -> tuple[Path, float | None]:
    """A gallery of so many photos, and the seconds that it took; made once, None later.

    Without a backbone it is one that needs no training.
    """
    photos, run = folder / f"photos-{count}", folder / f"run-{backbone}"
    data = synthetic("shoes", min(DRAWN, count), "test")
    photos.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for i in range(count):
        file = photos / f"{i:06}.jpg"
        scale, turn = rng.uniform(0.8, 1.0), rng.uniform(-8, 8)
        shade = rng.uniform(0.6, 1.1, 3)
        if not file.exists():
            variant(data.photos[i % len(data.photos)], scale, turn, shade).save(file, quality=88)
    if backbone is not None and not run.exists():
        preset, facts = PRESETS[backbone], DataFacts(data.name, "shoes", data.attribute_names)
        run.mkdir()
        save_run(run, Run(create_model(preset, facts).eval(), preset, facts, 0))
    gallery = folder / f"gallery-{backbone or 'untrained'}-{count}"
    new, started = not gallery.exists(), time.perf_counter()
    Gallery.build(photos, None if backbone is None else run, gallery)
    return gallery, time.perf_counter() - started if new else None


def variant(
    photo: NDArray[np.uint8], scale: float, turn: float, shade: NDArray[np.float64]
) -> Image.Image:
    """A photo in another size, angle and colour."""
    tinted = Image.fromarray((photo * shade).clip(0, 255).astype(np.uint8))
    side = round(SIDE * scale)
    turned = tinted.resize((side, side)).rotate(turn, Image.Resampling.BILINEAR, fillcolor="white")
    canvas = Image.new("RGB", (SIDE, SIDE), "white")
    canvas.paste(turned, ((SIDE - side) // 2, (SIDE - side) // 2))
    return canvas


def wait_for_thumbnails(folder: Path, count: int) -> None:
    """Until the server has made all of them, as it does by itself when it starts."""
    while len(list(folder.glob("*/*.jpg"))) < count:
        time.sleep(1)


def time_strokes(server: Server, count: int) -> list[float]:
    """Seconds from the end of each stroke to its results, as one person draws."""
    rng = np.random.default_rng(1)
    seconds = []
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(server.url)
        page.locator("#about").get_by_text("photos").wait_for()
        page.evaluate(LISTEN)
        for i in range(count):
            if i % 12 == 0 and i:
                page.get_by_role("button", name="Clear").click()
            shown = page.evaluate(SHOWN)["count"]
            draw(page, np.cumsum(rng.normal(0, 0.05, (12, 2)), axis=0) + rng.uniform(0.3, 0.7, 2))
            while (now := page.evaluate(SHOWN))["count"] == shown:
                page.wait_for_timeout(50)  # rarely: looking takes time from the page
            seconds.append((now["at"] - page.evaluate("window.ended.at(-1)")) / 1000)
            page.wait_for_timeout(400)  # a person's pause
    return seconds


def load_server(server: Server, rounds: int, weight: float) -> dict[str, Any]:
    """64 clients at once; seconds of each search, and how many were answered a second."""
    sketches = [encoded(sketch) for sketch in synthetic("shoes", 16, "test").sketches]

    def visit(number: int) -> tuple[list[float], int]:
        transport = httpx2.HTTPTransport(local_address=f"127.0.1.{number + 1}")
        seconds, wrong = [], 0
        with httpx2.Client(base_url=server.url, transport=transport, timeout=120) as client:
            for i in range(rounds):
                body = sketches[(number + i) % len(sketches)]
                started = time.perf_counter()
                answer = client.post(f"/api/search?attribute_weight={weight}", content=body)
                seconds.append(time.perf_counter() - started)
                wrong += answer.status_code != 200
                for match in answer.json().get("matches", []):
                    wrong += client.get(match["photo"]).status_code != 200
        return seconds, wrong

    started = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        visits = list(pool.map(visit, range(CLIENTS)))
    wall = time.perf_counter() - started
    return {
        "clients": CLIENTS,
        "errors": sum(wrong for _, wrong in visits),
        "searches_per_second": CLIENTS * rounds / wall,
        "photos_per_second": 10 * CLIENTS * rounds / wall,
        "search": summary([second for seconds, _ in visits for second in seconds]),
    }


def summary(seconds: list[float]) -> dict[str, float]:
    """Median and 95th percentile in milliseconds."""
    return {
        "count": len(seconds),
        "median_ms": 1e3 * float(np.median(seconds)),
        "p95_ms": 1e3 * float(np.quantile(seconds, 0.95)),
        "max_ms": 1e3 * max(seconds),
    }


if __name__ == "__main__":
    main()
