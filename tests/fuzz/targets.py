"""What hostile input is given to, and what is then asked of it.

A target is a class; made with a folder of its own it tries one case a call and returns how it
ended, in a word. What raises has failed.
"""

from __future__ import annotations

import io
import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from fgsbir.data import open_dataset, synthetic
from fgsbir.data.classified_images import open_classes
from fgsbir.data.decoding import read_image, verify_image
from fgsbir.gallery import Gallery
from fgsbir.sketches import read_sketch
from tests.support.gallery_cases import save_model, write_photos

from .mutations import Random, damaged

KINDS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "TGA", "ICO", "JPEG2000", "AVIF")
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F")
LONGEST = 1000  # characters of a sentence


class Target(ABC):
    """One way in.

    Attributes:
        last: the case that was tried last, to be looked at where it failed.
    """

    last: bytes = b""

    @abstractmethod
    def __init__(self, folder: Path) -> None: ...

    @abstractmethod
    def attempt(self, random: Random) -> str:
        """Tries a case."""


class Images(Target):
    """Image files: what verification takes has to be read; sketches are read or refused."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "photo"
        self.contents = image_files()

    def attempt(self, random: Random) -> str:
        which = int(random.integers(len(self.contents)))
        self.last = damaged(self.contents[which], self.contents, random)
        self.file.write_bytes(self.last)
        refused(lambda: read_sketch(self.file))
        if refused(lambda: verify_image(self.file)):
            return "refused"
        read_image(self.file, size=64)
        read_image(self.file, mode=None)
        return "read"


class Tables(Target):
    """CSV files of pairs, in all encodings and with all separators."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "pairs.csv"
        for name in "abcdef":
            for inner in ("photos", "sketches"):
                (folder / inner).mkdir(exist_ok=True)
                Image.new("L", (16, 16), 255).save(folder / inner / f"{name}.png")
        head = "sketch,photo,id,split,attr:open toe,attr:heel"
        rows = [
            f"sketches/{n}.png,photos/{n}.png,{n},{'test' if n in 'ef' else 'train'},{i % 2},1.0"
            for i, n in enumerate("abcdef")
        ]
        plain = "\n".join([head, *rows]) + "\n"
        texts = [plain, "\n".join([head.replace(",split", ""), *rows])]
        texts += [plain.replace(",", separator) for separator in ";\t|"]
        texts += ["sep=;\r\n" + texts[2], plain.replace("/", "\\"), plain.replace("a", "ä")]
        encodings = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252", "utf-32")
        self.contents = [text.encode(encoding) for text in texts for encoding in encodings]
        self.words = [
            "NaN",
            "1.0",
            "TRUE",
            '"',
            "''",
            ",,,",
            "\0",
            "\r",
            "=1+1",
            "../",
            "C:\\a",
            "é",
        ]

    def attempt(self, random: Random) -> str:
        content = self.contents[int(random.integers(len(self.contents)))]
        word = self.words[int(random.integers(len(self.words)))].encode()
        at = int(random.integers(len(content)))
        changed = content[:at] + word + content[at:] if random.random() < 0.5 else content
        self.last = damaged(changed, self.contents, random) if random.random() < 0.8 else changed
        self.file.write_bytes(self.last)
        return "refused" if refused(lambda: open_dataset(self.file)) else "read"


