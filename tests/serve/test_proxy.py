"""The page behind a real nginx, under a path, and what programs send to the API by mistake."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError

import numpy as np
import pytest

from fgsbir.data import synthetic
from fgsbir.gallery import Gallery
from tests.support.browser import BOOT, draw, pages, settled
from tests.support.nginx import nginx
from tests.support.serving import Server, encoded, serving, small_gallery

pytest.importorskip("fastapi")
pytest.importorskip("httpx2")
from fastapi.testclient import TestClient

from fgsbir.serve import Settings, create_app

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SKETCH = encoded(synthetic("shoes", 1, "test").sketches[0])
LOCATIONS = """
location / {{ proxy_pass http://127.0.0.1:{port}; }}
location /shoes/ {{ proxy_pass http://127.0.0.1:{port}/; }}
location /user/me/proxy/8000/ {{ proxy_pass http://127.0.0.1:{port}/; }}
"""


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    return small_gallery(tmp_path_factory.mktemp("proxied"))


@pytest.fixture(scope="module")
def client(gallery: Gallery) -> Iterator[TestClient]:
    settings = Settings(burst=10_000, allowed_hosts=("shoes.example.com",))
    with TestClient(create_app(gallery, settings), base_url="http://127.0.0.1:8000") as client:
        yield client


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/", "/shoes/", "/shoes", "/user/me/proxy/8000/"])
def test_the_page_works_behind_nginx_as_it_comes(
    path: str, server: Server, browser: Browser, tmp_path: Path
) -> None:
    locations = LOCATIONS.format(port=server.port)
    with (
        nginx(locations, tmp_path / "nginx") as address,
        pages(browser, address + path) as open_page,
    ):
        page = open_page()
        draw(page, BOOT)
        settled(page)
        assert page.locator("#list .broken").count() == 0
        page.locator("#list .shot").first.click()
        large = page.locator("dialog img.large")
        assert large.evaluate("(img) => img.decode().then(() => img.naturalWidth)") == 256
        page.reload()
        settled(page)


def test_a_path_that_the_proxy_passes_on(
    gallery: Gallery, browser: Browser, tmp_path: Path
) -> None:
    with serving(tmp_path_of(gallery), "--root-path", "/shoes") as server:
        locations = f"location /shoes/ {{ proxy_pass http://127.0.0.1:{server.port}; }}"
        with (
            nginx(locations, tmp_path / "nginx") as address,
            pages(browser, f"{address}/shoes/") as open_page,
        ):
            page = open_page()
            draw(page, BOOT)
            settled(page)
            assert page.locator("#list .broken").count() == 0
        assert server.stop() == (0, "")  # no warning, either


def tmp_path_of(gallery: Gallery) -> Path:
    return gallery.photo_path(0).parents[1] / "shoes.gallery"


def test_a_large_transparent_picture_passes_nginx(
    server: Server, browser: Browser, tmp_path: Path
) -> None:
    """nginx lets a megabyte through as it comes; this one is of three, as the browser packs it."""
    noise = np.random.default_rng(0).integers(0, 256, (1000, 1000, 4), np.uint8)
    noise[:, :, 3] //= 4
    locations = LOCATIONS.format(port=server.port)
    with nginx(locations, tmp_path / "nginx") as address, browser.new_page() as page:
        page.goto(address)
        sizes: list[int] = []
        page.on(
            "request", lambda r: "/api/search" in r.url and sizes.append(len(r.post_data_buffer))
        )
        page.locator("#file").set_input_files(
            {"name": "noise.png", "mimeType": "image/png", "buffer": encoded(noise)}
        )
        draw(page, BOOT)
        settled(page)
        assert max(sizes) < 1_000_000


def test_another_sites_page_is_refused_behind_nginx_too(server: Server, tmp_path: Path) -> None:
    with nginx(LOCATIONS.format(port=server.port), tmp_path / "nginx") as address:
        for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200)):
            request = urllib.request.Request(
                f"{address}/shoes/api/search",
                SKETCH,
                {"Origin": "https://shoes.example.com", "Sec-Fetch-Site": site},
            )
            answered, body = answer_to(request)
            assert answered == status
            if status == 200:
                assert len(json.loads(body)["matches"]) == 10
            else:
                assert "pass on the Host header" in json.loads(body)["error"]


def answer_to(request: urllib.request.Request) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read()
    except HTTPError as error:
        return error.code, error.read()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://127.0.0.1:8000"}, 200),
        ({"Origin": "https://shoes.example.com", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "http://shoes.example.com"}, 200),  # by --allow-host
        ({"Origin": "http://shoes.example.com:8080"}, 200),
        ({"Origin": "http://evil.example.com"}, 403),
        ({"Origin": "http://localhost:3000"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "http://shoes.example.com", "Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://[bad"}, 403),
    ],
)
def test_which_pages_may_search(headers: dict[str, str], status: int, client: TestClient) -> None:
    answer = client.post("/api/search", content=SKETCH, headers=headers)
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    "path", ["/", "/static/app.js", "/healthz", "/api/gallery", "/photos/1", "/photos/1?size=large"]
)
def test_head_is_answered_as_get_without_the_body(path: str, client: TestClient) -> None:
    whole, head = client.get(path), client.head(path)
    assert head.status_code == whole.status_code == 200
    assert head.content == b""
    for name in ("content-length", "content-type", "etag", "cache-control"):
        assert head.headers.get(name) == whole.headers.get(name)
    etag = whole.headers.get("etag")
    if etag:
        assert client.head(path, headers={"If-None-Match": etag}).status_code == 304


def test_head_of_nothing_is_404_over_the_wire(server: Server) -> None:
    for path, status in (("photos/999", 404), ("static/none.js", 404), ("healthz", 200)):
        request = urllib.request.Request(f"{server.url}/{path}", method="HEAD")
        assert answer_to(request) == (status, b"")


FORM = (
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n'
    b"Content-Type: image/png\r\n\r\n" + SKETCH + b"\r\n--x--\r\n"
)
ENCODED = base64.b64encode(SKETCH)
MISTAKES = {
    "a form came": FORM,
    "a form came, not": b"sketch=%89PNG&k=5",
    "a data URL came": b"data:image/png;base64," + ENCODED,
    "base 64 came": ENCODED,
    "JSON came": json.dumps({"sketch": ENCODED.decode()}).encode(),
    "not a picture in PNG": b"hello",
}


@pytest.mark.parametrize("name", MISTAKES)
def test_what_is_no_file_gets_a_sentence(name: str, client: TestClient) -> None:
    answer = client.post("/api/search", content=MISTAKES[name])
    assert answer.status_code == 415
    error = answer.json()["error"]
    assert error.startswith(name)
    assert "send the file itself as the body, as curl --data-binary @sketch.png does" in error


@pytest.mark.parametrize("path", ["shoes", "/shoes/", "/", "//evil.com", "/a b", "/../x", "/a?b"])
def test_a_root_path_that_is_none_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="root_path: expected a path as '/shoes'"):
        Settings(root_path=path)
