"""Pairs of a sketch and a photo, checked and made into a `SketchPhotoSet`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .dataset import SketchPhotoSet
from .decoding import verify_image
from .edges import PhotoEdges
from .images import SIZE, ImageFiles
from .names import in_a_line, quoted

SPLITS = ("train", "test")
HELD_OUT = 0.2  # share of the instances that make the test split where the user names none


@dataclass(frozen=True)
class Pair:
    """A photo and one sketch of it, and where the user said so.

    If no pair of a set names a split, a fifth of the instances is the test split: those whose
    ids have the smallest SHA-256, so the same ids give the same split whatever their order.

    Attributes:
        photo: Image file.
        sketch: Image file; None for a gallery photo without a sketch.
        instance: What the pair shows; equal ids are the same instance.
        split: ``"train"`` or ``"test"``, None where the user named none.
        attributes: Of the photo, by name: 1 yes, 0 no, -1 unknown.
        where: File and line to name in an error.
    """

    photo: Path
    sketch: Path | None
    instance: str
    split: str | None = None
    attributes: Mapping[str, int] = field(default_factory=dict)
    where: str = ""


def build_set(
    pairs: Iterable[Pair],
    split: str,
    *,
    name: str,
    size: int = SIZE,
    attributes: Iterable[str] = (),
) -> SketchPhotoSet:
    """Check pairs against each other and against the files, and take one split of them.

    Labels number the instances of the whole set in order of appearance.

    Args:
        pairs: All pairs of the set, both splits.
        split: ``"train"`` or ``"test"``.
        name: What to call the set in reports and errors.
        size: Side of the square that photos are fitted into, in pixels.
        attributes: Names of the attributes, K of them.

    Raises:
        FileNotFoundError: An image is missing; names the line that asks for it.
        ValueError: Anything unreadable or inconsistent; names the line.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {SPLITS}, got {split!r}")
    names = tuple(attributes)
    listed = list(pairs)
    splits = _check(listed, name)
    labels = {instance: i for i, instance in enumerate(splits)}
    chosen = [pair for pair in listed if splits[pair.instance] == split]
    drawn = [(pair.sketch, pair) for pair in chosen if pair.sketch is not None]
    if not drawn:
        raise ValueError(f"{name}: the {split} split has no sketch ({len(listed)} pairs in all)")
    photos = list({pair.photo: pair for pair in chosen}.values())
    known: dict[Path, dict[str, int]] = {pair.photo: {} for pair in photos}
    for pair in chosen:
        known[pair.photo].update({k: v for k, v in pair.attributes.items() if v != -1})

    def table(rows: Iterable[Pair]) -> np.ndarray | None:
        values = [[known[pair.photo].get(k, -1) for k in names] for pair in rows]
        return np.array(values, dtype=np.int8) if names else None

    photo_files = ImageFiles([pair.photo for pair in photos], size=size)
    return SketchPhotoSet(
        name=f"{name}/{split}",
        sketches=ImageFiles([path for path, _ in drawn], mode=None),
        edges=PhotoEdges(photo_files),
        photos=photo_files,
        sketch_labels=np.array([labels[pair.instance] for _, pair in drawn], dtype=np.int64),
        photo_labels=np.array([labels[pair.instance] for pair in photos], dtype=np.int64),
        sketch_attributes=table(pair for _, pair in drawn),
        photo_attributes=table(photos),
        attribute_names=names,
    )


def _check(pairs: list[Pair], name: str) -> dict[str, str]:
    """Hold every pair against those before it. Returns each instance's split."""
    if not pairs:
        raise ValueError(f"{name}: no pairs")
    first_of_photo: dict[Path, Pair] = {}
    first_of_sketch: dict[Path, Pair] = {}
    first_of_instance: dict[str, Pair] = {}
    stated: dict[tuple[Path, str], tuple[int, str]] = {}
    for pair in pairs:
        of_instance = first_of_instance.setdefault(pair.instance, pair)
        if pair.split != of_instance.split:
            raise ValueError(
                f"{pair.where}: instance {quoted(pair.instance)} is in split {pair.split!r} here, "
                f"but in {of_instance.split!r} at {of_instance.where}"
            )
        if (pair.split is None) != (pairs[0].split is None):
            raise ValueError(f"{pair.where}: a split is given for some pairs, but not for all")
        of_photo = first_of_photo.setdefault(pair.photo, pair)
        if of_photo is pair:
            _verify(pair.photo, "photo", pair.where)
        if pair.instance != of_photo.instance:
            raise ValueError(
                f"{pair.where}: photo {pair.photo.name} shows instance {quoted(pair.instance)} "
                f"here, but {quoted(of_photo.instance)} at {of_photo.where}"
            )
        for attribute, value in pair.attributes.items():
            if value == -1:
                continue
            before, at = stated.setdefault((pair.photo, attribute), (value, pair.where))
            if value != before:
                raise ValueError(
                    f"{pair.where}: attribute {quoted(attribute)} of photo {pair.photo.name} is "
                    f"{value} here, but {before} at {at}"
                )
        if pair.sketch is not None:
            of_sketch = first_of_sketch.setdefault(pair.sketch, pair)
            if of_sketch is not pair:
                raise ValueError(
                    f"{pair.where}: sketch {pair.sketch.name} is listed at {of_sketch.where} too"
                )
            _verify(pair.sketch, "sketch", pair.where)
    if pairs[0].split is None:
        return _hold_out(first_of_instance)
    return {instance: str(pair.split) for instance, pair in first_of_instance.items()}


def _verify(path: Path, role: str, where: str) -> None:
    try:
        verify_image(path)
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(f"{where}: {role}: {in_a_line(error)}") from error


def _hold_out(instances: Iterable[str]) -> dict[str, str]:
    listed = list(instances)
    by_hash = sorted(listed, key=lambda instance: hashlib.sha256(instance.encode()).digest())
    held_out = set(by_hash[: round(HELD_OUT * len(listed))])
    return {instance: "test" if instance in held_out else "train" for instance in listed}
