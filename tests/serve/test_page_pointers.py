"""Pointers of real hands on the page: palms, pens, ends that never come, edges; and reloading."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from fgsbir.data import synthetic
from tests.support.browser import BOOT, STRAP, draw, ink, names, settled
from tests.support.serving import encoded

pytest.importorskip("fastapi")
pytest.importorskip("playwright.sync_api")
from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.support.browser import Open
    from tests.support.serving import Server

LINE = [(0.2 + 0.05 * i, 0.3) for i in range(12)]
LOWER = [(0.2 + 0.05 * i, 0.7) for i in range(12)]


class Hand:
    """Touches, a pen and a mouse, as the browser gets them from the system."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self._session = page.context.new_cdp_session(page)
        box = page.locator("#canvas").bounding_box()
        assert box is not None
        self._box = box

    def at(self, place: tuple[float, float]) -> dict[str, float]:
        x, y = place
        return {
            "x": self._box["x"] + x * self._box["width"],
            "y": self._box["y"] + y * self._box["height"],
        }

    def touch(self, kind: str, *places: tuple[float, float]) -> None:
        points = [{**self.at(place), "id": i} for i, place in enumerate(places)]
        self._session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def pointer(self, kind: str, place: tuple[float, float], **options: Any) -> None:
        event = {"type": kind, **self.at(place), "clickCount": 1, **options}
        self._session.send("Input.dispatchMouseEvent", event)

    def mouse(self, stroke: list[tuple[float, float]], *, lifts: bool = True) -> None:
        """A stroke of the mouse, whose end may never be told."""
        held = {"button": "left", "buttons": 1}
        self.pointer("mousePressed", stroke[0], **held)
        for place in stroke[1:]:
            self.pointer("mouseMoved", place, **held)
        if lifts:
            self.pointer("mouseReleased", stroke[-1], button="left", buttons=0)

    def finger(self, stroke: list[tuple[float, float]]) -> None:
        """A stroke of one finger."""
        self.touch("touchStart", stroke[0])
        for place in stroke[1:]:
            self.touch("touchMove", place)
        self.touch("touchEnd")

    def pen(self, stroke: list[tuple[float, float]], **options: Any) -> None:
        """A stroke of the pen's tip."""
        held = {"pointerType": "pen", "button": "left", "buttons": 1, "force": 0.5, **options}
        near = {**held, "button": "none", "buttons": 0, "force": 0}
        self.pointer("mouseMoved", stroke[0], **near)
        self.pointer("mousePressed", stroke[0], **held)
        for place in stroke[1:]:
            self.pointer("mouseMoved", place, **held)
        self.pointer("mouseReleased", stroke[-1], **{**held, "buttons": 0, "force": 0})


@pytest.fixture
def page(open_page: Open) -> Page:
    return open_page("desktop", has_touch=True)


def undone(page: Page) -> int:
    """How many steps there were; none are left."""
    count = 0
    while page.locator("#undo").get_attribute("aria-disabled") == "false":
        page.locator("#undo").click()
        count += 1
    return count


def test_a_palm_before_the_pen_gives_way(page: Page) -> None:
    hand = Hand(page)
    hand.pen(LINE)
    settled(page)
    alone = ink(page)
    assert undone(page) == 1
    page.wait_for_timeout(600)  # the pen is away
    hand.touch("touchStart", (0.8, 0.9))
    hand.touch("touchMove", (0.81, 0.91))
    hand.pen(LINE)
    hand.touch("touchMove", (0.85, 0.95))
    hand.touch("touchEnd")
    settled(page)
    assert ink(page) == pytest.approx(alone, rel=0.02)
    assert undone(page) == 1


def test_a_palm_between_two_strokes_of_the_pen_draws_nothing(page: Page) -> None:
    hand = Hand(page)
    hand.pen(LINE)
    hand.touch("touchStart", (0.8, 0.9))
    hand.touch("touchMove", (0.7, 0.95))
    hand.touch("touchEnd")
    hand.pen(LOWER)
    settled(page)
    assert undone(page) == 2


