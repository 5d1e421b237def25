"""HTTP API of `fgsbir serve`."""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from fgsbir.data import synthetic
from fgsbir.gallery import Gallery
from fgsbir.sketches import read_sketch
from tests.support.serving import COUNT, encoded, small_gallery
from tests.support.waiting import wait_until

pytest.importorskip("fastapi")
pytest.importorskip("httpx2")
from fastapi.testclient import TestClient

from fgsbir.serve import Settings, create_app, thumbnails
from fgsbir.serve.static_files import load_static_files

SKETCHES = synthetic("shoes", 4, "test").sketches


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    return small_gallery(tmp_path_factory.mktemp("gallery"))


@pytest.fixture(scope="module")
def client(gallery: Gallery) -> Iterator[TestClient]:
    settings = Settings(name="shoes", attribute_weight=0.25, burst=10_000)
    with TestClient(create_app(gallery, settings), base_url="http://localhost") as client:
        yield client


def test_a_search_gives_what_the_gallery_finds(client: TestClient, gallery: Gallery) -> None:
    for sketch in SKETCHES:
        answer = client.post("/api/search?k=5&attribute_weight=0.5", content=encoded(sketch)).json()
        expected = gallery.search(sketch, 5, attribute_weight=0.5)
        assert [match["index"] for match in answer["matches"]] == [m.index for m in expected]
        for got, match in zip(answer["matches"], expected, strict=True):
            assert got["distance"] == pytest.approx(match.distance)
            assert got["attributes"] == pytest.approx(match.attributes)
            assert (*got["agree"], *got["differ"]) == (*match.agree, *match.differ)
            assert got["name"] == match.path.stem
            assert str(match.path.parent) not in str(got)
        assert answer["sketch_attributes"] == pytest.approx(gallery.predicted(sketch))


def test_attributes_are_demanded_and_excluded(client: TestClient, gallery: Gallery) -> None:
    sketch = encoded(SKETCHES[0])
    for name in gallery.attribute_names:
        found = {}
        for demand in ("must", "must_not"):
            parameters = {"k": COUNT, demand: name}
            answer = client.post("/api/search", params=parameters, content=sketch).json()
            found[demand] = [match["attributes"][name] > 0.5 for match in answer["matches"]]
        assert all(found["must"])
        assert not any(found["must_not"])
        assert len(found["must"]) + len(found["must_not"]) == COUNT
    names = gallery.attribute_names
    parameters = {"must": names[:2], "must_not": names[2:]}
    answer = client.post("/api/search", params=parameters, content=sketch)
    assert answer.status_code == 200


def test_the_answer_says_how_the_sketch_was_read(client: TestClient) -> None:
    as_drawn = client.post("/api/search", content=encoded(SKETCHES[0])).json()
    assert as_drawn["sketch"] == {"changes": [], "image": None}
    turned = client.post("/api/search", content=encoded(255 - SKETCHES[0])).json()
    assert turned["sketch"]["changes"] == ["turned to dark on light"]
    image = Image.open(io.BytesIO(base64.b64decode(turned["sketch"]["image"])))
    assert np.array_equal(np.asarray(image), read_sketch(SKETCHES[0]).image)
    assert turned["matches"] == as_drawn["matches"]


@pytest.mark.parametrize("ground", [0, 128, 255])
def test_an_empty_sketch_is_an_error(client: TestClient, ground: int) -> None:
    for mode in ("L", "RGBA"):
        image = Image.new(mode, (300, 200), ground if mode == "L" else (0, 0, 0, 0))
        answer = client.post("/api/search", content=encoded(image))
        assert answer.status_code == 422
        assert answer.json() == {"error": "the sketch is empty"}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_sketch_may_be_of_any_size_and_kind(
    client: TestClient, gallery: Gallery, kind: str
) -> None:
    large = Image.fromarray(SKETCHES[1]).resize((700, 500))
    answer = client.post("/api/search?k=3", content=encoded(large, kind)).json()
    expected = gallery.search(Image.open(io.BytesIO(encoded(large, kind))), 3)
    assert [match["index"] for match in answer["matches"]] == [m.index for m in expected]


