"""Encoder of image files and drawings, with the preprocessing of training and evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..data.edges import extract_edges
from ..data.images import SIZE, read_image, to_array
from ..evaluation.ranking import embed
from ..models.preprocess import to_ink
from ..models.retrieval import Output, RetrievalModel

Sketch = str | Path | Image.Image | NDArray[np.uint8]

REMEMBERED = 64  # sketches; moving a slider asks for the same one again


class Encoder:
    """A model with what comes before it. Safe to call from several threads at once."""

    def __init__(self, model: RetrievalModel) -> None:
        self.model = model.eval()
        self._embed_ink = lru_cache(REMEMBERED)(self._embed_bytes)

    def photo_ink(self, path: str) -> Tensor:
        """The edge map of a photo as (1, 1, size, size) uint8 ink.

        Raises:
            ValueError: there is no such file, or it cannot be decoded; names it.
        """
        file = Path(path)
        if not file.is_file():  # to open a pipe would wait for whoever writes into it
            raise ValueError(f"no such file: {path}")
        return to_ink([extract_edges(read_image(file, size=SIZE))], self.model.size)

    def photos(self, inks: Sequence[Tensor]) -> Output:
        """Embeddings (B, D) and logits (B, K) of B photos."""
        return embed(self.model, torch.cat(list(inks)))

    def sketch(self, sketch: Sketch) -> Output:
        """Embedding (1, D) and logits (1, K) of a sketch, dark lines on white or transparent.

        Raises:
            FileNotFoundError: there is no such file.
            TypeError: neither a path nor an image; or an array of another type than uint8.
            ValueError: the file cannot be decoded, or the array is no image.
        """
        ink = to_ink([read_sketch(sketch)], self.model.size)
        return self._embed_ink(ink.numpy().tobytes())

    def _embed_bytes(self, ink: bytes) -> Output:
        size = self.model.size
        image = torch.frombuffer(bytearray(ink), dtype=torch.uint8)
        return embed(self.model, image.view(1, 1, size, size))


def read_sketch(sketch: Sketch) -> NDArray[np.uint8]:
    """A sketch of any kind as a square (SIZE, SIZE) uint8 array, dark on white."""
    if isinstance(sketch, str | Path):
        path = Path(sketch)
        if not path.is_file():
            raise FileNotFoundError(f"no such file: {path}")
        return read_image(path, mode="L", size=SIZE)
    if isinstance(sketch, np.ndarray):
        if sketch.dtype != np.uint8:
            raise TypeError(f"sketch: expected an array of uint8, got {sketch.dtype}")
        channels = sketch.shape[2:]
        if sketch.ndim not in (2, 3) or channels not in ((), (3,), (4,)) or not sketch.size:
            raise ValueError(f"sketch: expected (H, W), (H, W, 3) or (H, W, 4), got {sketch.shape}")
        sketch = Image.fromarray(np.ascontiguousarray(sketch))
    if not isinstance(sketch, Image.Image):
        raise TypeError(
            f"sketch: expected a path, a Pillow image or an array, got {type(sketch).__name__}"
        )
    return to_array(sketch, mode="L", size=SIZE)