class Classes(Target):
    """Files of Quick, Draw! and of packed bits."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        file = io.BytesIO()
        np.save(file, np.zeros((3, 784), np.uint8))
        packed = io.BytesIO()
        np.savez(
            packed, bits=np.zeros((4, 8, 1), np.uint8), labels=[0, 1, 0, 1], classes=["a", "b"]
        )
        strokes = b'{"word": "a", "drawing": [[[0, 9], [3, 4]], [[1], [2]]]}\n' * 3
        self.contents = {"a.npy": file.getvalue(), "b.ndjson": strokes, "c.npz": packed.getvalue()}

    def attempt(self, random: Random) -> str:
        name = list(self.contents)[int(random.integers(3))]
        self.last = damaged(self.contents[name], list(self.contents.values()), random)
        for path in self.folder.iterdir():
            path.unlink()
        for other in ("x.npy", "y.npy"):
            (self.folder / other).write_bytes(self.contents["a.npy"])
        (self.folder / name).write_bytes(self.last)
        opened = self.folder / name if name == "c.npz" else self.folder

        def read_all() -> None:
            sketches = open_classes(opened)
            for i in range(min(12, len(sketches.images))):
                sketches.images[i]

        return "refused" if refused(read_all) else "read"


class Requests(Target):
    """Requests to the server: pictures and other bodies, numbers, names and headers."""

    def __init__(self, folder: Path) -> None:
        from fastapi.testclient import TestClient

        from fgsbir.serve import Settings, create_app

        gallery = small_gallery(folder)
        settings = Settings(burst=10**9, prepare_thumbnails=False)
        self.client = TestClient(create_app(gallery, settings), base_url="http://localhost")
        self.client.__enter__()
        self.contents = [*image_files(), b"data:image/png;base64,iVBORw0KGgo", b"--x\r\n", b"{}"]
        self.words = ["1", "0", "-1", "9" * 30, "1e400", "nan", "", "ä", "\0", "a" * 3000, "%00"]

    def attempt(self, random: Random) -> str:
        def word() -> str:
            return self.words[int(random.integers(len(self.words)))]

        content = self.contents[int(random.integers(len(self.contents)))]
        self.last = damaged(content, self.contents, random) if random.random() < 0.8 else content
        names = ("k", "attribute_weight", "must", "must_not", "size", "v", "other")
        chosen = random.choice(names, size=int(random.integers(0, 4)))
        query = {name: word() for name in chosen}
        headers = {"Content-Type": word().encode("ascii", "ignore").decode().replace("\0", "")}
        paths = ("/api/search", "/api/gallery", "/healthz", "/photos/1", f"/photos/{word()}", "/")
        path = "/api/search" if random.random() < 0.7 else paths[int(random.integers(len(paths)))]
        method = "POST" if path == "/api/search" else random.choice(["GET", "HEAD", "POST", "PUT"])
        answer = self.client.request(
            str(method), path.replace("\0", "%00"), params=query, content=self.last, headers=headers
        )
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400 and method != "HEAD":
            assert_sentence(json.loads(answer.text)["error"])
        return str(answer.status_code)


class Galleries(Target):
    """Folders of galleries, damaged, and folders of photos that change."""

    def __init__(self, folder: Path) -> None:
        self.sound, self.folder = folder / "sound", folder / "tried"
        small_gallery(self.sound)
        self.sketch = synthetic("shoes", 1, "test").sketches[0]

    def attempt(self, random: Random) -> str:
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.sound, self.folder)
        gallery = self.folder / "shoes.gallery"
        manifest = gallery / "gallery.json"
        manifest.write_text(manifest.read_text().replace("/sound/", "/tried/"))
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        others = [path.read_bytes()[:100_000] for path in files]
        for _ in range(int(random.integers(1, 4))):
            file = files[int(random.integers(len(files)))]
            if not file.exists():
                continue
            action = random.random()
            if action < 0.15:
                file.unlink()
            elif action < 0.3:
                file.rename(file.with_name(f"{random.integers(99)}{file.suffix}"))
            else:
                self.last = damaged(file.read_bytes(), others, random)
                file.write_bytes(self.last)

        def use() -> None:
            loaded = Gallery.load(gallery)
            loaded.search(self.sketch, 5)
            loaded.add(self.folder / "photos")
            loaded.search(self.sketch, 100)

        return "refused" if refused(use) else "used"


TARGETS: dict[str, type[Target]] = {
    "images": Images,
    "tables": Tables,
    "classes": Classes,
    "requests": Requests,
    "galleries": Galleries,
}


def refused(action: Callable[[], object]) -> bool:
    """Whether something refuses its input, in one sentence; any other error goes on."""
    try:
        action()
    except (ValueError, OSError) as error:
        assert_sentence(str(error))
        return True
    return False


def assert_sentence(text: str) -> None:
    """Asserts that a text is one line that a person can read."""
    assert text.strip()
    assert "\n" not in text
    assert len(text) < LONGEST


def image_files() -> list[bytes]:
    """Small sound files of all kinds and modes."""
    ramp = np.arange(24 * 32, dtype=np.uint16).reshape(24, 32) * 85
    contents = []
    for kind in KINDS:
        for mode in MODES:
            if mode == "I;16":
                image = Image.fromarray(ramp)
            elif mode == "F":
                image = Image.fromarray(ramp.astype(np.float32) / 65535)
            else:
                image = Image.fromarray((ramp >> 8).astype(np.uint8)).convert(mode)
            file = io.BytesIO()
            try:
                image.save(file, kind)
            except (OSError, KeyError, ValueError):  # a mode that the kind does not have
                continue
            contents.append(file.getvalue())
    return contents


def small_gallery(folder: Path) -> Gallery:
    """A few photos and a gallery of them, of a network with random weights."""
    write_photos(synthetic("shoes", 4, "test"), folder / "photos", range(4))
    save_model(folder / "run")
    return Gallery.build(
        folder / "photos", folder / "run", folder / "shoes.gallery", progress=False
    )
