"""Log-log plots of time and memory against N, with the bare product as the limit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..baselines import BASELINES
from ..baselines.base import GREY
from ..baselines.ours import OURS
from .entries import BARE, Entry, Scenario

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(found: Sequence[Entry], scenario: Scenario, folder: Path, suffix: str) -> dict[str, str]:
    """Writes two SVG files; returns what each shows by its name."""
    import matplotlib

    folder.mkdir(parents=True, exist_ok=True)
    chosen = [e for e in found if e.scenario == scenario]
    pictures = {}
    labels = {"time": "seconds", "memory": "MB beyond inputs and gradients, at least 1"}
    for name, label in labels.items():
        style: dict[Any, Any] = {
            "svg.fonttype": "none",  # small files; the reader's own font
            "svg.hashsalt": name,  # the same bytes every time
            "font.size": 9,
            **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor"), GREY),
            **dict.fromkeys(("xtick.color", "ytick.color"), GREY),
        }
        with matplotlib.rc_context(style):
            from matplotlib.figure import Figure

            figure = Figure(figsize=(6.2, 3.4), layout="constrained")
            axes = figure.add_subplot()
            axes.set(xscale="log", yscale="log", xlabel="N = M", ylabel=label)
            _draw_lines(axes, chosen, name)
            axes.set_title(scenario.title(), fontsize=9)
            file = f"benchmark-{name}-{suffix}.svg"
            figure.savefig(folder / file, transparent=True, metadata={"Date": None})
        pictures[file] = f"{name.capitalize()} of the {scenario.title()}, against N"
    return pictures


def _draw_lines(axes: Axes, found: Sequence[Entry], name: str) -> None:
    sizes = sorted({e.n for e in found})
    for baseline in BASELINES.values():
        points = sorted(
            (e.n, value)
            for e in found
            if e.baseline == baseline.name and (value := _value(e, name)) is not None
        )
        if points:
            axes.plot(
                *zip(*points, strict=True),
                color=baseline.colour,
                linestyle=baseline.line,
                linewidth=2.4 if baseline is OURS else 1.3,
                marker=None if baseline.tier == "limit" else "o",
                markersize=4,
                label=f"{BARE} (limit)" if baseline.name == BARE else baseline.name,
            )
    axes.set_xticks(sizes, [str(n) for n in sizes], minor=False)
    axes.minorticks_off()
    axes.grid(alpha=0.25, color=GREY)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)


def _value(entry: Entry, name: str) -> float | None:
    if entry.seconds is None or name == "time":
        return entry.seconds
    # Below a megabyte the allocator's pages are measured, and 0 has no place on the axis.
    return None if entry.peak_bytes is None else max(1.0, entry.peak_bytes / 1e6)
