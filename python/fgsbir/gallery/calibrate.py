"""Bringing the calibration of a gallery up to date with its photos."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from .calibration import choose_sample, make_calibration
from .encoder import Encoder
from .folder import find_photos
from .store import Store


def calibrate(store: Store, encoder: Encoder, sketches: str | Path | None = None) -> None:
    """Makes the calibration of a gallery anew where its photos or its sketches have changed.

    Args:
        store: open for writing.
        encoder: of the gallery's model.
        sketches: folder of unlabelled sketches to calibrate with from now on; None to go on with
            those of an earlier call, or with edge maps of photos where there were none.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: none of the sketches, or of the photos, can be read.
    """
    photos, old = store.photos(), store.calibration
    numbers = choose_sample(photos)
    if not numbers or (sketches is None and old is not None and list(old.numbers) == numbers):
        return
    from_photos = sketches is None and (old is None or old.from_photos)
    if sketches is not None:
        found = dict(enumerate(find_photos(sketches).photos))
        files = [found[i].path for i in choose_sample(found)]
        drawn = list(_embedded(encoder, encoder.sketch_ink, files).values())
        if not drawn:
            raise ValueError(f"{sketches}: none of the images is a sketch that can be read")
    elif old is not None and not from_photos:
        drawn = list(old.sketches)
    else:
        known = {} if old is None else dict(zip(old.numbers, old.sketches, strict=True))
        new = {photos[number].path: number for number in numbers if number not in known}
        edges = _embedded(encoder, encoder.edge_ink, new)
        known |= {new[path]: row for path, row in edges.items()}
        numbers = [number for number in numbers if number in known]
        drawn = [known[number] for number in numbers]
        if not drawn:
            raise ValueError(f"{store.folder}: none of its photos can be read any more")
    store.recalibrate(
        make_calibration(
            numbers,
            store.embeddings(numbers),
            torch.stack(drawn),
            encoder.model.map_channels,
            from_photos=from_photos,
        )
    )


def _embedded(
    encoder: Encoder, ink_of: Callable[[str], Tensor], files: Iterable[str]
) -> dict[str, Tensor]:
    """The embeddings (D,) of image files; those that cannot be read are left out."""

    def ink_or_none(file: str) -> Tensor | None:
        try:
            return ink_of(file)
        except (OSError, ValueError):
            return None

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        read = dict(zip(files, pool.map(ink_or_none, files), strict=True))
    inks = {file: ink for file, ink in read.items() if ink is not None}
    if not inks:
        return {}
    return dict(zip(inks, encoder.embed(list(inks.values())).embedding, strict=True))
