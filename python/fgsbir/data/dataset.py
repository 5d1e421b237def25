"""`SketchPhotoSet`, one split of sketches and photos, whatever it was read from."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .images import Images, choose


@dataclass(frozen=True, eq=False, repr=False)
class SketchPhotoSet:
    """One split of a fine-grained sketch-based image retrieval set.

    S sketches and P photos. Sketch i shows photo j iff ``sketch_labels[i] == photo_labels[j]``.
    Images come one at a time, so that a set may be larger than memory; every sequence may be a
    stacked array, or anything with a length and an integer index.

    Attributes:
        name: What to call the set in reports, ``"shoes/train"``.
        sketches: S images, (H, W), (H, W, 3) or (H, W, 4) uint8, as they were drawn; what a model
            sees of them is what `fgsbir.sketches.read_sketch` reads.
        edges: P edge maps of the photos, (H, W) uint8, dark edges on white.
        photos: P images, (H, W, 3) uint8.
        sketch_labels: (S,) int64, instance ids.
        photo_labels: (P,) int64, instance ids.
        sketch_attributes: (S, K) int8 of 1 yes, 0 no, -1 unknown; None without annotation.
        photo_attributes: (P, K) int8; None without annotation.
        attribute_names: K names; empty without annotation.
        triplets: (T, 3) int64 rows (sketch, nearer photo, farther photo) as people judged them,
            indices into this split; None without annotation.

    Raises:
        ValueError: Fields whose lengths disagree; names the field.
    """

    name: str
    sketches: Images
    edges: Images
    photos: Images
    sketch_labels: NDArray[np.int64]
    photo_labels: NDArray[np.int64]
    sketch_attributes: NDArray[np.int8] | None = None
    photo_attributes: NDArray[np.int8] | None = None
    attribute_names: tuple[str, ...] = field(default=())
    triplets: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        s, p, k = len(self.sketches), len(self.photos), len(self.attribute_names)
        self._check_shape("edges", (len(self.edges),), (p,))
        self._check_shape("sketch_labels", self.sketch_labels.shape, (s,))
        self._check_shape("photo_labels", self.photo_labels.shape, (p,))
        if self.sketch_attributes is not None:
            self._check_shape("sketch_attributes", self.sketch_attributes.shape, (s, k))
        if self.photo_attributes is not None:
            self._check_shape("photo_attributes", self.photo_attributes.shape, (p, k))
        if self.triplets is not None:
            self._check_shape("triplets", self.triplets.shape, (len(self.triplets), 3))

    def __repr__(self) -> str:
        counts = f"{len(self.sketches)} sketches, {len(self.photos)} photos"
        triplets = 0 if self.triplets is None else len(self.triplets)
        attributes = len(self.attribute_names)
        return f"<{self.name}: {counts}, {attributes} attributes, {triplets} triplets>"

    def _check_shape(self, what: str, got: tuple[int, ...], expected: tuple[int, ...]) -> None:
        if got != expected:
            raise ValueError(f"{self.name}: {what} has shape {got}, expected {expected}")

    def take(self, sketches: ArrayLike, photos: ArrayLike) -> SketchPhotoSet:
        """The set of only these sketches and photos, in this order.

        Args:
            sketches: (S',) distinct indices, or an (S,) mask.
            photos: (P',) distinct indices, or a (P,) mask.

        Returns:
            Views where the images are read one at a time. Triplets are renumbered, and those
            that speak of anything left out are dropped.
        """
        si = np.arange(len(self.sketches))[np.asarray(sketches)]
        pi = np.arange(len(self.photos))[np.asarray(photos)]
        triplets = self.triplets
        if triplets is not None:
            new_sketch, new_photo = np.full(len(self.sketches), -1), np.full(len(self.photos), -1)
            new_sketch[si], new_photo[pi] = np.arange(len(si)), np.arange(len(pi))
            triplets = np.column_stack([new_sketch[triplets[:, 0]], new_photo[triplets[:, 1:]]])
            triplets = triplets[(triplets >= 0).all(axis=1)].astype(np.int64)
        return SketchPhotoSet(
            self.name,
            choose(self.sketches, si),
            choose(self.edges, pi),
            choose(self.photos, pi),
            self.sketch_labels[si],
            self.photo_labels[pi],
            None if self.sketch_attributes is None else self.sketch_attributes[si],
            None if self.photo_attributes is None else self.photo_attributes[pi],
            self.attribute_names,
            triplets,
        )
