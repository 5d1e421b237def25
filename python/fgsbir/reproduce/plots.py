"""Plots of a reproduction: learning curves, acc@K, and a bar for every row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .published import PUBLISHED
from .rows import ROWS

Results = list[dict[str, Any]]
BAR, EDGE, FAINT = "#4575b4", "#3f3f46", "#a1a1aa"
LABEL: dict[str, Any] = {"fontsize": 7, "ha": "right", "va": "top", "color": EDGE}


def draw_plots(out: Path, results: Results, summary: Results) -> None:
    """Writes ``learning_curves.png``, ``acc_at_k.png`` and ``ablation.png``, a panel a category.

    Args:
        out: the folder.
        results: one for each row, category, seed and fold.
        summary: their means, one for each row and category.
    """
    categories = list(dict.fromkeys(entry["category"] for entry in summary))
    plots = {"learning_curves": _draw_learning, "acc_at_k": _draw_curve, "ablation": _draw_bars}
    for name, draw in plots.items():
        figure = Figure(figsize=(6.4 * len(categories), 4.6), layout="constrained")
        grid = figure.subplots(1, len(categories), squeeze=False)[0]
        for axes, category in zip(grid, categories, strict=True):
            axes.set_title(category or "", color=EDGE)
            both = ([x for x in part if x["category"] == category] for part in (results, summary))
            draw(axes, *both)
        figure.savefig(out / f"{name}.png", dpi=110, facecolor="white")


def _draw_learning(axes: Axes, results: Results, summary: Results) -> None:
    del summary
    # Rows of one variant are the same runs.
    losses = {ROWS[row].variant: loss for row, loss in _mean_by_row(results, "loss").items()}
    for variant, loss in losses.items():
        axes.plot(range(1, len(loss) + 1), loss, label=variant)
    axes.set(xlabel="epoch", ylabel="loss, of each its own terms", yscale="log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False, fontsize=8)


def _draw_curve(axes: Axes, results: Results, summary: Results) -> None:
    del summary
    for row, accuracy in _mean_by_row(results, "curve").items():
        axes.plot(range(1, len(accuracy) + 1), accuracy, label=row)
    axes.set(xlabel="K", ylabel="acc@K, %", ylim=(0, 101))
    axes.legend(frameon=False, fontsize=8, loc="lower right")


def _draw_bars(axes: Axes, results: Results, summary: Results) -> None:
    del results
    means = [entry["acc@1"]["mean"] for entry in summary]
    spread = [entry["acc@1"]["deviation"] or 0.0 for entry in summary]
    axes.barh(range(len(means)), means, xerr=spread, color=BAR, ecolor=EDGE)
    axes.set_yticks(range(len(means)), [entry["row"] for entry in summary])
    axes.invert_yaxis()
    axes.set(xlabel="acc@1, %")
    for other in PUBLISHED if summary[0]["benchmark"] else ():
        value = other.of(summary[0]["category"])[0]
        if other.reference and value is not None:
            axes.axvline(value, color=FAINT, linestyle="--", linewidth=1)
            along = axes.get_xaxis_transform()
            axes.text(value, 0.98, other.reference, transform=along, rotation=90, **LABEL)


def _mean_by_row(results: Results, key: str) -> dict[str, Any]:
    """Mean over seeds and folds of a list of figures, as long as the shortest, by row."""
    means = {}
    for row in dict.fromkeys(r["row"] for r in results):
        lists = [r[key] for r in results if r["row"] == row]
        shortest = min(map(len, lists))
        means[row] = np.mean([values[:shortest] for values in lists], axis=0)
    return means
