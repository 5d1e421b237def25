"""Registry of backbones, and building of a retrieval model by the name of its backbone."""

from __future__ import annotations

from importlib import import_module
from typing import get_args

from ..config import AttributesFrom, BackboneName, Head, ModelConfig
from .backbone import Entry
from .retrieval import RetrievalModel


def backbone_entry(name: str) -> Entry:
    """The entry of a backbone, from the module of its name.

    Raises:
        ValueError: for an unknown name; lists those there are.
    """
    known = get_args(BackboneName)
    if name not in known:
        raise ValueError(f"backbone: expected one of {', '.join(known)}, got {name!r}")
    entry: Entry = import_module(f".{name.replace('-', '_')}", __package__).ENTRY
    return entry


def configured_model(config: ModelConfig, attributes: int = 0) -> RetrievalModel:
    """The retrieval model that a configuration asks for, with freshly drawn weights.

    Args:
        config: the network.
        attributes: see :class:`RetrievalModel`.

    Raises:
        ValueError: for an unknown backbone, or a size or an option that it does not take.
    """
    entry = backbone_entry(config.backbone)
    if not 1 <= config.maps <= entry.maps:
        most = "1" if entry.maps == 1 else f"1 to {entry.maps}"
        raise ValueError(f"maps: expected {most} with {config.backbone}, got {config.maps}")
    return RetrievalModel(
        entry.build(config, entry.size if config.size is None else config.size),
        head=config.head,
        embedding_dim=config.embedding_dim,
        attributes=attributes,
        attributes_from=config.attributes_from,
        dropout=config.dropout,
    )


def build_model(
    name: BackboneName,
    *,
    size: int | None = None,
    width: int = 32,
    batch_norm: bool = False,
    maps: int = 1,
    head: Head = "global",
    embedding_dim: int = 256,
    attributes: int = 0,
    attributes_from: AttributesFrom = "features",
    dropout: float = 0.0,
) -> RetrievalModel:
    """A retrieval model on the named backbone, with freshly drawn weights.

    Args:
        name: of the backbone.
        size, width, batch_norm, maps, head, embedding_dim, attributes_from, dropout: see
            :class:`fgsbir.config.ModelConfig`.
        attributes: see :class:`RetrievalModel`.

    Raises:
        ValueError: for an unknown name, an impossible size or a number of maps that it has not.
    """
    config = ModelConfig(
        name,
        size=size,
        width=width,
        batch_norm=batch_norm,
        maps=maps,
        head=head,
        embedding_dim=embedding_dim,
        attributes_from=attributes_from,
        dropout=dropout,
    )
    return configured_model(config, attributes)
