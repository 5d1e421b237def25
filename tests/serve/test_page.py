"""Search page in real headless Chromium."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fgsbir.data import synthetic
from tests.support.browser import BOOT, STRAP, draw, names, screenshot, settled, still
from tests.support.serving import Server, encoded

pytest.importorskip("fastapi")
pytest.importorskip("playwright.sync_api")
from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

    from tests.support.browser import Open


def test_a_stroke_finds_ten_photos(page: Page) -> None:
    expect(page.locator("#empty")).to_be_visible()
    draw(page, BOOT)
    settled(page)
    assert len(set(names(page))) == 10
    expect(page.locator("#status")).to_have_text("10 of 16 photos, nearest first")
    expect(page.locator("#empty")).to_be_hidden()
    distances = [
        float(text.split()[-1])
        for text in page.locator(".caption .quiet").all_inner_texts()
        if text.startswith("distance")
    ]
    assert distances == sorted(distances)
    assert len(distances) == 10
    widths = page.locator(".photo").evaluate_all("photos => photos.map(p => p.naturalWidth)")
    assert min(widths) > 0  # all have arrived


def test_undo_redo_clear(page: Page) -> None:
    undo, redo, clear = (page.get_by_role("button", name=n) for n in ("Undo", "Redo", "Clear"))
    expect(undo).to_be_disabled()
    draw(page, BOOT)
    settled(page)
    one = shown(page)
    draw(page, STRAP)
    settled(page)
    two = shown(page)
    assert one != two
    undo.click()
    settled(page)
    assert shown(page) == one
    page.keyboard.press("Control+Shift+Z")
    settled(page)
    assert shown(page) == two
    clear.click()
    expect(page.locator("#empty")).to_be_visible()
    expect(page.locator("#list li")).to_have_count(0)
    page.keyboard.press("Control+Z")
    settled(page)
    assert shown(page) == two
    for _ in range(5):
        page.keyboard.press("Control+Z")
    expect(page.locator("#empty")).to_be_visible()
    expect(undo).to_be_disabled()
    redo.click()
    settled(page)
    assert shown(page) == one


def shown(page: Page) -> list[str]:
    """Names and distances of what is shown."""
    return page.locator("#list .caption").all_inner_texts()


def test_the_eraser_and_the_line_width_change_the_sketch(page: Page) -> None:
    draw(page, BOOT)
    settled(page)
    thin = shown(page)
    page.keyboard.press("Control+Z")
    page.get_by_label("Line width").fill("8")
    draw(page, BOOT)
    settled(page)
    assert shown(page) != thin
    page.keyboard.press("Control+Z")
    page.get_by_label("Line width").fill("2.5")
    draw(page, BOOT)
    settled(page)
    assert shown(page) == thin
    page.get_by_role("button", name="Eraser").click()
    draw(page, STRAP)
    settled(page)
    assert shown(page) != thin


def test_chips_filter_by_attribute(page: Page) -> None:
    draw(page, BOOT)
    settled(page)
    everything = names(page)
    chips = page.locator("#chips .chip")
    expect(chips).to_have_count(4)
    orders = set()
    for i in range(4):
        name = chips.nth(i).inner_text()
        chip = page.locator("#chips").get_by_role("button", name=re.compile(f"^{name}"))
        chip.click()
        expect(chip).to_have_attribute("data-state", "must")
        expect(chip).to_be_focused()
        with_it = after_search(page)
        chip.click()
        expect(chip).to_have_attribute("data-state", "must-not")
        without_it = after_search(page)
        assert not set(with_it) & set(without_it)
        orders |= {tuple(with_it), tuple(without_it)}
        page.get_by_role("button", name="Reset", exact=True).click()
        assert after_search(page) == everything
    assert len(orders - {tuple(everything), ()}) >= 2


def after_search(page: Page) -> list[str]:
    expect(page.locator("#list[aria-busy=false]")).to_have_count(1)
    return names(page)


def test_nothing_that_fits_is_said_and_mended(page: Page) -> None:
    draw(page, BOOT)
    settled(page)
    everything = names(page)
    with page.expect_response("**/api/search?*"):
        pass_all_chips(page)
    reset = page.get_by_role("alert").get_by_role("button", name="Reset attributes")
    reset.click()
    settled(page)
    assert names(page) == everything
    expect(page.get_by_role("alert")).to_have_count(0)


def pass_all_chips(page: Page) -> None:
    """Demands attributes, and then their opposite, until no photo has them all."""
    chips = page.locator("#chips .chip")
    for i in range(4):
        for _ in range(2):
            chips.nth(i).click()
            expect(page.locator("#list[aria-busy=false]")).to_have_count(1)
            if page.locator("#list li").count() == 0:
                expect(page.locator("#status")).to_have_text("No photo fits")
                return
    pytest.fail("every combination was found")


def test_the_weight_of_attributes_reorders(page: Page) -> None:
    draw(page, BOOT)
    settled(page)
    before = names(page)
    with page.expect_response("**/api/search?*attribute_weight=1"):
        page.get_by_label("Attribute weight").fill("1")
    settled(page)
    assert names(page) != before
    page.locator(".shot").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator(".sum")).to_contain_text("+ 1.00")


def test_a_photo_is_explained(page: Page) -> None:
    draw(page, BOOT)
    settled(page)
    name = names(page)[0]
    page.locator(".shot").first.click()
    dialog = page.get_by_role("dialog", name=name)
    expect(dialog.get_by_role("img", name=name)).to_be_visible()
    expect(dialog.get_by_role("row")).to_have_count(5)  # four attributes and the head
    for row in dialog.locator("tbody tr").all():
        sketch, photo = (int(text.strip("%")) for text in row.locator(".share").all_inner_texts())
        verdict = row.locator(".verdict").inner_text()
        if 50 not in (sketch, photo):
            assert verdict == ("agrees" if (sketch > 50) == (photo > 50) else "differs")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.locator(".shot").first).to_be_focused()


def test_an_uploaded_sketch_is_searched_and_drawn_upon(page: Page) -> None:
    sketch = {"name": "a.png", "mimeType": "image/png"}
    buffer = encoded(synthetic("shoes", 1, "test").sketches[0])
    page.locator("#file").set_input_files({**sketch, "buffer": buffer})
    settled(page)
    uploaded = shown(page)
    draw(page, STRAP)
    settled(page)
    assert shown(page) != uploaded
    page.keyboard.press("Control+Z")
    settled(page)
    assert shown(page) == uploaded
    page.locator("#file").set_input_files({**sketch, "name": "b.png", "buffer": b"no picture"})
    alert = page.get_by_role("alert")
    expect(alert).to_have_text("b.png is not a picture that this browser can read.")
    assert shown(page) == uploaded


def test_drawing_with_the_keyboard_alone(page: Page) -> None:
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "canvas":
            break
    page.keyboard.press("Space")
    for key in ["ArrowRight"] * 5 + ["Shift+ArrowDown"] * 3:
        page.keyboard.press(key)
    expect(page.locator("#crosshair")).to_be_visible()
    page.keyboard.press("Space")
    settled(page)
    chip = page.locator("#chips .chip").first
    chip.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#chips .chip").first).to_have_attribute("data-state", "must")
    expect(page.locator("#chips .chip").first).to_be_focused()


def test_touch_and_pen_draw(open_page: Open) -> None:
    page = open_page("phone", has_touch=True)
    for kind, pressure in (("touch", 0.0), ("pen", 0.2), ("pen", 0.9)):
        page.locator("#canvas").evaluate(POINTERS, [kind, pressure, STRAP])
        settled(page)
    strap_by_mouse = open_page("phone")
    draw(strap_by_mouse, STRAP)
    settled(strap_by_mouse)
    page.keyboard.press("Control+Z")
    page.keyboard.press("Control+Z")
    settled(page)
    assert shown(page) == shown(strap_by_mouse)


def test_pen_held_still_paints_once_with_its_highest_pressure(open_page: Open) -> None:
    start, end = STRAP
    pictures = []
    for pressures in ([0.9], [0.2, 0.9, 0.4]):
        page = open_page("phone")
        stroke = [[*start, 0.5], *([*end, pressure] for pressure in pressures)]
        page.locator("#canvas").evaluate(POINTERS, ["pen", 0.5, stroke])
        settled(page)
        pictures.append(page.locator("#canvas").evaluate("(canvas) => canvas.toDataURL()"))
    assert pictures[0] == pictures[1]


POINTERS = """(canvas, [pointerType, pressure, points]) => {
    const box = canvas.getBoundingClientRect();
    canvas.setPointerCapture = () => {};  // there is no real pointer to capture
    points.forEach(([x, y, ownPressure = pressure], i) => {
        const last = i === points.length - 1;
        const at = { clientX: box.x + x * box.width, clientY: box.y + y * box.height };
        const options = { pointerId: 7, pointerType, pressure: ownPressure, bubbles: true, ...at };
        if (i === 0) canvas.dispatchEvent(new PointerEvent("pointerdown", options));
        canvas.dispatchEvent(new PointerEvent("pointermove", options));
        if (last) canvas.dispatchEvent(new PointerEvent("pointerup", options));
    });
}"""


@pytest.mark.parametrize(
    ("size", "theme"),
    [
        ("desktop", "light"),
        ("phone", "dark"),
        ("narrow", "light"),
        ("sideways", "light"),
        pytest.param("desktop", "dark", marks=pytest.mark.slow),
        pytest.param("phone", "light", marks=pytest.mark.slow),
    ],
)
def test_fits_and_looks(open_page: Open, tmp_path: Path, size: str, theme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = open_page(size, theme)
    states = {
        "empty": lambda: None,
        "results": lambda: (draw(page, BOOT), settled(page)),
        "pinned": lambda: pin(page),
        "details": lambda: page.locator(".shot").first.click(),
    }
    for state, reach in states.items():
        reach()
        page.mouse.move(1, 1)
        still(page)
        screenshot(page, tmp_path, f"{size}-{theme}-{state}")
        overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(overflow) <= 0, state
        found = axe.Axe().run(page)
        assert found.violations_count == 0, f"{state}: {found.generate_report()}"


def pin(page: Page) -> None:
    if not page.locator("#chips").is_visible():
        page.locator("#filters summary").click()
    for clicks, i in ((1, 0), (2, 2)):
        for _ in range(clicks):
            page.locator("#chips .chip").nth(i).click()
    expect(page.locator("#list[aria-busy=false]")).to_have_count(1)
    expect(page.locator("#filters-count")).to_have_text("2 pinned")


def test_the_theme_is_chosen_and_kept(open_page: Open) -> None:
    page = open_page(theme="dark")
    root = page.locator("html")
    expect(root).to_have_attribute("data-theme", "dark")
    page.get_by_role("button", name="Light theme").click()
    expect(root).to_have_attribute("data-theme", "light")
    page.reload()
    expect(root).to_have_attribute("data-theme", "light")


def test_reduced_motion_is_respected(open_page: Open) -> None:
    page = open_page(reduced_motion="reduce")
    draw(page, BOOT)
    settled(page)
    running = page.evaluate("document.getAnimations().length")
    assert running == 0


def test_only_the_last_of_several_searches_is_shown(page: Page) -> None:
    held: list[Route] = []

    def hold_the_first(route: Route) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)

    page.route("**/api/search?*", hold_the_first)
    draw(page, BOOT)
    expect(page.locator("#list .placeholder")).to_have_count(10)
    draw(page, STRAP)
    settled(page)
    expect(page.get_by_role("alert")).to_have_count(0)


def test_an_error_is_said_and_tried_again(browser: Browser, server: Server) -> None:
    """On its own page, since the browser itself reports failed requests on the console."""
    page = browser.new_page()
    page.goto(server.url)
    answers = iter(["abort", "busy", "broken"])

    def fail(route: Route) -> None:
        kind = next(answers, None)
        if kind == "abort":
            route.abort()
        elif kind == "busy":
            route.fulfill(status=503, headers={"Retry-After": "1"}, json={"error": "busy"})
        elif kind == "broken":
            route.fulfill(status=500, json={"error": "internal error"})
        else:
            route.continue_()

    page.route("**/api/search?*", fail)
    draw(page, BOOT)
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("The server cannot be reached.")
    alert.get_by_role("button", name="Try again").click()
    expect(alert).to_contain_text("busy; trying again in a moment")
    expect(alert).to_contain_text("Internal error.")
    alert.get_by_role("button", name="Try again").click()
    settled(page)
    expect(alert).to_have_count(0)
    page.close()


def test_a_photo_that_is_gone_leaves_a_gap(browser: Browser, server: Server) -> None:
    page = browser.new_page()
    page.goto(server.url)
    draw(page, BOOT)
    settled(page)
    nearest = names(page)[0]
    source = page.locator("#list .photo").first.get_attribute("src")
    page.route(f"**{source}", lambda route: route.fulfill(status=404))
    page.reload()
    draw(page, BOOT)
    settled(page, 9)
    assert names(page)[0] == nearest
    expect(page.locator(".broken")).to_have_text("Photo is gone")
    page.close()
