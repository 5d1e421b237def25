"""Report of a reproduction as Markdown, JSON and plots."""

from __future__ import annotations

import statistics
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic_files import write_atomically, write_json
from ..evaluation.robustness import RobustnessTable
from .claims import gain, paired_differences
from .plots import draw_plots
from .provenance import versions
from .published import PUBLISHED
from .rows import ROWS, VARIANTS
from .spec import Task

FIGURES = ("acc@1", "acc@10", "trip_acc")
Results = list[dict[str, Any]]


def write_report(
    out: Path, task: Task, results: Results, left_out: dict[str, str], seconds: float
) -> Path:
    """Writes ``results.json``, plots and ``REPORT.md`` into a folder; returns the last.

    Args:
        out: the folder.
        task: what was asked for.
        results: one for each row, category, seed and fold.
        left_out: rows that the data lacks something for, and what.
        seconds: since the command started.
    """
    summary = summarise(results)
    differences = paired_differences(results)
    seconds_by_run = dict(
        item for r in results for item in zip(r["runs"], r["seconds"], strict=True)
    )
    facts = {
        "command": task.command,
        "versions": versions(),
        "seconds_of_this_command": seconds,
        "seconds_of_all_trainings": sum(seconds_by_run.values()),
        "task": asdict(task),
        "left_out": left_out,
    }
    content = {**facts, "summary": summary, "differences": differences, "results": results}
    write_json(out / "results.json", content, indent=1)
    draw_plots(out, results, summary)
    write_atomically(out / "REPORT.md", _markdown(task, facts, summary, differences).encode())
    return out / "REPORT.md"


def summarise(results: Results) -> list[dict[str, Any]]:
    """Mean and sample standard deviation over seeds, of each row and category.

    Of a cross-validation, the score of a seed is the mean over all held-out sketches of its folds.
    The deviation of a single seed is None, as is a figure that the data has no annotation for.
    """
    summary = []
    for row, category in dict.fromkeys((r["row"], r["category"]) for r in results):
        ours = [r for r in results if (r["row"], r["category"]) == (row, category)]
        entry: dict[str, Any] = {"row": row, "title": ROWS[row].title, "category": category}
        entry["asked"] = _asked(ours)
        # Published figures are of one gallery of photos, and stand beside no other.
        entry["benchmark"] = {r["data"] for r in ours} == {f"{category}/test"}
        for figure in FIGURES:
            seeds = []
            for seed in dict.fromkeys(r["seed"] for r in ours):
                parts = [r["scores"] for r in ours if r["seed"] == seed]
                if all(part[figure] is not None for part in parts):
                    weights = [part["sketches"] for part in parts]
                    seeds.append(float(np.average([p[figure] for p in parts], weights=weights)))
            entry[figure] = {
                "mean": statistics.mean(seeds) if seeds else None,
                "deviation": statistics.stdev(seeds) if len(seeds) > 1 else None,
                "seeds": seeds,
            }
        if all("robustness" in r for r in ours):
            entry["robustness"] = _mean_robustness(ours)
        summary.append(entry)
    return summary


def _asked(results: Results) -> str:
    """How many sketches were searched with, among how many photos."""
    places = {r["fold"]: r["scores"] for r in results}
    sketches = sum(of["sketches"] for of in places.values())
    sizes = sorted({of["photos"] for of in places.values()})
    named = "1 sketch" if sketches == 1 else f"{sketches} sketches, each"
    return f"{named} among {' or '.join(map(str, sizes))} photos."


def _mean_robustness(results: Results) -> RobustnessTable:
    """Over all sketches of all runs."""
    weights = [r["scores"]["sketches"] for r in results]
    tables: list[RobustnessTable] = [r["robustness"] for r in results]
    return {
        name: {
            way: {
                score: float(np.average([t[name][way][score] for t in tables], weights=weights))
                for score in scores
            }
            for way, scores in ways.items()
        }
        for name, ways in tables[0].items()
    }


