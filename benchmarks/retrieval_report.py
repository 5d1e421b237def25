"""Tables of the documents on retrieval: the rows of `fgsbir reproduce`, and their stored results.

`python -m benchmarks.retrieval_report` writes them into docs/training.md and docs/results.md.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fgsbir.reproduce.claims import CLAIMS, gain
from fgsbir.reproduce.report import FIGURES
from fgsbir.reproduce.rows import ROWS

from .harness.machine import ROOT
from .report import fill, load

RESULTS = ROOT / "benchmarks" / "results" / "retrieval"
SPLITS = ("train", "test")
SCORED = "acc@1 / acc@10 / trip-acc"
STAND_INS = {"edge maps of its photos": "their edge maps", "TU-Berlin": "sketches of TU-Berlin"}
ABLATION = {"shoes": "ablation", "chairs": "ablation-chairs"}
PLACES = {"folds": "-folds", "test": ""}  # and how the names of their results end
Places = dict[tuple[str, str], dict[str, Any]]
"""What was found on the folds and on the test split, by place and category."""
NETWORKS = {
    "frozen-lite0": "EfficientNet-Lite0",
    "frozen-lite2": "EfficientNet-Lite2",
    "frozen-extra": "**further data**: Lite0, with 903 more sketches of the train shoes",
    "frozen-ensembles": "Lite0 and Lite2 together",
}


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


def frozen_table() -> str:
    """Means and deviations of rows on a frozen backbone, on the folds and on the test split."""
    rows = _rows_of("frozen")
    return _by_place(SCORED, {ROWS[name].title: places for name, places in rows.items()}, _cell)


def networks_table() -> str:
    """One network, and both together, on the folds and on the test split."""
    lines: dict[str, Places] = {}
    for name, title in NETWORKS.items():
        for row, places in _rows_of(name).items():
            of_all = ", ten seeds as an ensemble" if ROWS[row].ensemble else ""
            lines[title + of_all + (", hubs corrected" if ROWS[row].scoring else "")] = places
    return _by_place(SCORED, lines, _cell)


def claims_table() -> str:
    """What rows gain on others, on the folds and on the test split."""
    found = {
        (one["row"], one["baseline"], of, one["category"]): one
        for of, end in PLACES.items()
        for one in load(RESULTS / f"frozen{end}" / "results.json")["differences"]
    }
    lines = {
        claim.title: {
            (of, category): found[claim.row, claim.baseline, of, category]
            for of in PLACES
            for category in ABLATION
        }
        for claim in CLAIMS
    }
    return _by_place(
        "acc@1 / acc@10", lines, lambda one: f"{gain(one['acc@1'])} / {gain(one['acc@10'])}"
    )


def _rows_of(name: str) -> dict[str, Places]:
    """By row, the entries of a reproduction on the folds and of one on the test split."""
    rows: dict[str, Places] = {}
    for of, end in PLACES.items():
        for entry in load(RESULTS / (name + end) / "results.json")["summary"]:
            rows.setdefault(entry["row"], {})[of, entry["category"]] = entry
    return rows


def _by_place(what: str, lines: dict[str, Places], cell: Callable[[dict[str, Any]], str]) -> str:
    """A table with a column for each category on the folds and on the test split."""
    columns = [(of, category) for of in PLACES for category in ABLATION]
    table = [
        f"| {what} | " + " | ".join(f"{category}, {of}" for of, category in columns) + " |",
        "| --- |" + " --- |" * len(columns),
    ]
    for title, places in lines.items():
        table.append(f"| {title} | {' | '.join(cell(places[place]) for place in columns)} |")
    return "\n".join(table)


def frozen_settings_table() -> str:
    """What settings of heads on a frozen backbone are worth, one by one."""
    scores = load(RESULTS / "frozen-settings.json")["scores"]
    lines = [f"| {SCORED} | {' | '.join(ABLATION)} |", "| --- | --- | --- |"]
    for name, of in scores.items():
        cells = [_cell(of["joint-corrected"][category]) for category in ABLATION]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def untrained_table() -> str:
    """Accuracy of galleries without training."""
    lines = [
        "| photos | calibrated by | " + " | ".join(f"{s}: {SCORED}" for s in SPLITS) + " |",
        "| --- | --- |" + " --- |" * len(SPLITS),
    ]
    found = [load(RESULTS / f"untrained-{split}.json")["galleries"] for split in SPLITS]
    for rows in zip(*found, strict=True):
        of_others = rows[0]["calibrated_by"] not in STAND_INS
        by = "sketches of the other split" if of_others else STAND_INS[rows[0]["calibrated_by"]]
        photos = rows[0]["photos"].split()[0]
        where = [f" of {row['gallery']}" for row in rows]
        cells = [
            f"{row['acc@1']:.1f} / {row['acc@10']:.1f} / {row['trip_acc']:.1f}{size}"
            for row, size in zip(rows, where, strict=True)
        ]
        alone = "" if rows[0]["photos"] == photos else ", among photos of everything"
        lines.append(f"| {photos}{alone} | {by} | {' | '.join(cells)} |")
    return "\n".join(lines)


def settings_table() -> str:
    """What settings of galleries without training are worth, one by one."""
    scores = load(RESULTS / "untrained-settings.json")["scores"]
    lines = ["| acc@1 / acc@10 | shoes (304) | chairs (199) |", "| --- | --- | --- |"]
    for name, of in scores.items():
        cells = [f"{of[category][0]:.1f} / {of[category][1]:.1f}" for category in ABLATION]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(entry: dict[str, Any]) -> str:
    spread = {name: entry[name]["deviation"] for name in FIGURES}
    return " / ".join(
        f"{entry[name]['mean']:.1f}" + ("" if of is None else f" ± {of:.1f}")
        for name, of in spread.items()
    )


def filled() -> dict[Path, str]:
    """The documents with their tables as they are to be."""
    tables = {
        "training.md": {"rows": rows_table()},
        "results.md": {
            "ablation": ablation_table(),
            "networks": networks_table(),
            "frozen": frozen_table(),
            "claims": claims_table(),
            "frozen settings": frozen_settings_table(),
            "untrained": untrained_table(),
            "untrained settings": settings_table(),
        },
    }
    documents = {}
    for name, contents in tables.items():
        path = ROOT / "docs" / name
        text = path.read_text()
        for mark, content in contents.items():
            text = fill(text, mark, content)
        documents[path] = text
    return documents


if __name__ == "__main__":
    for path, text in filled().items():
        path.write_text(text)
