"""Fast morphology beside scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from fgsbir.sketches.morphology import close, dilate, erode, open_


@pytest.mark.parametrize("size", [1, 3, 5, 9, 33])
@pytest.mark.parametrize("shape", [(1, 1), (7, 40), (64, 33)])
def test_values_are_those_of_scipy(shape: tuple[int, int], size: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    for ours, theirs in (
        (dilate, ndimage.grey_dilation),
        (erode, ndimage.grey_erosion),
        (close, ndimage.grey_closing),
        (open_, ndimage.grey_opening),
    ):
        assert np.array_equal(ours(image, size), theirs(image, size, mode="nearest"))
