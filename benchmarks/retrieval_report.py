"""Tables of the documents on retrieval: the rows of `fgsbir reproduce`, and their stored results.

`python -m benchmarks.retrieval_report` writes them into docs/training.md and docs/results.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fgsbir.reproduce.report import FIGURES
from fgsbir.reproduce.rows import ROWS

from .harness.machine import ROOT
from .report import fill, load

RESULTS = ROOT / "benchmarks" / "results" / "retrieval"
ABLATION = {"shoes": "ablation", "chairs": "ablation-chairs"}


def rows_table() -> str:
    """Every row with its title, what is trained for it, and what ranks."""
    lines = ["| row | in the report | trained | ranked by |", "| --- | --- | --- | --- |"]
    for name, row in ROWS.items():
        ranked = "embedding and attributes" if row.fused else "embedding"
        lines.append(f"| `{name}` | {row.title} | `{row.variant}` | {ranked} |")
    return "\n".join(lines)


def ablation_table() -> str:
    """Means and deviations of the rows that are trained on one category at a time."""
    found = {
        category: {
            entry["row"]: entry for entry in load(RESULTS / folder / "results.json")["summary"]
        }
        for category, folder in ABLATION.items()
    }
    lines = [f"| acc@1 / acc@10 / trip-acc | {' | '.join(found)} |", "| --- | --- | --- |"]
    for name in next(iter(found.values())):
        cells = " | ".join(_cell(entries[name]) for entries in found.values())
        lines.append(f"| {ROWS[name].title} | {cells} |")
    return "\n".join(lines)


def _cell(entry: dict[str, Any]) -> str:
    figures = [entry[name] for name in FIGURES]
    return " / ".join(f"{one['mean']:.1f} ± {one['deviation']:.1f}" for one in figures)


def filled() -> dict[Path, str]:
    """The documents with their tables as they are to be."""
    tables = {"training.md": ("rows", rows_table()), "results.md": ("ablation", ablation_table())}
    documents = {ROOT / "docs" / name: table for name, table in tables.items()}
    return {path: fill(path.read_text(), *table) for path, table in documents.items()}


if __name__ == "__main__":
    for path, text in filled().items():
        path.write_text(text)
