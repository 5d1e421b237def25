"""Building of a retrieval model by the name of its backbone."""

from __future__ import annotations

from ..config import BackboneName, Head
from .resnet import residual_net
from .retrieval import RetrievalModel
from .sketchanet import sketch_a_net


def build_model(
    name: BackboneName,
    *,
    size: int | None = None,
    width: int = 32,
    batch_norm: bool = False,
    head: Head = "global",
    embedding_dim: int = 256,
    attributes: int = 0,
    dropout: float = 0.0,
) -> RetrievalModel:
    """A retrieval model on the named backbone, with freshly drawn weights.

    Args:
        name: ``"sketchanet"``, the paper's, or ``"resnet"``, a small residual network.
        size: side of the input in pixels; None for the backbone's own: 225 or 96.
        width: channels of the first stage of ``resnet``; ``sketchanet`` has the paper's.
        batch_norm: whether ``sketchanet`` normalises after every convolution; ``resnet`` always
            does.
        head, embedding_dim, attributes, dropout: see :class:`RetrievalModel`.

    Raises:
        ValueError: for an unknown name or an impossible size.
    """
    if name == "sketchanet":
        if size not in (None, 225):
            raise ValueError(f"size: sketchanet has a fixed input of 225 pixels, got {size}")
        backbone, size = sketch_a_net(batch_norm=batch_norm), 225
    elif name == "resnet":
        size = 96 if size is None else size
        if size < 32:
            raise ValueError(f"size: resnet needs at least 32 pixels, got {size}")
        backbone = residual_net(size, width)
    else:
        raise ValueError(f"backbone: expected 'sketchanet' or 'resnet', got {name!r}")
    return RetrievalModel(
        backbone,
        size,
        head=head,
        embedding_dim=embedding_dim,
        attributes=attributes,
        dropout=dropout,
    )
