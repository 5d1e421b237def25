"""Headless Chromium, and helpers that draw in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = os.environ.get("FGSBIR_CHROMIUM") or shutil.which("chromium")
COUNT = 10  # photos that the page shows
SIZES = {"desktop": (1280, 800), "phone": (390, 844), "narrow": (360, 640), "sideways": (844, 390)}

BOOT = [(0.35, 0.1), (0.36, 0.5), (0.15, 0.8), (0.15, 0.88), (0.62, 0.88), (0.6, 0.1), (0.35, 0.1)]
STRAP = [(0.34, 0.45), (0.62, 0.45)]

INK = """() => {
    const canvas = document.querySelector("#canvas");
    const copy = document.createElement("canvas");
    [copy.width, copy.height] = [canvas.width, canvas.height];
    const context = copy.getContext("2d", { willReadFrequently: true });
    context.drawImage(canvas, 0, 0);
    const { data } = context.getImageData(0, 0, copy.width, copy.height);
    return data.filter((value, i) => i % 4 === 3 && value > 127).length / copy.width;
}"""

Open = Callable[..., "Page"]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, or the one that FGSBIR_CHROMIUM names; skips the test without one."""
    playwright = pytest.importorskip("playwright.sync_api")
    playwright.expect.set_options(timeout=30_000)
    if CHROMIUM is None:
        pytest.skip("no chromium: apt-get install chromium, or set FGSBIR_CHROMIUM to its path")
    # The sandbox does not work for root; there is nothing but our own page to guard against.
    options = ["--no-sandbox", "--disable-gpu"]
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


@contextmanager
def pages(browser: Browser, url: str) -> Iterator[Open]:
    """Opens the page in a size and a theme; in the end, nothing may have gone wrong in any."""
    from playwright.sync_api import expect

    wrong: list[str] = []
    hosts: set[str] = set()
    contexts = []

    def open_page(size: str = "desktop", theme: str = "light", **options: object) -> Page:
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=theme, **options
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
        page.goto(url)
        expect(page.locator("#about")).to_contain_text("photos")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []
    assert hosts <= {url.split("/")[2]}


def draw(page: Page, stroke: Sequence[tuple[float, float]] | NDArray[np.float64]) -> None:
    """Draws one stroke with the mouse, through points given as shares of the drawing area."""
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point)
    page.mouse.up()


def settled(page: Page, count: int = COUNT) -> None:
    """Waits until the answer to the last change is shown, with so many photos."""
    from playwright.sync_api import expect

    expect(page.locator("#list[aria-busy=false]")).to_have_count(1)
    expect(page.locator("#list .photo")).to_have_count(count)


def still(page: Page) -> None:
    """Waits until nothing fades or moves any more, whatever ends by itself."""
    page.evaluate(
        """() => Promise.all(document.getAnimations()
            .filter((one) => one.effect.getComputedTiming().endTime < Infinity)
            .map((one) => one.finished.catch(() => {})))"""
    )


def ink(page: Page) -> float:
    """Dark pixels on the paper, each a share of its side: the length of thin lines, nearly."""
    page.evaluate("() => new Promise((shown) => requestAnimationFrame(() => setTimeout(shown)))")
    return page.evaluate(INK)


def names(page: Page) -> list[str]:
    """The photos that are shown, nearest first."""
    return page.locator("#list .name").all_inner_texts()


def screenshot(page: Page, folder: Path, name: str) -> None:
    """Keeps a picture of the page in FGSBIR_SCREENSHOTS, or in a folder of the test."""
    page.screenshot(path=Path(os.environ.get("FGSBIR_SCREENSHOTS") or folder) / f"{name}.png")
