"""``fgsbir serve``: serve the search page of a gallery."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, UseAppendAction, arg


@dataclass(frozen=True)
class Serve:
    """Open a gallery to the browser: draw, and see the nearest photos after every stroke.

    Example: fgsbir serve shoes.gallery --port 8000
    """

    gallery: Annotated[Positional[Path], arg(metavar="GALLERY")]
    """Folder that fgsbir index wrote."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 lets other machines in, a phone on the same network too."""
    port: int = 8000
    """Port to listen on; 0 takes any that is free."""
    name: str | None = None
    """What the page calls the gallery; its folder's name unless given."""
    attribute_weight: float = 0.0
    """mu, the weight of predicted attributes that the page starts with."""
    allow_host: UseAppendAction[tuple[str, ...]] = ()
    """Another name that the server goes by, also behind a proxy; localhost and any IP address
    always work."""
    root_path: str = ""
    """Path that a reverse proxy serves the page under, as /shoes, where it passes that path on."""
    trusted_proxy: str | None = None
    """Address of a reverse proxy in front, whose X-Forwarded-For is believed."""
    searches_per_second: float = 10.0
    """How many one client may ask for in the long run."""
    workers: int | None = None
    """Searches computed at the same time; one for each core, up to four, unless given."""
    index: str | None = None
    """How to search, where not as the gallery was made for; see fgsbir index --help."""
    device: str = "cpu"
    """Where to embed the sketches: cpu, cuda, cuda:1 ..."""

    def run(self) -> None:
        try:
            from ..serve import Settings, serve
            from ..serve.server import bind, stop_quietly
            from ..serve.settings import default_workers
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith("fgsbir"):
                raise
            raise ValueError(
                f"{error.name} is missing; the page needs more than training does: "
                "pip install 'fgsbir-ext[demo]'"
            ) from error
        stop_quietly()
        settings = Settings(
            name=self.name or self.gallery.resolve().name.removesuffix(".gallery"),
            attribute_weight=self.attribute_weight,
            allowed_hosts=self.allow_host,
            root_path=self.root_path,
            thumbnails=self._thumbnails(),
            searches_per_second=self.searches_per_second,
            workers=default_workers() if self.workers is None else self.workers,
        )
        with bind(self.host, self.port) as listening:  # first: loading a gallery may take long
            import torch

            from ..gallery import Gallery

            gallery = Gallery.load(self.gallery, index=self.index, device=self.device)
            if self.attribute_weight and not gallery.attribute_names:
                raise ValueError("attribute_weight: the gallery's model predicts no attributes")
            torch.set_num_threads(max(1, torch.get_num_threads() // settings.workers))
            shown = _addresses(*listening.getsockname()[:2])
            print(f"{len(gallery)} photos on {shown}", flush=True)
            print("Ctrl+C ends it.", flush=True)
            serve(gallery, listening, settings, trusted_proxy=self.trusted_proxy)

    def _thumbnails(self) -> Path | None:
        """Inside the gallery where it may be written to, so that they are made only once."""
        return self.gallery / "thumbnails" if os.access(self.gallery, os.W_OK) else None


def _addresses(host: str, port: int) -> str:
    """Where to point a browser."""
    if host in ("0.0.0.0", "::"):
        return f"http://localhost:{port} and on every other address of this machine"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
