"""Gallery indexes by name, and the interface that they share.

exact        every photo is compared, by fgsbir_ext.topk
faiss        an inverted file looks into an eighth of them: `pip install 'fgsbir-ext[faiss]'`
milvus:URI   a database does, on other machines: `pip install 'fgsbir-ext[milvus]'`
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Protocol

from ..models.retrieval import Output
from .exact_index import ExactIndex
from .match import Candidates
from .store import Store

MODULES = {"faiss": ".faiss_index", "milvus": ".milvus_index"}
"""Those that need a package which `fgsbir-ext[train]` does not bring."""


class Index(Protocol):
    """What finds the candidates for a query. Searches may run in several threads at once."""

    def __len__(self) -> int:
        """How many photos there are."""

    def numbers(self, count: int) -> list[int]:
        """The `count` lowest numbers of photos, ascending; fewer where there are fewer."""

    def path(self, number: int) -> str:
        """Where photo `number` lies; IndexError when there is none."""

    def search(
        self, query: Output, k: int, attribute_weight: float, required: Mapping[int, bool]
    ) -> Candidates:
        """At least the k nearest by r = d + mu D, of one query (1, D), (1, K).

        Args:
            query: embedding and logits.
            k: at least 1.
            attribute_weight: mu.
            required: by column of the logits, whether the attribute must be on or off.
        """


def checked_index(name: str) -> str:
    """The name, with the path of an embedded database made absolute.

    Raises:
        ValueError: it is none of the above, or its package is missing.
    """
    kind, _, uri = name.partition(":")
    if not (name in ("exact", "faiss") or (kind == "milvus" and uri)):
        raise ValueError(f"index: expected 'exact', 'faiss' or 'milvus:URI', got {name!r}")
    try:
        if kind in MODULES:
            import_module(MODULES[kind], __package__)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("fgsbir"):
            raise
        raise ValueError(
            f"index: {kind!r} needs {error.name}: pip install 'fgsbir-ext[{kind}]'"
        ) from error
    return name if not uri or "://" in uri else f"{kind}:{Path(uri).resolve()}"


def open_index(store: Store, name: str, *, update: bool = False) -> Index:
    """The index of a gallery.

    Args:
        store: the gallery.
        name: one of the above.
        update: whether photos were added since; what the index keeps outside memory follows.

    Raises:
        ConnectionError: a database does not answer.
        ValueError: an unknown name, a missing package, or a damaged file.
    """
    kind, _, uri = checked_index(name).partition(":")
    if kind == "milvus":
        from .milvus_index import MilvusIndex

        database = MilvusIndex(store, uri)
        if update:
            database.update()
        return database
    if kind == "faiss" and len(store.photos()):
        from .faiss_index import IvfIndex

        cells = IvfIndex.open(store)
        if update:
            cells.save(store)
        return cells
    return ExactIndex.open(store)
