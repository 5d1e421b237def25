"""What the page shows of a sketch that was not drawn as the model sees it."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageDraw

from fgsbir.evaluation.distortions import DISTORTIONS
from fgsbir.sketches import read_sketch
from tests.support.browser import BOOT, draw, names, screenshot, settled
from tests.support.drawings import SHOE, drawn, inverted, likeness, on_nothing

pytest.importorskip("fastapi")
pytest.importorskip("playwright.sync_api")
from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.support.browser import Open
    from tests.support.serving import Server

SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 256 256"><polyline fill="none" '
    f'stroke="black" stroke-width="3" points="{" ".join(f"{x},{y}" for x, y in SHOE)}"/></svg>'
)


def photographed() -> Image.Image:
    """12 megapixels."""
    photo = DISTORTIONS["photographed on a table"](drawn(), np.random.default_rng(0))
    return photo.convert("RGB").resize((3500, 3500))


def seen(page: Page) -> np.ndarray:
    """The picture that the page shows of what was searched for."""
    url = page.evaluate("document.querySelector('#seen canvas').toDataURL()")
    content = base64.b64decode(url.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(content)).convert("L"))


def test_a_small_drawing_is_searched_for_at_full_size(page: Page, tmp_path: Path) -> None:
    draw(page, [(0.05 + 0.25 * x, 0.7 + 0.25 * y) for x, y in BOOT])
    settled(page)
    expect(page.locator("#seen")).to_contain_text("moved and scaled into the frame")
    columns = np.flatnonzero((seen(page) < 128).any(axis=0))
    rows = np.flatnonzero((seen(page) < 128).any(axis=1))
    assert max(np.ptp(rows), np.ptp(columns)) == pytest.approx(224, abs=3)
    screenshot(page, tmp_path, "small")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#seen")).to_be_hidden()
    draw(page, [(0.06 + 0.88 * (x - 0.15) / 0.47, 0.06 + 0.88 * (y - 0.1) / 0.78) for x, y in BOOT])
    settled(page)
    expect(page.locator("#seen")).to_be_hidden()  # as the model sees it


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("photograph.jpg", "left out what lies around the sheet"),
        ("dark.png", "turned to dark on light"),
        ("light-on-nothing.png", "lines taken from transparency"),
        ("dark-on-nothing.png", ""),
        ("shoe.svg", ""),
    ],
)
def test_an_uploaded_picture_is_read(
    open_page: Open, tmp_path: Path, kind: str, words: str
) -> None:
    file = tmp_path / kind
    pictures = {
        "photograph.jpg": photographed,
        "dark.png": lambda: inverted(drawn()),
        "light-on-nothing.png": lambda: on_nothing(drawn(), (255, 255, 255)),
        "dark-on-nothing.png": lambda: on_nothing(drawn(), (0, 0, 0)),
    }
    if kind == "shoe.svg":
        file.write_text(SVG)
    else:
        pictures[kind]().save(file)
    page = open_page(theme="dark" if kind == "dark.png" else "light")
    page.set_input_files("#file", str(file))
    settled(page)
    screenshot(page, tmp_path, kind.partition(".")[0])
    if words:
        expect(page.locator("#seen")).to_contain_text(words)
        assert likeness(seen(page), read_sketch(drawn()).image) > 0.8
    found = names(page)
    drawn().save(tmp_path / "drawn.png")
    page.set_input_files("#file", str(tmp_path / "drawn.png"))
    settled(page)
    assert len(set(found) & set(names(page))) >= 8


def rounded(sheet: Image.Image) -> Image.Image:
    """A sheet without its corners, as a screenshot of a window has them."""
    corners = Image.new("L", sheet.size)
    ImageDraw.Draw(corners).rounded_rectangle((0, 0, *sheet.size), sheet.width // 12, fill=255)
    cut = sheet.convert("RGB")
    cut.putalpha(corners)
    return cut


@pytest.mark.parametrize(
    "picture",
    [
        on_nothing(drawn(), (255, 255, 255)),
        on_nothing(drawn(), (0, 0, 0)),
        inverted(drawn()),
        rounded(drawn(512)),
        rounded(inverted(drawn(512))),
    ],
    ids=[
        "light on nothing",
        "dark on nothing",
        "dark",
        "light without corners",
        "dark without corners",
    ],
)
def test_pen_and_eraser_suit_an_uploaded_picture(
    page: Page, tmp_path: Path, picture: Image.Image
) -> None:
    picture.save(tmp_path / "picture.png")
    page.set_input_files("#file", str(tmp_path / "picture.png"))
    settled(page)
    before = read_sketch(drawn()).image
    page.get_by_role("button", name="Eraser").click()
    draw(page, [(0.1, 0.15), (0.5, 0.15)])  # beside the shoe
    settled(page)
    if page.locator("#seen").is_visible():
        assert likeness(seen(page), before) > 0.9
    page.locator("#pen").click()
    draw(page, [(0.15, 0.9), (0.85, 0.88)])  # under the shoe
    settled(page)
    expect(page.locator("#seen")).to_be_visible()
    assert likeness(seen(page), before) < 0.9


def test_the_pen_has_the_colour_for_a_sheet_on_a_table(page: Page, tmp_path: Path) -> None:
    DISTORTIONS["photographed on a table"](drawn(), np.random.default_rng(0)).save(
        tmp_path / "photo.png"
    )
    page.set_input_files("#file", str(tmp_path / "photo.png"))
    settled(page)
    before = seen(page)
    draw(page, [(0.4, 0.4), (0.6, 0.45)])  # above the shoe's toe, on the sheet
    settled(page)
    assert np.count_nonzero(seen(page) < 128) > 1.1 * np.count_nonzero(before < 128)


def test_an_empty_sheet_is_said_to_be_empty(
    browser: Browser, server: Server, tmp_path: Path
) -> None:
    page = browser.new_page()
    page.goto(server.url)
    Image.new("L", (800, 600), 250).save(tmp_path / "sheet.png")
    page.set_input_files("#file", str(tmp_path / "sheet.png"))
    expect(page.get_by_role("alert")).to_have_text(
        "The sketch is empty: no lines can be seen on it."
    )
    expect(page.locator("#list li")).to_have_count(0)
    expect(page.locator("#empty")).to_be_visible()
    screenshot(page, tmp_path, "empty")
    ImageDraw.Draw(sheet := Image.open(tmp_path / "sheet.png")).ellipse(
        (400, 300, 406, 306), fill=0
    )
    sheet.save(tmp_path / "dot.png")
    page.set_input_files("#file", str(tmp_path / "dot.png"))
    expect(page.get_by_role("alert")).to_have_text(
        "The sketch is empty: no lines can be seen on it."
    )
    page.close()
