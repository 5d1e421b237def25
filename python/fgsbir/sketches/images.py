"""Sketches of a set as `read_sketch` gives them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..data.images import Images, name_of
from .reading import EmptySketchError, read_sketch


class ReadSketches(Images):
    """Sketches, each read when asked for.

    Raises:
        ValueError: An empty sketch; names it.
    """

    def __init__(self, sketches: Images) -> None:
        self.sketches = sketches

    def __len__(self) -> int:
        return len(self.sketches)

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        try:
            return read_sketch(np.asarray(self.sketches[index])).image
        except EmptySketchError as error:
            raise ValueError(f"{name_of(self.sketches, index)}: {error}") from error
