"""Models, photos and stored rows for the tests of galleries."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image

from fgsbir.config import ModelConfig, TrainConfig
from fgsbir.data import SketchPhotoSet
from fgsbir.gallery.folder import Photo
from fgsbir.gallery.store import Store
from fgsbir.models import Output
from fgsbir.models.checkpoint import DataFacts, Run, create_model, save_run

NAMES = ("open toe", "high heel", "laces", "ornament")
DIM = 16


def save_model(folder: Path, names: tuple[str, ...] = NAMES, seed: int = 0) -> Run:
    """A tiny network of random weights, whose attributes are not all near 1/2."""
    torch.manual_seed(seed)
    config = TrainConfig(model=ModelConfig(size=32, width=4, embedding_dim=DIM))
    facts = DataFacts("drawn", None, names)
    model = create_model(config, facts).eval()
    if model.attribute_head is not None:
        torch.nn.init.normal_(model.attribute_head.weight)
    run = Run(model, config, facts, 1)
    folder.mkdir(parents=True, exist_ok=True)
    save_run(folder, run)
    return run


def write_photos(data: SketchPhotoSet, folder: Path, indices: range) -> list[Path]:
    """Photos of a set as files 000.png ..., every other one in a folder of its own."""
    paths = [folder / ("inner" if i % 2 else "") / f"{i:03}.png" for i in indices]
    for i, path in zip(indices, paths, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(data.photos[i]).save(path)
    return paths


def random_rows(count: int, seed: int = 0) -> Output:
    """Unit embeddings in clusters, and logits that go with the clusters."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(20, DIM, generator=generator)
    chosen = torch.randint(20, (count,), generator=generator)
    spread = 0.4 * torch.randn(count, DIM, generator=generator)
    embedding = torch.nn.functional.normalize(centres[chosen] + spread)
    logits = 2 * centres[chosen, : len(NAMES)] + torch.randn(count, 4, generator=generator)
    return Output(embedding, logits)


def fill(store: Store, rows: Output, first: int = 0) -> list[Photo]:
    """Stores rows as photos that are nowhere, in batches as indexing would."""
    photos = [Photo(f"/nowhere/{first + i}.png", i, i) for i in range(len(rows.embedding))]
    with store.writing():
        store.include(Path("/nowhere"))
        for start in range(0, len(photos), 100):
            part = slice(start, start + 100)
            assert rows.logits is not None
            store.append(photos[part], Output(rows.embedding[part], rows.logits[part]))
    return photos
