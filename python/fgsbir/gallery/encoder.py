"""Encoder of image files and drawings, with the preprocessing of training and evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from ..data.images import SIZE, read_image
from ..evaluation.ranking import embed
from ..models.preprocess import photos_to_ink, to_ink
from ..models.retrieval import Output, RetrievalModel
from ..sketches import Sketch, read_sketch

REMEMBERED = 64  # sketches; moving a slider asks for the same one again


class Encoder:
    """A model with what comes before it. Safe to call from several threads at once."""

    def __init__(self, model: RetrievalModel) -> None:
        self.model = model.eval()
        self._embed_ink = lru_cache(REMEMBERED)(self._embed_bytes)

    def photo_ink(self, path: str) -> Tensor:
        """The edge map of a photo as (1, in_channels, size, size) uint8 ink.

        Raises:
            ValueError: there is no such file, or it cannot be decoded; names it.
        """
        file = Path(path)
        if not file.is_file():  # to open a pipe would wait for whoever writes into it
            raise ValueError(f"no such file: {path}")
        photo = read_image(file, size=SIZE)
        return photos_to_ink([photo], self.model.size, self.model.in_channels)

    def photos(self, inks: Sequence[Tensor]) -> Output:
        """Embeddings (B, D) and logits (B, K) of B photos."""
        return embed(self.model, torch.cat(list(inks)))

    def sketch(self, sketch: Sketch) -> Output:
        """Embedding (1, D) and logits (1, K) of a sketch; errors are those of
        :func:`fgsbir.sketches.read_sketch`.
        """
        ink = to_ink([read_sketch(sketch).image], self.model.size, self.model.in_channels)
        return self._embed_ink(ink.numpy().tobytes())

    def _embed_bytes(self, ink: bytes) -> Output:
        size = self.model.size
        image = torch.frombuffer(bytearray(ink), dtype=torch.uint8)
        return embed(self.model, image.view(1, -1, size, size))
