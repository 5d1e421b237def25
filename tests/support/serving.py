"""`fgsbir serve` as a process of its own, and a gallery for it."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fgsbir.data import synthetic
from fgsbir.gallery import Gallery
from tests.support.gallery_cases import save_model, write_photos

COUNT = 16  # photos; 000.png to 015.png


def small_gallery(folder: Path) -> Gallery:
    """A gallery of a few shoes, of a network with random weights."""
    write_photos(synthetic("shoes", COUNT, "test"), folder / "photos", range(COUNT))
    save_model(folder / "run")
    return Gallery.build(
        folder / "photos", folder / "run", folder / "shoes.gallery", progress=False
    )


def encoded(image: NDArray[np.uint8] | Image.Image, kind: str = "PNG") -> bytes:
    """An image as a file."""
    content = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(content, kind)
    return content.getvalue()


class Server:
    """A running `fgsbir serve`."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def memory(self) -> int:
        """Bytes of memory that the process holds."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(re.search(r"VmRSS:\s+(\d+)", status)[1])  # type: ignore[index]

    def stop(self, by: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Sends a signal; returns the exit code and what was written to stderr."""
        self.process.send_signal(by)
        return self.wait()

    def wait(self) -> tuple[int, str]:
        """The exit code and what was written to stderr, once the process has ended."""
        _, errors = self.process.communicate(timeout=30)
        return self.process.returncode, errors


@contextmanager
def serving(gallery: Path, *options: str, prelude: str = "") -> Iterator[Server]:
    """`fgsbir serve` on a free port, ended with the context; `prelude` is code that runs before."""
    code = f"import sys\n{prelude}\nfrom fgsbir.cli import main\nsys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "serve", str(gallery), "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        assert process.stdout is not None
        announced = process.stdout.readline()
        url = re.search(r"http://\S+", announced)
        assert url, announced + process.communicate(timeout=20)[1]
        yield Server(process, url[0])
    finally:
        process.kill()
        process.communicate()