def test_a_finger_draws_after_the_pen_is_away(page: Page) -> None:
    hand = Hand(page)
    hand.pen(LINE)
    page.wait_for_timeout(600)
    hand.finger(LOWER)
    settled(page)
    assert undone(page) == 2


def test_the_end_of_a_mouses_stroke_may_be_lost(page: Page) -> None:
    hand = Hand(page)
    hand.mouse(LINE, lifts=False)
    one = ink(page)
    # The window was switched, the button released elsewhere: it comes back without one.
    hand.pointer("mouseMoved", (0.9, 0.9), button="none", buttons=0)
    settled(page)
    assert ink(page) == pytest.approx(one, rel=0.02)
    draw(page, LOWER)
    settled(page)
    assert ink(page) > 1.6 * one
    assert undone(page) == 2


@pytest.mark.parametrize("other", ["pen", "touch", "mouse"])
def test_any_stroke_is_drawn_after_one_that_did_not_end(other: str, page: Page) -> None:
    hand = Hand(page)
    hand.mouse(LINE, lifts=False)
    {"pen": hand.pen, "mouse": hand.mouse, "touch": hand.finger}[other](LOWER)
    settled(page)
    assert undone(page) == 2


@pytest.mark.parametrize(
    ("first", "other"),
    [
        ("touch", "mouse"),
        ("touch", "touch"),
        ("pen", "mouse"),
        ("pen", "pen"),
        pytest.param("touch", "pen", marks=pytest.mark.slow),
        pytest.param("pen", "touch", marks=pytest.mark.slow),
    ],
)
def test_a_finger_or_pen_whose_end_is_lost_blocks_nothing(
    first: str, other: str, page: Page
) -> None:
    """At once by a mouse and by its own kind; by others once it has been silent for a while."""
    hand = Hand(page)
    if first == "touch":
        hand.touch("touchStart", LINE[0])
        for place in LINE[1:]:
            hand.touch("touchMove", place)
    else:
        held = {"pointerType": "pen", "button": "left", "buttons": 1, "force": 0.5}
        hand.pointer("mousePressed", LINE[0], **held)
        for place in LINE[1:]:
            hand.pointer("mouseMoved", place, **held)
    if other not in ("mouse", first):
        page.wait_for_timeout(3200)
    if first == other == "touch":
        hand.touch("touchCancel")  # Chromium itself ends it; the page hears of that
        page.wait_for_timeout(100)
        hand.finger(LINE)
    {"pen": hand.pen, "mouse": hand.mouse, "touch": hand.finger}[other](LOWER)
    settled(page)
    assert undone(page) == 2


def test_a_window_that_is_left_ends_the_mouses_stroke(page: Page) -> None:
    hand = Hand(page)
    hand.mouse(LINE, lifts=False)
    page.evaluate("dispatchEvent(new Event('blur'))")
    settled(page)
    assert undone(page) == 1


def test_a_pen_with_its_button_held_draws_where_it_touches(page: Page) -> None:
    hand = Hand(page)
    hand.pen(LINE, button="right", buttons=2)
    settled(page)
    drawn = ink(page)
    assert drawn > 0
    # Near, the button pressed: nothing. Down, still held: it draws. Up: it does not.
    pen = {"pointerType": "pen", "button": "right"}
    hand.pointer("mousePressed", (0.1, 0.1), **pen, buttons=2, force=0)
    hand.pointer("mouseMoved", (0.9, 0.1), **pen, buttons=2, force=0)
    assert ink(page) == drawn
    for place in LOWER:
        hand.pointer("mouseMoved", place, **pen, buttons=3, force=0.5)
    for place in [(0.9, 0.7), (0.9, 0.1), (0.1, 0.1)]:
        hand.pointer("mouseMoved", place, **pen, buttons=2, force=0)
    hand.pointer("mouseReleased", (0.1, 0.1), **pen, buttons=0, force=0)
    settled(page)
    assert ink(page) == pytest.approx(2 * drawn, rel=0.15)
    assert undone(page) == 2