def test_more_photos_than_there_are(client: TestClient) -> None:
    answer = client.post("/api/search?k=100", content=encoded(SKETCHES[0])).json()
    assert len(answer["matches"]) == COUNT


def test_photos_come_small_large_and_to_stay(client: TestClient) -> None:
    answer = client.post("/api/search", content=encoded(SKETCHES[0])).json()
    for match in answer["matches"]:
        photo = client.get(match["photo"])
        assert photo.headers["content-type"] == "image/jpeg"
        assert "immutable" in photo.headers["cache-control"]
        assert max(Image.open(io.BytesIO(photo.content)).size) <= 320
        assert len(photo.content) < 40_000
    photo = client.get("/photos/3")
    assert photo.headers["cache-control"] == "no-cache"
    again = client.get("/photos/3", headers={"If-None-Match": photo.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/photos/3?v=of-an-older-one").headers["cache-control"] == "no-cache"
    large = client.get("/photos/3?size=large")
    assert Image.open(io.BytesIO(large.content)).size == (256, 256)  # never enlarged


def test_a_large_photo_is_shrunk_upright_on_white(tmp_path: Path) -> None:
    gallery = small_gallery(tmp_path)
    photo = gallery.photo_path(2)
    tall = Image.new("RGBA", (1400, 700), (0, 0, 0, 0))
    tall.paste((200, 0, 0, 255), (0, 0, 700, 700))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    tall.save(photo, exif=exif)
    with TestClient(create_app(gallery), base_url="http://localhost") as client:
        sizes = {"small": (160, 320), "large": (480, 960)}
        for size, expected in sizes.items():
            image = Image.open(io.BytesIO(client.get(f"/photos/2?size={size}").content))
            assert image.size == expected
            top, bottom = (image.getpixel((80, y * expected[1] // 4)) for y in (1, 3))
            assert np.allclose(top, (200, 0, 0), atol=12)
            assert np.allclose(bottom, (255, 255, 255), atol=12)


def test_a_photo_that_changes_or_goes_is_not_served_from_memory(tmp_path: Path) -> None:
    gallery = small_gallery(tmp_path)
    with TestClient(create_app(gallery), base_url="http://localhost") as client:
        before = client.get("/photos/4")
        Image.new("RGB", (64, 64), "green").save(gallery.photo_path(4))
        after = client.get("/photos/4", headers={"If-None-Match": before.headers["etag"]})
        assert after.status_code == 200
        assert Image.open(io.BytesIO(after.content)).size == (64, 64)
        gallery.photo_path(4).write_bytes(b"no picture")
        for step in ("damaged", "gone"):
            answer = client.get("/photos/4")
            assert answer.status_code == 404, step
            assert answer.json() == {"error": "photo 4 can no longer be read"}
            gallery.photo_path(4).unlink(missing_ok=True)
        os.mkfifo(gallery.photo_path(4))  # opening it would wait for ever
        assert client.get("/photos/4").status_code == 404
        answer = client.post("/api/search?k=100", content=encoded(SKETCHES[0]))
        assert len(answer.json()["matches"]) == COUNT  # the page shows a gap


def test_thumbnails_are_prepared_and_kept(tmp_path: Path) -> None:
    gallery = small_gallery(tmp_path)
    settings = Settings(thumbnails=tmp_path / "kept")
    app = create_app(gallery, settings)
    with TestClient(app, base_url="http://localhost") as client:
        first = client.get("/photos/0").content
    kept = list((tmp_path / "kept").glob("*/*.jpg"))
    assert first in [file.read_bytes() for file in kept]
    with TestClient(app, base_url="http://localhost"):
        wait_until(lambda: len(list((tmp_path / "kept").glob("*/*.jpg"))) == COUNT)


def test_a_name_of_any_bytes_is_shown(tmp_path: Path) -> None:
    gallery = small_gallery(tmp_path)
    odd = gallery.photo_path(0).with_name(os.fsdecode(b"caf\xe9\x07.png"))
    gallery.photo_path(0).rename(odd)
    gallery.add(tmp_path / "photos")
    with TestClient(create_app(gallery), base_url="http://localhost") as client:
        answer = client.post("/api/search?k=100", content=encoded(SKETCHES[0]))
        shown = {match["name"]: match["photo"] for match in answer.json()["matches"]}
        assert client.get(shown["caf" + 2 * "\N{REPLACEMENT CHARACTER}"]).status_code == 200


def test_few_photos_are_unpacked_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photo.png").write_bytes(encoded(SKETCHES[0]))
    at_work, most, lock = 0, 0, threading.Lock()

    def unpack(photo: Path, side: int) -> bytes:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        time.sleep(0.02)
        with lock:
            at_work -= 1
        return b""

    monkeypatch.setattr(thumbnails, "_jpeg", unpack)
    made = thumbnails.Thumbnails(tmp_path / "kept", workers=1)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(made.large, [tmp_path / "photo.png"] * 16)) == [b""] * 16
    assert most == 2


def test_photos_are_shown_where_no_thumbnail_can_be_kept(tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"")  # a file where the folder should be
    settings = Settings(thumbnails=tmp_path / "taken", prepare_thumbnails=False)
    app = create_app(small_gallery(tmp_path), settings)
    with TestClient(app, base_url="http://localhost") as client:
        assert client.get("/photos/0").headers["content-type"] == "image/jpeg"


def test_the_page_asks_nothing_of_other_hosts(client: TestClient) -> None:
    names = load_static_files()
    assert set(re.findall(r'"/static/([^"]+)"', client.get("/").text)) < set(names)
    for name in names:
        file = client.get(f"/static/{name}")
        without_namespaces = file.text.replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|//\w+\.\w", without_namespaces), name
        imported = re.findall(r'from "\./([^"]+)"', file.text)
        assert set(imported) <= set(names)
        policy = file.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy
        again = client.get(f"/static/{name}", headers={"If-None-Match": file.headers["etag"]})
        assert again.status_code == 304


def test_facts_and_health(client: TestClient, gallery: Gallery) -> None:
    assert client.get("/healthz").json() == {"status": "ok", "photos": COUNT}
    assert client.get("/api/gallery").json() == {
        "name": "shoes",
        "photos": COUNT,
        "attributes": list(gallery.attribute_names),
        "attribute_weight": 0.25,
    }


def test_copies_of_a_photo_are_counted(tmp_path: Path) -> None:
    gallery = small_gallery(tmp_path)
    photo = gallery.photo_path(2)
    for i in range(3):
        shutil.copyfile(photo, photo.with_name(f"copy{i}.png"))
    gallery.add(photo.parent)
    with TestClient(create_app(gallery), base_url="http://localhost") as client:
        answer = client.post("/api/search?k=100", content=encoded(SKETCHES[0]))
    copies = {match["index"]: match["copies"] for match in answer.json()["matches"]}
    assert copies == {index: 3 * (index == 2) for index in range(COUNT)}


def test_a_machine_that_nothing_can_be_written_on_serves(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc/none"])
    with TestClient(create_app(gallery), base_url="http://localhost") as client:
        assert client.get("/photos/2").status_code == 200
        assert client.get("/photos/2?size=large").status_code == 200
        answer = client.post("/api/search?k=3", content=encoded(SKETCHES[0]))
        assert len(answer.json()["matches"]) == 3


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_metadata_of_a_sketch_do_not_matter(kind: str, client: TestClient) -> None:
    plain, file = encoded(SKETCHES[0], kind), io.BytesIO()
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "x" * 3_000_000, zip=True)
    options = {"PNG": {"pnginfo": info}, "JPEG": {"exif": b"Exif\0\0b'junk"}}[kind]
    Image.open(io.BytesIO(plain)).save(file, kind, **options)
    answers = [client.post("/api/search", content=c) for c in (plain, file.getvalue())]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert len(answers[1].json()["matches"]) == 10
