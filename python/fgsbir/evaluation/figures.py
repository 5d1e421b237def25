"""Figures of a ranked split: queries beside their nearest photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from ..data.dataset import SketchPhotoSet
from ..sketches import read_sketch

RIGHT, FAINT, TEXT = "#1a9850", "#e4e4e7", "#3f3f46"
CELL_INCHES = 1.15


def draw_retrievals(
    data: SketchPhotoSet,
    order: Tensor,
    path: str | Path,
    *,
    columns: int = 8,
    rows: int = 8,
    seed: int = 0,
    title: str = "",
) -> Path:
    """Draws some queries, one a row: the sketch, then its nearest photos, the right one framed.

    Args:
        data: the split that was ranked.
        order: (S, P) photo indices for each sketch, nearest first, all of them.
        path: where the picture goes; its ending says the format (png, pdf, svg ...).
        columns: photos in a row.
        rows: queries, drawn at random unless there are no more than that.
        seed: of that draw.
        title: what to write on top; by default the name of the set and acc@1.

    Returns:
        The path.
    """
    right = data.photo_labels[order.numpy()] == data.sketch_labels[:, None]  # (S, P)
    queries = np.arange(len(right))
    if len(queries) > rows:
        queries = np.sort(np.random.default_rng(seed).choice(queries, rows, replace=False))
    columns = min(columns, right.shape[1])

    # The empty column keeps the query apart from its results.
    widths = [1.0, 0.25] + [1.0] * columns
    figure = Figure(
        figsize=(CELL_INCHES * sum(widths), CELL_INCHES * 1.2 * len(queries) + 0.8),
        layout="constrained",
    )
    figure.suptitle(
        title or f"{data.name}: acc@1 {100 * right[:, 0].mean():.1f}%",
        color=TEXT,
        fontsize=13,
    )
    grid = figure.subplots(len(queries), len(widths), squeeze=False, width_ratios=widths)
    for axes, query in zip(grid, queries, strict=True):
        sketch = read_sketch(data.sketches[int(query)]).image
        show_image(axes[0], sketch, _found(right[query]), FAINT)
        axes[1].axis("off")
        for rank in range(columns):
            photo, hit = int(order[query, rank]), bool(right[query, rank])
            show_image(
                axes[2 + rank], data.photos[photo], "", RIGHT if hit else FAINT, 3 if hit else 1
            )
    for rank in range(columns):
        grid[0, 2 + rank].set_title(str(rank + 1), fontsize=9, color=TEXT)
    grid[0, 0].set_title("sketch", fontsize=9, color=TEXT)
    figure.savefig(path, dpi=110, facecolor="white")
    return Path(path)


def show_image(
    axes: Axes, image: NDArray[np.uint8], caption: str, frame: str, thickness: float = 1
) -> None:
    """Shows an image (H, W) or (H, W, 3) in a frame of a colour, with a caption below."""
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="lanczos")
    axes.set(xticks=[], yticks=[])
    axes.set_xlabel(caption, fontsize=8, color=TEXT)
    axes.spines[:].set(color=frame, linewidth=thickness)


def _found(right: NDArray[np.bool_]) -> str:
    return f"found at {int(right.argmax()) + 1}" if right.any() else "no such photo"
