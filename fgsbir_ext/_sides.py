"""Validation of a batch: each of its two sides, then one against the other."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from . import _checks as checks
from .types import Side, Weights


class SideNames(NamedTuple):
    """What messages call the tensors of a :class:`Side` and the number of its rows."""

    embedding: str
    logits: str
    attributes: str
    labels: str
    rows: str


SKETCH = SideNames("sketch", "sketch_logits", "sketch_attributes", "sketch_labels", "N")
PHOTO = SideNames("photo", "photo_logits", "photo_attributes", "photo_labels", "M")
QUERY = SideNames("query", "query_logits", "", "", "Q")
GALLERY = SideNames("gallery", "gallery_logits", "", "", "G")


def named_tensors(names: SideNames, side: Side) -> tuple[tuple[str, Tensor | None], ...]:
    """The tensors of a side, each with its name.

    No method: torch.compile of version 2.4 knows none of named tuples.
    """
    return (
        (names.embedding, side.embedding),
        (names.logits, side.logits),
        (names.attributes, side.attributes),
        (names.labels, side.labels),
    )


def check_side(side: Side, names: SideNames) -> Side:
    """Types and ranks of what is given, and a row for each embedding."""
    rows, logits, attributes, labels = names.rows, side.logits, side.attributes, side.labels
    embedding = checks.matrix(names.embedding, side.embedding, f"({rows}, D)")
    first = (names.embedding, embedding)
    if logits is not None:
        logits = checks.matrix(names.logits, logits, f"({rows}, K)")
        checks.same_size(rows, 0, first, (names.logits, logits))
    if attributes is not None:
        attributes = checks.attributes(names.attributes, attributes, f"({rows}, K)")
        checks.same_size(rows, 0, first, (names.attributes, attributes))
    if labels is not None:
        labels = checks.labels(names.labels, labels, rows, embedding.shape[0])
    return Side(embedding, logits, attributes, labels)


def check_mining(
    sketch: Side,
    photo: Side,
    attribute_weights: Weights | None,
    guided: bool,
    names: tuple[SideNames, SideNames] = (SKETCH, PHOTO),
) -> tuple[Side, Side, Tensor | None]:
    """What :func:`fgsbir_ext.mine_batch_hard` takes, logits as far as one side alone goes."""
    of_sketch, of_photo = names
    sketch, photo = check_side(sketch, of_sketch), check_side(photo, of_photo)
    embeddings = (of_sketch.embedding, sketch.embedding), (of_photo.embedding, photo.embedding)
    checks.same_size("D", 1, *embeddings)
    if not checks.all_or_none((of_sketch.labels, sketch.labels), (of_photo.labels, photo.labels)):
        checks.same_size("N", 0, *embeddings)

    weights: Tensor | None = None
    of_attributes = (of_sketch.attributes, of_photo.attributes)
    annotated = tuple(zip(of_attributes, (sketch.attributes, photo.attributes), strict=True))
    if checks.all_or_none(*annotated):
        k = checks.same_size("K", 1, *annotated)  # type: ignore[arg-type]  # all are given
        device = sketch.embedding.device
        weights = checks.weights("attribute_weights", attribute_weights, k, device)
    elif guided or attribute_weights is not None:
        alone = "attribute_guidance > 0" if guided else "attribute_weights"
        raise ValueError(f"{alone} must come with {' and '.join(dict.fromkeys(of_attributes))}")
    checks.same_device(
        embeddings[0],
        *named_tensors(of_sketch, sketch),
        *named_tensors(of_photo, photo),
        ("attribute_weights", weights),
    )
    if sketch.embedding.dtype != photo.embedding.dtype:
        x, y = checks.same_type(*embeddings)
        sketch, photo = Side(x, *sketch[1:]), Side(y, *photo[1:])
    return sketch, photo, weights


def check_loss(
    sketch: Side,
    photo: Side,
    attribute_weights: Weights | None,
    guided: bool,
) -> tuple[Side, Side, Tensor | None]:
    """What :func:`fgsbir_ext.attribute_triplet_loss` takes."""
    sketch, photo, weights = check_mining(sketch, photo, attribute_weights, guided)
    predicted = (SKETCH.logits, sketch.logits), (PHOTO.logits, photo.logits)
    annotated = (SKETCH.attributes, sketch.attributes), (PHOTO.attributes, photo.attributes)
    if checks.all_or_none(*predicted):
        checks.all_or_none(*predicted, *annotated)
        checks.same_size("K", 1, annotated[0], *predicted)  # type: ignore[arg-type]
    elif sketch.attributes is not None and not guided:
        raise ValueError(
            "sketch_attributes and photo_attributes must come with sketch_logits and photo_logits, "
            "or with attribute_guidance > 0 to guide the mining alone"
        )
    x, y, u, v = checks.same_type(
        (SKETCH.embedding, sketch.embedding), (PHOTO.embedding, photo.embedding), *predicted
    )
    return Side(x, u, *sketch[2:]), Side(y, v, *photo[2:]), weights


def check_search(query: Side, gallery: Side) -> tuple[Side, Side]:
    """What :func:`fgsbir_ext.topk` takes, embeddings and logits."""
    query, gallery = check_side(query, QUERY), check_side(gallery, GALLERY)
    embeddings = (QUERY.embedding, query.embedding), (GALLERY.embedding, gallery.embedding)
    predicted = (QUERY.logits, query.logits), (GALLERY.logits, gallery.logits)
    checks.same_size("D", 1, *embeddings)
    if checks.all_or_none(*predicted):
        checks.same_size("K", 1, *predicted)  # type: ignore[arg-type]  # all are given
    checks.same_device(*embeddings, *predicted)
    x, y, u, v = checks.same_type(*embeddings, *predicted)
    return Side(x, u), Side(y, v)