def test_a_pens_menu_does_not_open_but_a_mouses_does(page: Page) -> None:
    prevented = """(kind) => {
        const event = new PointerEvent("contextmenu", { pointerType: kind, cancelable: true });
        return !document.querySelector("#canvas").dispatchEvent(event);
    }"""
    assert [page.evaluate(prevented, kind) for kind in ("pen", "touch", "mouse")] == [
        True,
        True,
        False,
    ]


def test_a_pointer_that_the_browser_no_longer_knows_draws(page: Page) -> None:
    """Such events come of tools that draw for people, and of pens that have just gone."""
    page.evaluate(
        """(stroke) => {
            const canvas = document.querySelector("#canvas");
            const box = canvas.getBoundingClientRect();
            const send = (kind, [x, y], buttons) => canvas.dispatchEvent(new PointerEvent(kind, {
                pointerId: 77, pointerType: "pen", button: 0, buttons, pressure: buttons / 2,
                clientX: box.x + x * box.width, clientY: box.y + y * box.height }));
            send("pointerdown", stroke[0], 1);
            for (const place of stroke.slice(1)) send("pointermove", place, 1);
            send("pointerup", stroke.at(-1), 0);
        }""",
        LINE,
    )
    settled(page)
    assert undone(page) == 1


def test_what_is_drawn_beyond_the_edge_is_cut_off(page: Page) -> None:
    bodies: list[bytes] = []

    def note(request: Any) -> None:
        if "/api/search" in request.url:
            bodies.append(request.post_data_buffer)

    page.on("request", note)
    small = [(0.9 + 0.02 * i, 0.5) for i in range(30)]  # a short line, for what is on the paper
    draw(page, small)
    expect(page.locator("#list[aria-busy=false]")).to_have_count(1)
    picture = np.asarray(Image.open(io.BytesIO(bodies[-1])).convert("L"))
    assert picture.shape == (512, 512)  # as small drawings are sent
    ys, xs = np.nonzero(picture < 128)
    assert xs.min() == pytest.approx(0.9 * 512, abs=6)
    assert xs.max() == 511
    assert ys.mean() == pytest.approx(256, abs=3)


def test_a_drawing_survives_reloading_and_the_way_back(page: Page) -> None:
    draw(page, BOOT)
    settled(page)
    draw(page, STRAP)
    settled(page)
    page.keyboard.press("Control+Z")
    settled(page)
    drawn, found = ink(page), names(page)
    page.reload()
    settled(page)
    assert ink(page) == pytest.approx(drawn, rel=0.01)
    assert names(page) == found
    page.keyboard.press("Control+Shift+Z")  # what was undone is not lost either
    settled(page)
    assert ink(page) > drawn
    more = ink(page)
    page.goto("about:blank")
    page.go_back()
    settled(page)
    assert ink(page) == pytest.approx(more, rel=0.01)
    assert undone(page) == 2
    page.reload()
    expect(page.locator("#about")).to_contain_text("photos")
    assert ink(page) == 0


@pytest.mark.parametrize("transparent", [False, True])
def test_an_uploaded_picture_survives_reloading(transparent: bool, page: Page) -> None:
    sketch = Image.fromarray(synthetic("shoes", 1, "test").sketches[0]).convert("L")
    if transparent:
        drawn = Image.new("LA", sketch.size)
        drawn.putalpha(Image.eval(sketch, lambda v: 255 - v))
        sketch = drawn
    content = encoded(sketch)
    page.locator("#file").set_input_files(
        {"name": "shoe.png", "mimeType": "image/png", "buffer": content}
    )
    settled(page)
    draw(page, STRAP)
    settled(page)
    found = names(page)
    for _ in range(3):
        page.reload()
        settled(page)
        assert names(page) == found
    page.keyboard.press("Control+Z")
    settled(page)


def test_a_stroke_in_the_hand_survives_reloading(page: Page) -> None:
    Hand(page).mouse(LINE, lifts=False)
    drawn = ink(page)
    page.reload()
    settled(page)
    assert ink(page) == pytest.approx(drawn, rel=0.02)


