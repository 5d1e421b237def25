"""Settings of a server, and its limits."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

MAX_MATCHES = 100
"""The most photos that one search gives."""
MAX_ATTRIBUTE_WEIGHT = 100.0


def default_workers() -> int:
    """One for each core, up to four."""
    return min(4, os.cpu_count() or 1)


@dataclass(frozen=True)
class Settings:
    """Settings of `create_app`; the defaults suit one machine with a few dozen users.

    Raises:
        ValueError: A value out of range; names it.
    """

    name: str = "Gallery"
    """What the page calls the gallery."""
    attribute_weight: float = 0.0
    """mu of r = d + mu D that the page starts with."""
    allowed_hosts: tuple[str, ...] = ()
    """Names that the server answers to, beside ``localhost`` and any IP address."""
    root_path: str = ""
    """Path that a proxy serves the page under, ``"/shoes"``, where it passes that path on."""
    thumbnails: Path | None = None
    """Folder that keeps the thumbnails; None for a temporary one."""
    prepare_thumbnails: bool = True
    """Whether to make thumbnails in the background, rather than each when first asked for."""
    max_body_bytes: int = 2 << 20
    """Largest sketch file."""
    max_pixels: int = 1 << 22
    """Largest sketch picture, checked before it is decoded."""
    body_timeout: float = 5.0
    """Seconds that a client has to send its sketch."""
    searches_per_second: float = 10.0
    """Of one client, in the long run; see `fgsbir.serve.rate_limit`."""
    burst: int = 40
    """Searches that a client may ask for at once, after a rest."""
    workers: int = field(default_factory=default_workers)
    """Searches computed at the same time."""
    max_waiting: int = 128
    """Searches that may wait for a worker; the next one is told to come back later."""

    def __post_init__(self) -> None:
        if not 0 <= self.attribute_weight <= MAX_ATTRIBUTE_WEIGHT:
            raise ValueError(
                f"attribute_weight: expected 0 to {MAX_ATTRIBUTE_WEIGHT:g}, "
                f"got {self.attribute_weight}"
            )
        for name in ("searches_per_second", "burst", "workers", "max_body_bytes", "max_pixels"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected above 0, got {getattr(self, name)}")
        if self.root_path and not re.fullmatch(r"(/[\w~-][\w.~-]*)+", self.root_path):
            raise ValueError(
                f"root_path: expected a path as '/shoes', without a slash behind, "
                f"got {self.root_path!r}"
            )
        if self.max_waiting < 0:
            raise ValueError(f"max_waiting: expected 0 or more, got {self.max_waiting}")
