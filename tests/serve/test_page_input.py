"""Input to the page: two fingers, keyboard, undo, interruptions; and servers that are lost."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from fgsbir.data import synthetic
from tests.support.browser import BOOT, STRAP, draw, ink, names, settled
from tests.support.serving import Server, encoded
from tests.support.waiting import wait_until

pytest.importorskip("fastapi")
pytest.importorskip("playwright.sync_api")
from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

    from tests.support.browser import Open


def test_one_finger_draws_and_two_zoom(open_page: Open) -> None:
    page = open_page("phone", has_touch=True, is_mobile=True, device_scale_factor=2)
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    x, y = box["x"] + 100, box["y"] + 100
    touches = page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        at = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]
        touches.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})

    touch("touchStart", (x, y))
    for i in range(10):
        touch("touchMove", (x + 3 * i, y + 8 * i))
    touch("touchEnd")
    settled(page)
    drawn = ink(page)
    assert drawn > 0
    assert page.evaluate("scrollY") == 0
    touch("touchStart", (x, y))
    touch("touchMove", (x + 4, y))
    touch("touchStart", (x + 4, y), (x + 90, y))
    for i in range(10):
        touch("touchMove", (x - 3 * i, y), (x + 90 + 4 * i, y))
    touch("touchEnd")
    wait_until(lambda: page.evaluate("visualViewport.scale") > 1.2)
    assert ink(page) == drawn


def test_undo_and_clear_forget_the_stroke_in_the_hand(page: Page) -> None:
    draw(page, BOOT)
    settled(page)
    drawn, found = ink(page), names(page)
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 250, box["y"] + 250)
    assert ink(page) > drawn
    page.keyboard.press("Control+Z")
    page.mouse.up()
    assert ink(page) == drawn
    page.locator("#canvas").press("Space")
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Control+Z")
    assert ink(page) == drawn
    assert names(page) == found
    page.keyboard.press("Space")
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Delete")
    page.keyboard.press("Space")
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Space")
    expect(page.locator("#list[aria-busy=false] .photo")).to_have_count(10)
    assert 0 < ink(page) < drawn


def test_what_is_erased_is_searched_no_more(browser: Browser, server: Server) -> None:
    page = browser.new_page()
    page.goto(server.url)
    draw(page, STRAP)
    settled(page)
    page.get_by_role("button", name="Eraser").click()
    page.get_by_label("Line width").fill("8")
    draw(page, [(0.2, 0.45), (0.8, 0.45)])
    expect(page.get_by_role("alert")).to_have_text(
        "The sketch is empty: no lines can be seen on it."
    )
    expect(page.locator("#empty")).to_be_visible()
    expect(page.locator("#list li")).to_have_count(0)
    expect(page.locator("#list")).to_have_attribute("aria-busy", "false")
    expect(page.locator("#seen")).to_be_hidden()
    page.keyboard.press("Control+Z")
    settled(page)
    expect(page.get_by_role("alert")).to_be_hidden()
    page.close()


def test_the_pen_of_the_keys_is_seen_and_heard(page: Page) -> None:
    hint, state = page.get_by_text("Draw here"), page.locator("#pen-state")
    expect(hint).to_be_visible()
    page.locator("#canvas").press("Space")
    expect(state).to_have_text("Pen down")
    page.keyboard.press("Shift+ArrowRight")
    expect(hint).to_be_hidden()
    page.keyboard.press("Space")
    expect(state).to_have_text("Pen up")
    settled(page)
    page.keyboard.press("Control+Z")
    expect(hint).to_be_visible()


def test_a_drawing_follows_the_size_of_its_paper(page: Page) -> None:
    draw(page, BOOT)
    settled(page)
    before, found = ink(page) / side(page), names(page)
    page.set_viewport_size({"width": 500, "height": 500})
    wait_until(lambda: side(page) < 300)
    assert ink(page) / side(page) == pytest.approx(before, rel=0.1)
    page.keyboard.press("Control+Z")
    page.keyboard.press("Control+Shift+Z")
    settled(page)
    assert names(page) == found


def side(page: Page) -> int:
    return page.evaluate("document.querySelector('#canvas').width")


def test_a_chip_stays_in_its_place_when_pressed(page: Page) -> None:
    chips = page.locator("#chips .chip")
    boxes = [chips.nth(i).bounding_box() for i in range(4)]
    draw(page, BOOT)
    settled(page)
    for _ in range(2):
        for i in range(4):
            chips.nth(i).click()
        assert [chips.nth(i).bounding_box() for i in range(4)] == boxes


def test_fingers_find_everything(open_page: Open) -> None:
    page = open_page("phone", has_touch=True, is_mobile=True)
    page.locator("#filters summary").click()
    draw(page, BOOT)
    settled(page)
    page.locator("#chips .chip").first.click()
    expect(page.locator("#reset")).to_be_visible()
    expect(page.locator("#list[aria-busy=false]")).to_have_count(1)
    small = page.locator("button:visible, summary:visible, input:visible").evaluate_all(
        """(controls) => controls.filter((control) => {
            control.scrollIntoView({ block: "center" });
            const { x, y, width, height } = control.getBoundingClientRect();
            return [-21, 21].some((off) => {
                const hit = document.elementFromPoint(x + width / 2, y + height / 2 + off);
                return !control.contains(hit);
            });
        }).map((control) => control.outerHTML)"""
    )
    assert small == []


def test_a_picture_may_be_dropped_anywhere(page: Page) -> None:
    content = base64.b64encode(encoded(synthetic("shoes", 1, "test").sketches[0])).decode()
    dropped = page.evaluate_handle(
        """(content) => {
            const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], "shoe.png", { type: "image/png" }));
            return transfer;
        }""",
        content,
    )
    page.locator("#results").dispatch_event("drop", {"dataTransfer": dropped})
    settled(page)
    assert ink(page) > 0


def test_a_server_that_comes_late_is_met_at_the_first_stroke(
    browser: Browser, server: Server
) -> None:
    page = browser.new_page()
    page.route("**/api/gallery", lambda route: route.abort(), times=1)
    page.goto(server.url)
    expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached.")
    draw(page, BOOT)
    settled(page)
    expect(page.locator("#status")).to_have_text("10 of 16 photos, nearest first")
    expect(page.locator("#chips .chip")).to_have_count(4)
    page.close()


def test_photos_of_an_earlier_sketch_are_called_so(browser: Browser, server: Server) -> None:
    page = browser.new_page()
    page.goto(server.url)
    draw(page, BOOT)
    settled(page)

    def cut(route: Route) -> None:
        route.fulfill(status=200, body='{"matches": [')

    page.route("**/api/search?*", cut, times=1)
    draw(page, STRAP)
    expect(page.locator("#status")).to_have_text("Found for an earlier sketch")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("The server's answer (200) cannot be read.")
    alert.get_by_role("button", name="Try again").click()
    settled(page)
    expect(page.locator("#status")).to_have_text("10 of 16 photos, nearest first")
    page.close()
