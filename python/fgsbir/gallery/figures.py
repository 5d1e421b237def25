"""Figures of a gallery: the photos found for a sketch, and all photos as a map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata

from ..data.decoding import read_image
from ..evaluation.figures import CELL_INCHES, FAINT, TEXT, show_image
from ..models.retrieval import PREDICTED
from ..sketches import Sketch, read_sketch
from .gallery import Gallery
from .match import Match

AGREES, DIFFERS, ASKED = "#9ecae1", "#f28e2b", "#52525b"
PHOTOS_A_ROW = 10
GONE = 235  # grey in place of a photo that can no longer be read
PHOTO_PIXELS, THUMBNAIL_PIXELS = 256, 96


def draw_search(
    sketch: Sketch, predicted: Mapping[str, float], matches: Sequence[Match], path: str | Path
) -> Path:
    """Draws a sketch, the photos found for it, and the attributes predicted in all of them.

    Under each image a bar an attribute shows the probability; under the photos it is blue where
    it is on the same side of 1/2 as the sketch's, and orange where it is not.

    Args:
        sketch: what was searched for, as `Gallery.search` takes it.
        predicted: what `Gallery.predicted` gives for it.
        matches: what `Gallery.search` gave.
        path: where the picture goes; its ending says the format (png, pdf, svg ...).

    Returns:
        The path.
    """
    blocks = [matches[i : i + PHOTOS_A_ROW] for i in range(0, len(matches), PHOTOS_A_ROW)] or [[]]
    columns = len(blocks[0])
    bars = 0.16 * len(predicted) / CELL_INCHES  # height beside an image's
    heights = [1.3, bars] if predicted else [1.3]
    figure = Figure(
        figsize=(
            CELL_INCHES * (columns + 1) + 1.2,
            CELL_INCHES * sum(heights) * len(blocks) + 0.3,
        ),
        layout="constrained",
    )
    grid = figure.subplots(
        len(heights) * len(blocks), columns + 1, squeeze=False, height_ratios=heights * len(blocks)
    )
    image = read_sketch(sketch).image
    for number, block in enumerate(blocks):
        top, *below = grid[len(heights) * number : len(heights) * (number + 1)]
        show_image(top[0], image, "", FAINT)
        top[0].set_title("sketch", fontsize=9, color=TEXT)
        for axes in below:
            _bars(axes[0], predicted, [ASKED] * len(predicted))
            axes[0].set_yticks(range(len(predicted)), list(predicted), fontsize=7, color=TEXT)
            axes[0].tick_params(length=0)
        for column in range(1, columns + 1):
            if column > len(block):
                for axes in (top, *below):
                    axes[column].axis("off")
                continue
            match = block[column - 1]
            photo = _photo(match.path, PHOTO_PIXELS)
            shown = np.full((1, 1, 3), GONE, np.uint8) if photo is None else photo
            caption = f"{match.distance:.3f}" if photo is not None else "photo is gone"
            show_image(top[column], shown, caption, FAINT)
            rank = PHOTOS_A_ROW * number + column
            top[column].set_title(str(rank), fontsize=9, color=TEXT)
            colours = [AGREES if name in match.agree else DIFFERS for name in match.attributes]
            for axes in below:
                _bars(axes[column], match.attributes, colours)
    figure.savefig(path, dpi=110, facecolor="white")
    return Path(path)


def draw_map(gallery: Gallery, path: str | Path, *, most: int = 400, seed: int = 0) -> Path:
    """Draws a gallery with similar photos side by side.

    Embeddings are projected onto their two principal components, and each photo takes the place
    in a grid that is nearest to where it falls, so that none hides another.

    Args:
        gallery: photos that can no longer be read are grey.
        path: where the picture goes; its ending says the format (png, pdf, svg ...).
        most: photos; of a larger gallery as many are drawn at random.
        seed: of that draw.

    Returns:
        The path.
    """
    rows = gallery.rows()
    chosen = np.sort(np.random.default_rng(seed).permutation(len(rows))[:most])
    embedding = rows.output.embedding.numpy()[chosen]
    centred = embedding - embedding.mean(0)
    components = np.linalg.svd(centred, full_matrices=False)[2][:2]
    # By rank, since distances would crowd most photos into the middle of the grid.
    falls = rankdata(centred @ components.T, axis=0) / len(chosen)
    across = int(np.ceil(len(chosen) ** 0.5))
    down = int(np.ceil(len(chosen) / across))
    places = np.stack(np.meshgrid(np.arange(across), np.arange(down)), -1).reshape(-1, 2)
    centres = (places + 0.5) / (across, down)
    cost = ((falls[:, None] - centres[None]) ** 2).sum(-1)
    which, where = linear_sum_assignment(cost)

    side = THUMBNAIL_PIXELS
    canvas = np.full((down, side, across, side, 3), 255, dtype=np.uint8)
    for photo, (x, y) in zip(chosen[which], places[where], strict=True):
        image = _photo(Path(rows.paths[photo]), side)
        canvas[y, :, x] = GONE if image is None else image
    figure = Figure(figsize=(across * 0.6, down * 0.6 + 0.5), layout="constrained")
    axes = figure.subplots()
    axes.imshow(canvas.reshape(down * side, across * side, 3), interpolation="lanczos")
    axes.axis("off")
    shown = f"{len(chosen)} of {len(rows)}" if len(chosen) < len(rows) else str(len(rows))
    axes.set_title(f"{shown} photos, similar ones side by side", fontsize=11, color=TEXT)
    figure.savefig(path, dpi=160, facecolor="white")
    return Path(path)


def _photo(path: Path, size: int) -> NDArray[np.uint8] | None:
    """A photo as a square; None where it can no longer be read."""
    try:  # to open a pipe would wait for whoever writes into it
        return read_image(path, size=size) if path.is_file() else None
    except (OSError, ValueError):
        return None


def _bars(axes: Axes, probabilities: Mapping[str, float], colours: Sequence[str]) -> None:
    axes.barh(range(len(probabilities)), list(probabilities.values()), color=colours, height=0.7)
    axes.axvline(PREDICTED, color=FAINT, linewidth=1, zorder=0)
    axes.set(xlim=(0, 1), ylim=(len(probabilities) - 0.5, -0.5), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
