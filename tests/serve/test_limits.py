"""Refusals of `fgsbir serve`: hostile files, wrong values, strange hosts, too much at once."""

from __future__ import annotations

import asyncio
import io
import itertools
import struct
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from fgsbir.data import synthetic
from fgsbir.gallery import Gallery
from tests.support.serving import encoded, small_gallery
from tests.support.waiting import wait_until

pytest.importorskip("fastapi")
pytest.importorskip("httpx2")
from fastapi.testclient import TestClient

from fgsbir.serve import Settings, create_app
from fgsbir.serve.rate_limit import TokenBuckets, client_key

SKETCH = encoded(synthetic("shoes", 1, "test").sketches[0])


def client_of(gallery: Gallery, **settings: object) -> TestClient:
    options = {"burst": 10_000, "prepare_thumbnails": False, **settings}
    app = create_app(gallery, Settings(**options))
    return TestClient(app, base_url="http://localhost", raise_server_exceptions=False)


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    return small_gallery(tmp_path_factory.mktemp("gallery"))


@pytest.fixture(scope="module")
def client(gallery: Gallery) -> Iterator[TestClient]:
    with client_of(gallery) as client:
        yield client


def chunk(name: bytes, content: bytes) -> bytes:
    body = name + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG file that claims a size."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(data)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff_of_many_pages() -> bytes:
    content = io.BytesIO()
    pages = [Image.new("L", (8, 8))] * 50
    pages[0].save(content, "TIFF", save_all=True, append_images=pages[1:])
    return content.getvalue()


