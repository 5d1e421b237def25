"""Static files of the page, read once: no path of a request is ever looked up on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType

MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True)
class StaticFile:
    """One file of the page."""

    content: bytes
    media_type: str
    etag: str


def load_static_files() -> Mapping[str, StaticFile]:
    """All files of ``static/`` by name."""
    loaded = {}
    for file in files(__package__).joinpath("static").iterdir():
        media_type = MEDIA_TYPES.get(file.name[file.name.rfind(".") :])
        if media_type is not None:
            content = file.read_bytes()
            etag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
            loaded[file.name] = StaticFile(content, media_type, etag)
    return MappingProxyType(loaded)
