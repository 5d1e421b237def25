"""Encoder of image files and drawings, with the preprocessing of training and evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from ..data.decoding import read_image
from ..data.edges import extract_edges
from ..data.images import SIZE
from ..evaluation.ranking import embed
from ..models.inference import without_normalisation
from ..models.preprocess import photos_to_ink, to_ink
from ..models.retrieval import Output, RetrievalModel
from ..sketches import EmptySketchError, Sketch, read_sketch

REMEMBERED = 64  # sketches; moving a slider asks for the same one again


class Encoder:
    """A model with what comes before it. Safe to call from several threads at once."""

    def __init__(self, model: RetrievalModel) -> None:
        """Takes the model over: its trunk is replaced by a faster one that cannot learn."""
        model.trunk = without_normalisation(model.trunk)
        self.model = model.eval()
        self._embed_ink = lru_cache(REMEMBERED)(self._embed_bytes)

    def photo_ink(self, path: str) -> Tensor:
        """What the model is given of a photo, (1, channels, size, size) uint8 ink.

        Raises:
            ValueError: there is no such file, or it cannot be decoded; names it.
        """
        file = Path(path)
        if not file.is_file():  # to open a pipe would wait for whoever writes into it
            raise ValueError(f"no such file: {path}")
        photo = read_image(file, size=SIZE)
        return photos_to_ink([photo], self.model.preprocessing)

    def sketch_ink(self, sketch: Sketch) -> Tensor:
        """What the model is given of a sketch, (1, channels, size, size) uint8 ink; errors are
        those of :func:`fgsbir.sketches.read_sketch`.
        """
        return to_ink([read_sketch(sketch).image], self.model.preprocessing)

    def edge_ink(self, path: str) -> Tensor:
        """The same of a photo's edge map, read as if somebody had drawn it.

        Raises:
            ValueError: the photo cannot be decoded.
        """
        edges = extract_edges(read_image(Path(path), size=SIZE))
        try:
            return self.sketch_ink(edges)
        except EmptySketchError:
            return to_ink([edges], self.model.preprocessing)

    def embed(self, inks: Sequence[Tensor]) -> Output:
        """Embeddings (B, D) and logits (B, K) of B images."""
        return embed(self.model, torch.cat(list(inks)))

    def sketch(self, sketch: Sketch) -> Output:
        """Embedding (1, D) and logits (1, K) of a sketch; errors as of :meth:`sketch_ink`."""
        return self._embed_ink(self.sketch_ink(sketch).numpy().tobytes())

    def _embed_bytes(self, ink: bytes) -> Output:
        size = self.model.preprocessing.size
        image = torch.frombuffer(bytearray(ink), dtype=torch.uint8)
        return embed(self.model, image.view(1, -1, size, size))
