"""What a gallery says of itself: gallery.json."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..atomic_files import write_atomically

FILE_NAME = "gallery.json"
FORMAT = "fgsbir-gallery-1"


@dataclass
class Facts:
    """The content of gallery.json.

    Attributes:
        model: SHA-256 of the checkpoint that the photos were embedded with.
        embedding_dim: D.
        attributes: K names, in the order of the logits.
        index: how it is searched; see `fgsbir.gallery.indexes`.
        folders: of the photos, absolute; the one thing to edit where photos have moved.
        id: random; what else belongs to this gallery, in a database, goes by it.
        format: of the folder.
    """

    model: str
    embedding_dim: int
    attributes: list[str]
    index: str = "exact"
    folders: list[str] = field(default_factory=list)
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    format: str = FORMAT

    def write(self, folder: Path) -> None:
        """Writes gallery.json into a folder, whole or not at all."""
        write_atomically(folder / FILE_NAME, (json.dumps(asdict(self), indent=2) + "\n").encode())


def read_facts(folder: Path) -> Facts:
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
        facts = Facts(**values) if written == FORMAT else None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{file}: damaged ({error})") from error
    if facts is None:
        raise ValueError(f"{file}: expected the format {FORMAT!r}, got {written!r}")
    if not _is_sound(facts):
        raise ValueError(f"{file}: damaged (a value of another type than expected)")
    return facts


def _is_sound(facts: Facts) -> bool:
    lists = (facts.attributes, facts.folders)
    if not (isinstance(facts.embedding_dim, int) and all(isinstance(one, list) for one in lists)):
        return False
    texts = (facts.model, facts.index, facts.id, *facts.attributes, *facts.folders)
    return all(isinstance(text, str) for text in texts)
