"""Manifest of a gallery, gallery.json."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..atomic_files import write_json

FILE_NAME = "gallery.json"
FORMAT = "fgsbir-gallery-1"
LARGEST_DIM = 1 << 24


@dataclass
class Manifest:
    """The content of gallery.json.

    Attributes:
        model: SHA-256 of the checkpoint that the photos were embedded with.
        embedding_dim: D.
        attributes: K names, in the order of the logits.
        index: how it is searched; see `fgsbir.gallery.indexes`.
        calibrated: whether embeddings are calibrated before they are searched, as those of a
            network that was not trained to compare sketches and photos; see
            `fgsbir.gallery.calibration`.
        folders: of the photos, absolute; the one thing to edit where photos have moved.
        id: random; what else belongs to this gallery, in a database, goes by it.
        format: of the folder.
    """

    model: str
    embedding_dim: int
    attributes: list[str]
    index: str = "exact"
    calibrated: bool = False
    folders: list[str] = field(default_factory=list)
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    format: str = FORMAT

    def write(self, folder: Path) -> None:
        """Writes gallery.json into a folder, whole or not at all."""
        values = asdict(self)
        if not self.calibrated:  # which earlier versions do not know
            del values["calibrated"]
        write_json(folder / FILE_NAME, values, indent=2)


def read_manifest(folder: Path) -> Manifest:
    """Reads gallery.json of a folder.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged, or of another version.
    """
    file = folder / FILE_NAME
    if not file.is_file():
        raise FileNotFoundError(f"{folder}: no gallery here; `fgsbir index` makes one")
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        written = values["format"]
        manifest = Manifest(**values) if written == FORMAT else None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{file}: damaged ({error})") from error
    if manifest is None:
        raise ValueError(f"{file}: expected the format {FORMAT!r}, got {written!r}")
    if not _is_sound(manifest):
        raise ValueError(f"{file}: damaged (a value of another type than expected)")
    return manifest


def _is_sound(manifest: Manifest) -> bool:
    lists = (manifest.attributes, manifest.folders)
    if not (
        isinstance(manifest.embedding_dim, int)
        and 0 < manifest.embedding_dim < LARGEST_DIM
        and isinstance(manifest.calibrated, bool)
        and all(isinstance(one, list) for one in lists)
    ):
        return False
    texts = (manifest.model, manifest.index, manifest.id, *manifest.attributes, *manifest.folders)
    return all(isinstance(text, str) for text in texts)
