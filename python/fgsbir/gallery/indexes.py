"""Gallery indexes by name, and the interface that they share.

docs/gallery.md says what each does and costs. A new one is a module with a subclass of
:class:`Index` and a line in :data:`KINDS`.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from ..models.retrieval import Output
from .match import Candidates
from .store import Store


@dataclass(frozen=True)
class Kind:
    """Where a kind of index is.

    Attributes:
        module: of this package, imported when the kind is asked for.
        class_name: of a subclass of :class:`Index` in it.
        takes_uri: whether a name goes on with a colon and the URI of a database.
        extra: of `fgsbir-ext`, the one that brings the packages it needs.
        calibrated: whether it follows a calibration, which changes all embeddings at once.
    """

    module: str
    class_name: str
    takes_uri: bool = False
    extra: str = "train"
    calibrated: bool = True


KINDS = {
    "exact": Kind(".exact_index", "ExactIndex"),
    "faiss": Kind(".faiss_index", "IvfIndex", extra="faiss"),
    "milvus": Kind(
        ".milvus_index", "MilvusIndex", takes_uri=True, extra="milvus", calibrated=False
    ),
}


class Index(ABC):
    """What finds the candidates for a query. Searches may run in several threads at once.

    Attributes:
        most_results: the largest k of a search.
    """

    most_results: int = sys.maxsize

    @classmethod
    @abstractmethod
    def open(cls, store: Store, uri: str) -> Index:
        """The index of a gallery.

        Args:
            store: the gallery.
            uri: what the name has after its colon; empty for a kind that takes none.

        Raises:
            ConnectionError: a database does not answer.
            ValueError: a damaged file.
        """

    @abstractmethod
    def update(self, store: Store) -> None:
        """Brings what the index keeps outside memory up to date with its gallery."""

    @abstractmethod
    def __len__(self) -> int:
        """How many photos there are."""

    @abstractmethod
    def numbers(self, count: int) -> list[int]:
        """The `count` lowest numbers of photos, ascending; fewer where there are fewer."""

    @abstractmethod
    def path(self, number: int) -> str:
        """Where photo `number` lies; IndexError when there is none."""

    @abstractmethod
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


def checked_index(name: str, *, calibrated: bool = False) -> str:
    """The name, with the path of an embedded database made absolute.

    Raises:
        ValueError: it is no name of an index, its package is missing, or it is none for a
            calibrated gallery where this is one.
    """
    kind, colon, uri = name.partition(":")
    known = KINDS.get(kind)
    if known is None or (not uri if known.takes_uri else colon):
        raise ValueError(f"index: expected {_names()}, got {name!r}")
    if calibrated and not known.calibrated:
        raise ValueError(
            f"index: {kind!r} needs a trained model; a gallery without training is searched by "
            f"{' or '.join(repr(name) for name, kind in KINDS.items() if kind.calibrated)}"
        )
    _index_class(kind)
    return name if not uri or "://" in uri else f"{kind}:{Path(uri).resolve()}"


def open_index(store: Store, name: str, *, update: bool = False) -> Index:
    """The index of a gallery.

    Args:
        store: the gallery.
        name: a kind of :data:`KINDS`, with a colon and a URI where it takes one.
        update: whether photos were added since; what the index keeps outside memory follows.

    Raises:
        ConnectionError: a database does not answer.
        ValueError: an unknown name, a missing package, or a damaged file.
    """
    checked = checked_index(name, calibrated=store.manifest.calibrated)
    kind, _, uri = checked.partition(":")
    index = _index_class(kind).open(store, uri)
    if update:
        index.update(store)
    return index


def _names() -> str:
    """Of all kinds, as a message lists them."""
    *names, last = (f"'{name}{':URI' * kind.takes_uri}'" for name, kind in KINDS.items())
    return f"{', '.join(names)} or {last}"


def _index_class(name: str) -> type[Index]:
    kind = KINDS[name]
    try:
        module = import_module(kind.module, __package__)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("fgsbir"):
            raise
        raise ValueError(
            f"index: {name!r} needs {error.name}: pip install 'fgsbir-ext[{kind.extra}]'"
        ) from error
    found: type[Index] = getattr(module, kind.class_name)
    return found