def jpeg_of_many_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan, of 16 bytes, is there again and again."""
    content = io.BytesIO()
    sketch = Image.open(io.BytesIO(SKETCH)).resize((1024, 1024))
    sketch.save(content, "JPEG", progressive=True)
    whole = content.getvalue()
    scan = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + (count - whole.count(b"\xff\xda")) * scan + whole[-2:]


def test_a_progressive_sketch(client: TestClient) -> None:
    assert client.post("/api/search", content=jpeg_of_many_scans(10)).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "empty"),
        (b"no picture at all", 415, "not a picture in PNG, JPEG, WEBP"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "SVG is not read here"),
        (b"GIF89a" + SKETCH, 415, "not a picture"),
        (tiff_of_many_pages(), 415, "not a picture"),
        (SKETCH[:60], 422, "cannot be decoded"),
        (SKETCH[:20], 422, "cannot be decoded"),
        (png(64, 64, b"\0" * 100), 422, "cannot be decoded"),
        (png(0, 64), 415, "not a picture"),
        (png(3000, 3000), 413, "4.2 megapixels"),
        (png(12_000, 12_000), 413, "4.2 megapixels"),
        (png(2**31 - 1, 2**31 - 1), 413, "4.2 megapixels"),
        (encoded(np.zeros((2100, 2100), np.uint8)), 413, "4.2 megapixels"),
        (SKETCH + b"\0" * (2 << 20), 413, "2.1 MB"),
        (jpeg_of_many_scans(65), 422, "64 scans"),
        (b"x" * (3 << 20), 413, "2.1 MB"),
    ],
)
def test_a_file_that_is_no_honest_picture(
    client: TestClient, body: bytes, status: int, message: str
) -> None:
    answer = client.post("/api/search", content=body)
    assert answer.status_code == status
    assert message in answer.json()["error"]


def test_a_body_of_unknown_length_is_not_read_beyond_the_limit(client: TestClient) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 100 << 20:
            sent += 1 << 16
            yield b"\0" * (1 << 16)

    assert client.post("/api/search", content=endless()).status_code == 413


def test_pictures_of_odd_shapes_and_modes(client: TestClient) -> None:
    sketch = Image.open(io.BytesIO(SKETCH))
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        image = sketch.point(lambda value: 257 * value, "I") if mode == "I;16" else sketch
        answer = client.post("/api/search", content=encoded(image.convert(mode)))
        assert answer.status_code == 200, mode
    for size in ((40, 30), (800, 100), (100, 800), (2048, 2048)):
        answer = client.post("/api/search", content=encoded(sketch.resize(size)))
        assert answer.status_code == 200, size


def test_damage_anywhere_in_a_file_is_an_answer(client: TestClient) -> None:
    rng = np.random.default_rng(0)
    ink = np.where(rng.random((48, 48)) < 0.2, 0, 255).astype(np.uint8)
    for kind in ("PNG", "JPEG", "WEBP"):
        whole = np.frombuffer(encoded(ink, kind), np.uint8)
        for _ in range(40):
            damaged = whole.copy()
            damaged[rng.integers(len(whole), size=8)] = rng.integers(256, size=8)
            body = damaged[: rng.integers(1, len(whole) + 1)].tobytes()
            status = client.post("/api/search", content=body).status_code
            assert status in (200, 413, 415, 422), (kind, status)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("k=0", "k: "),
        ("k=-1", "k: "),
        ("k=101", "k: "),
        ("k=99999999999999999999999999", "k: "),
        ("k=ten", "k: "),
        ("k=1.5", "k: "),
        ("k=" + "9" * 5000, "k: "),
        ("attribute_weight=nan", "attribute_weight: "),
        ("attribute_weight=inf", "attribute_weight: "),
        ("attribute_weight=-0.1", "attribute_weight: "),
        ("attribute_weight=1e300", "attribute_weight: "),
        ("attribute_weight=", "attribute_weight: "),
        ("must=no%20such", "must: no attribute is called 'no such'"),
        ("must_not=" + "x" * 3000, "must_not: no attribute is called 'xxx"),
        ("must=laces&must_not=laces", "both name laces"),
    ],
)
def test_a_value_out_of_range(client: TestClient, query: str, message: str) -> None:
    answer = client.post(f"/api/search?{query}", content=SKETCH)
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert message in error
    assert len(error) < 300


PATHS = [
    "../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/etc/passwd",
    "....//....//etc/passwd",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "..\\..\\etc\\passwd",
    "index.html%00.js",
    "../settings.py",
    "~root",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("folder", ["/photos/", "/static/", "/", "/api/"])
def test_no_path_leads_to_a_file(client: TestClient, folder: str, path: str) -> None:
    answer = client.get(f"{folder}{path}")
    assert answer.status_code in (404, 405, 422)
    assert set(answer.json()) == {"error"}
    assert "root:" not in answer.text


@pytest.mark.parametrize("index", ["-1", "16", "1e3", str(2**63), str(2**80), "0x1", "nan", ""])
def test_no_such_photo(client: TestClient, index: str) -> None:
    answer = client.get(f"/photos/{index}")
    assert answer.status_code in (404, 422)
    assert answer.json()["error"]


def test_photos_come_in_two_sizes_only(client: TestClient) -> None:
    assert client.get("/photos/0?size=99999").status_code == 422


def test_other_methods_and_addresses(client: TestClient) -> None:
    assert client.get("/api/search").status_code == 405
    assert client.post("/photos/0").status_code == 405
    for path in ("/docs", "/redoc", "/openapi.json", "/nothing"):
        assert client.get(path).json() == {"error": "Not Found"}


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "[::1", "a b"])
def test_a_name_that_is_not_ours(client: TestClient, host: str) -> None:
    answer = client.get("/", headers={"Host": host})
    assert answer.status_code == 400
    assert "--allow-host" in answer.json()["error"]


@pytest.mark.parametrize(
    "host", ["localhost:8000", "127.0.0.1", "192.168.1.7:80", "[::1]:8000", "Shoes.example"]
)
def test_a_name_that_is_ours(gallery: Gallery, host: str) -> None:
    with client_of(gallery, allowed_hosts=("shoes.example",)) as client:
        assert client.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://localhost"}, 200),
        ({"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://localhost:81"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403),
        ({"Origin": ""}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_only_the_page_itself_may_search(
    client: TestClient, headers: dict[str, str], status: int
) -> None:
    answer = client.post("/api/search", content=SKETCH, headers=headers)
    assert answer.status_code == status
    assert "access-control-allow-origin" not in answer.headers


def test_a_client_in_a_hurry_is_told_when_to_come_back(gallery: Gallery) -> None:
    with client_of(gallery, searches_per_second=0.5, burst=3) as client:
        answers = [client.post("/api/search", content=SKETCH) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 2
        assert answers[-1].json() == {"error": "too many requests"}
        assert answers[-1].headers["x-content-type-options"] == "nosniff"


def test_buckets_fill_again_and_are_bounded() -> None:
    now = 0.0
    buckets = TokenBuckets(rate=2, burst=4, clients=3, clock=lambda: now)
    assert [buckets.take("a", 1) for _ in range(6)] == [0, 0, 0, 0, 0.5, 0.5]
    now = 0.5
    assert buckets.take("a", 1) == 0
    assert buckets.take("a", 1) == 0.5
    now = 1000.0
    assert [buckets.take("a", 1) for _ in range(5)] == [0, 0, 0, 0, 0.5]
    for client in itertools.islice(itertools.count(), 1000):
        assert buckets.take(str(client), 4) == 0
    assert len(buckets) == 3


def test_addresses_that_are_one_client() -> None:
    assert client_key("2001:db8::1") == client_key("2001:db8::ffff:1")
    assert client_key("2001:db8::1") != client_key("2001:db8:0:1::1")
    assert client_key("::ffff:10.0.0.1") == client_key("10.0.0.1") != client_key("10.0.0.2")


def test_more_searches_than_may_wait_are_turned_away(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, release = threading.Semaphore(0), threading.Event()
    search = gallery.search

    def slow(*args: object, **options: object) -> object:
        started.release()
        assert release.wait(20)
        return search(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(gallery, "search", slow)
    with client_of(gallery, workers=2, max_waiting=3) as client, ThreadPoolExecutor(5) as pool:
        service = client.app.state.service  # type: ignore[attr-defined]
        asked = [pool.submit(client.post, "/api/search", content=SKETCH) for _ in range(5)]
        assert started.acquire(timeout=20)
        assert started.acquire(timeout=20)
        wait_until(lambda: service.queue.admitted == 5)
        refused = client.post("/api/search", content=SKETCH)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert not started.acquire(blocking=False)  # two at a time
        release.set()
        assert [answer.result().status_code for answer in asked] == [200] * 5
        assert service.queue.admitted == 0


def test_an_unexpected_error_tells_nothing(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **options: object) -> object:
        raise RuntimeError("secret")

    monkeypatch.setattr(gallery, "search", broken)
    with client_of(gallery) as client:
        answer = client.post("/api/search", content=SKETCH)
    assert (answer.status_code, answer.json()) == (500, {"error": "internal error"})


def test_a_search_that_nobody_waits_for_is_not_done(gallery: Gallery) -> None:
    from fgsbir.serve.work import Abandoned, WorkQueue

    async def scene() -> list[str]:
        done: list[str] = []
        queue = WorkQueue(1, 1)

        async def gone() -> bool:
            return True

        async def there() -> bool:
            return False

        with pytest.raises(Abandoned):
            await queue.run(lambda: done.append("gone"), gone)
        await queue.run(lambda: done.append("there"), there)
        return done

    assert asyncio.run(scene()) == ["there"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"workers": 0}, "workers: expected above 0"),
        ({"attribute_weight": -1.0}, "attribute_weight: "),
        ({"attribute_weight": float("nan")}, "attribute_weight: "),
        ({"searches_per_second": 0.0}, "searches_per_second: "),
        ({"max_waiting": -1}, "max_waiting: "),
    ],
)
def test_settings_out_of_range(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xd8" + b"\xff\xe0\0\2" * 480_000 + b"\xff\xda\0\2" + b"a" * 100,
        b"\xff\xd8" + b"\xff" * 2_000_000,
    ],
)
def test_a_picture_of_countless_parts_is_not_looked_through(
    body: bytes, client: TestClient
) -> None:
    """Pillow would take over a second."""
    answer = client.post("/api/search", content=body)
    assert answer.status_code == 422
    assert answer.json() == {"error": "the picture has too many segments"}