def _markdown(task: Task, facts: dict[str, Any], summary: Results, differences: Results) -> str:
    what = (
        f"{task.folds}-fold cross-validation inside the training split, by instance; the test "
        "split was not looked at."
        if task.folds
        else "Scores on the test split, once for every run and row."
    )
    start = "weights drawn at random"
    if task.pretrain_data is not None:
        start = f"a backbone pretrained for {task.pretraining.optim.epochs} epochs on classified "
        start += f"sketches (`{Path(task.pretrain_data).name}`)"
    elif task.config.init is not None:
        start = f"the backbone of `{task.config.init}`"
    lines = [
        "# Reproduction",
        "",
        what,
        f"Seeds {', '.join(map(str, task.seeds))}, "
        f"{task.config.optim.epochs} epochs each, {task.config.model.backbone}, from {start}.",
        "Percent, mean ± sample standard deviation over seeds. Where attributes rank too, their "
        f"weight is {task.scoring.attribute_weight:g}.",
    ]
    weight = task.config.loss.contrastive_weight
    if weight:
        lines.append(
            "Beside the loss of the paper there is an in-batch softmax term of weight "
            f"{weight:g} in every row but those of listed triplets."
        )
    for category in dict.fromkeys(entry["category"] for entry in summary):
        entries = [entry for entry in summary if entry["category"] == category]
        lines += ["", f"## {category or task.data}", "", entries[0]["asked"], ""]
        lines += ["| | acc@1 | acc@10 | trip-acc |", "| --- | --- | --- | --- |"]
        for entry in entries:
            cells = " | ".join(_cell(entry[figure]) for figure in FIGURES)
            lines.append(f"| {entry['title']} | {cells} |")
        for other in PUBLISHED if entries[0]["benchmark"] else ():
            cells = " | ".join("" if x is None else f"{x:.2f}" for x in other.of(category))
            source = f" ({other.source})" if other.source else ""
            lines.append(f"| *{other.method}{source}* | {cells} |")
        lines += _claims([entry for entry in differences if entry["category"] == category])
        lines += _robustness([entry for entry in entries if "robustness" in entry])
    if any(entry["benchmark"] for entry in summary):
        lines += ["", "In italics: published figures on the same test splits."]
    if any(VARIANTS[ROWS[entry["row"]].variant].extra for entry in summary):
        given = (task.extra.extra_sketches, task.extra.extra_photos)
        folders = ", ".join(f"`{path.name}`" for path in given if path is not None)
        lines += ["", f"Further training data: {folders}."]
    for row, reason in facts["left_out"].items():
        lines += ["", f"Left out, for the data lacks {reason}: {ROWS[row].title}."]
    lines += [
        "",
        "![Ablation](ablation.png)",
        "![acc@K](acc_at_k.png)",
        "![Learning curves](learning_curves.png)",
        "",
        "## How",
        "",
        "```",
        task.command,
        "```",
        "",
        f"Training took {facts['seconds_of_all_trainings'] / 60:.1f} minutes in all; this command, "
        f"which does not repeat finished runs, {facts['seconds_of_this_command'] / 60:.1f}.",
        "",
        "| of this command | |",
        "| --- | --- |",
        *(f"| {name} | {value} |" for name, value in facts["versions"].items()),
        "",
        "Every setting is in `results.json`, and in the checkpoint of each run.",
    ]
    return "\n".join(lines) + "\n"


def _claims(entries: Results) -> list[str]:
    """What rows gain on others."""
    if not entries:
        return []
    lines = [
        "",
        "Gains in points, with 95% intervals over sketches and seeds; about one in twenty "
        "misses, more with few seeds. In brackets the seeds in which the first row is ahead; in "
        "others it may be level.",
        "",
        "| | acc@1 | acc@10 |",
        "| --- | --- | --- |",
    ]
    for entry in entries:
        cells = [
            f"{gain(of)} ({of['ahead']} of {entry['seeds']})"
            for of in (entry["acc@1"], entry["acc@10"])
        ]
        pair = f"`{entry['row']}` over `{entry['baseline']}`"
        lines.append(f"| {entry['title']}: {pair} | {' | '.join(cells)} |")
    return lines


def _robustness(entries: list[dict[str, Any]]) -> list[str]:
    """acc@10 of sketches drawn otherwise, by row of the results."""
    if not entries:
        return []
    lines = [
        "",
        "Sketches drawn otherwise, acc@10 of them read, and in brackets taken as they are decoded:",
        "",
        f"| | {' | '.join(entry['title'] for entry in entries)} |",
        "|".join(["", *[" --- "] * (len(entries) + 1), ""]),
    ]
    for name in entries[0]["robustness"]:
        ways = [entry["robustness"][name] for entry in entries]
        cells = [f"{way['read']['acc@10']:.1f} ({way['decoded']['acc@10']:.1f})" for way in ways]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _cell(figure: dict[str, Any]) -> str:
    if figure["mean"] is None:
        return ""
    spread = "" if figure["deviation"] is None else f" ± {figure['deviation']:.2f}"
    return f"{figure['mean']:.2f}{spread}"