def test_of_too_much_what_is_seen_is_kept(browser: Browser, server: Server) -> None:
    """A browser keeps five million characters of a page."""
    page = browser.new_page()
    page.goto(server.url)
    noise = np.random.default_rng(0).integers(0, 256, (900, 900), np.uint8)
    for _ in range(6):
        noise = noise[::-1]
        page.locator("#file").set_input_files(
            {"name": "noise.png", "mimeType": "image/png", "buffer": encoded(noise)}
        )
        expect(page.locator("#list[aria-busy=false]")).to_have_count(1)
    page.locator("#clear").click()
    draw(page, BOOT)
    settled(page)
    drawn = ink(page)
    page.reload()
    settled(page)
    assert ink(page) == pytest.approx(drawn, rel=0.02)
    page.close()


@pytest.mark.parametrize(
    "kept", ["3", "[5]", '{"done": 3}', '{"done": [{}], "undone": []}',
             '{"done": [5], "undone": []}', '{"done": [{"points": [], "width": 2}], "undone": []}',
             '{"done": [{"image": "data:,x"}], "undone": []}', "{"],
)  # fmt: skip
def test_damaged_storage_is_forgotten(kept: str, page: Page) -> None:
    page.evaluate("(kept) => sessionStorage.setItem('sketch of /', kept)", kept)
    page.evaluate("Storage.prototype.setItem = () => {}")
    page.reload()
    expect(page.locator("#about")).to_contain_text("photos")
    assert ink(page) == 0
    draw(page, BOOT)
    settled(page)


def test_a_page_whose_storage_is_blocked_or_full_works(open_page: Open) -> None:
    for script in (
        "Object.defineProperty(window, 'sessionStorage', { get() { throw new Error('no'); } })",
        "Storage.prototype.setItem = () => { throw new DOMException('QuotaExceededError'); }",
    ):
        page = open_page()
        page.add_init_script(script)
        page.reload()
        draw(page, BOOT)
        settled(page)
        page.reload()
        expect(page.locator("#about")).to_contain_text("photos")
        assert ink(page) == 0


@pytest.mark.parametrize(
    "kind", ["phone's photo", "dark screen", "drawn by alpha", "large", "tiny"]
)
def test_the_page_sends_nearly_what_the_command_line_reads(kind: str, page: Page) -> None:
    """A file that is uploaded is read as the same file is by `fgsbir search`."""
    from fgsbir.sketches import read_sketch

    sketch = Image.fromarray(synthetic("shoes", 3, "test").sketches[2]).convert("L")
    exif = None
    if kind == "phone's photo":
        sheet = Image.linear_gradient("L").resize((1500, 1100)).point(lambda v: 170 + v // 4)
        sheet.paste(0, (500, 300), Image.eval(sketch.resize((600, 600)), lambda v: 255 - v))
        sketch, exif = sheet.rotate(90, expand=True), Image.Exif()
        exif[0x0112] = 6
    elif kind == "dark screen":
        sketch = Image.eval(sketch, lambda v: 230 - 200 * v // 255)
    elif kind == "drawn by alpha":
        alpha = Image.eval(sketch, lambda v: 255 - v)
        sketch = Image.new("LA", alpha.size)
        sketch.putalpha(alpha)
    elif kind == "tiny":
        sketch = sketch.resize((56, 56), Image.Resampling.LANCZOS)
    else:
        sketch = sketch.resize((2600, 2600), Image.Resampling.LANCZOS)
        ImageDraw.Draw(sketch).point((3, 3), 250)
    file = io.BytesIO()
    sketch.save(file, "PNG", **({"exif": exif} if exif else {}))
    bodies: list[bytes] = []
    page.on("request", lambda r: "/api/search" in r.url and bodies.append(r.post_data_buffer))
    page.locator("#file").set_input_files(
        {"name": "shoe.png", "mimeType": "image/png", "buffer": file.getvalue()}
    )
    settled(page)
    read = [read_sketch(Image.open(io.BytesIO(c))).image for c in (file.getvalue(), bodies[-1])]
    blurred = [np.asarray(Image.fromarray(one).resize((64, 64), Image.Resampling.BOX), float)
               for one in read]  # fmt: skip
    assert np.corrcoef(blurred[0].ravel(), blurred[1].ravel())[0, 1] > 0.95
