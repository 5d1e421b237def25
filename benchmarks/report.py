"""Tables and plots of the results, in the README and in docs/performance.md.

    python -m benchmarks.report             # from benchmarks/results/speed/benchmark-*.json
    python -m benchmarks.report FILE        # print the tables of one file, change nothing

Documents say where with ``<!-- benchmark NAME -->`` and ``<!-- end -->``; what stands between is
replaced.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .baselines import BASELINES, OPERATIONS
from .harness import plots
from .harness.entries import Entry, Scenario, bare_entry, entries
from .harness.machine import BUSY, COMPARED, RESULTS, ROOT, sources_differ
from .harness.targets import LOSS, OURS, gpu_target_table, target_table
from .harness.text import format_bytes, format_ratio, format_seconds

README = ROOT / "README.md"
PERFORMANCE = ROOT / "docs" / "performance.md"
IMAGES = ROOT / "docs" / "images"
SECTIONS = ("machine", "targets", "small batch", "plots", "tables", "gpu")  # of PERFORMANCE


def cell_text(entry: Entry, separator: str = "<br>") -> str:
    """Time, ratio and memory of an entry, or why there is none."""
    if entry.seconds is None:
        return f"{entry.outcome} (est.)" if entry.estimated else entry.outcome
    parts = [format_seconds(entry.seconds)]
    if entry.ratio is not None:
        parts.append(format_ratio(entry.ratio))
    if entry.peak_bytes is not None:
        parts.append(format_bytes(entry.peak_bytes))
    if entry.single:
        parts.append("one round")
    return separator.join(parts)


def in_one_line(row: dict[str, Any]) -> str:
    """A row of the results as a run prints it."""
    (entry,) = entries([row])
    if entry.seconds is None:
        return f"{entry.outcome}: {entry.detail}"
    return cell_text(entry, ", ")


# --- Tables ---------------------------------------------------------------------------------------


def table(found: Sequence[Entry]) -> str:
    """Baselines against sizes, for entries that differ in nothing else."""
    sizes = sorted({(e.n, e.m) for e in found}, key=lambda size: size[0] * size[1])
    heads = [f"N = M = {n}" if n == m else f"{n} in {m}" for n, m in sizes]
    lines = [f"| | {' | '.join(heads)} |", "| --- |" + " --- |" * len(sizes)]
    names = [name for name in BASELINES if any(e.baseline == name for e in found)]
    for name in names:
        cells = {(e.n, e.m): cell_text(e) for e in found if e.baseline == name}
        title = f"**{name}**" if name == OURS else name
        lines.append(f"| {title} | {' | '.join(cells.get(size, '') for size in sizes)} |")
    return "\n".join(lines)


def with_bare(found: Sequence[Entry]) -> list[Entry]:
    """The same with the bare product, as it was measured beside this library."""
    return [*found, *(bare_entry(e) for e in found if e.baseline == OURS)]


def headline(content: dict[str, Any]) -> str:
    """The README's table: the whole loss at D = 256 in float32."""
    return table(with_bare([e for e in entries(content["rows"]) if e.scenario == LOSS]))


def tables(content: dict[str, Any]) -> str:
    """A table for every operation, type and dimension, and what was not measured."""
    found = entries(content["rows"])
    operations: list[str] = list(OPERATIONS)

    def order(scenario: Scenario) -> tuple[Any, ...]:
        first = scenario.dtype != "float32", scenario.shots, scenario.d != 256, scenario.d
        return operations.index(scenario.operation), *first

    sections = []
    for key in sorted({e.scenario for e in found}, key=order):
        chosen = [e for e in found if e.scenario == key]
        sections.append(f"### {key.title()}\n\n{table(with_bare(chosen))}\n\n{_missing(chosen)}")
    return "\n".join(section.rstrip() + "\n" for section in sections)


def _missing(found: Iterable[Entry]) -> str:
    lines = [
        f"- {e.baseline}, N = {e.n}: {e.outcome}, {e.detail}" for e in found if e.seconds is None
    ]
    return "\n".join(lines)


def stretches_table(content: dict[str, Any]) -> str:
    """Times by name, from ``benchmarks.studies.small_batch`` and ``host_time``."""
    stretches = content["seconds"].items()
    lines = [
        f"| {name} | {format_seconds(found['low'])} | {format_seconds(found['median'])} |"
        for name, found in stretches
    ]
    return "\n".join(["| | lowest decile | median |", "| --- | --- | --- |", *lines])


def machine_line(content: dict[str, Any]) -> str:
    """Where the figures come from."""
    machine, software = content["machine"], content["software"]
    where = machine["device"] or f"{machine['processor']}, {machine['instruction_sets']}"
    memory = machine["memory_bytes"] / 1e9
    versions = ", ".join(f"{name} {software[name]}" for name in COMPARED if software.get(name))
    return (
        f"{where}, {machine['threads']} threads on {machine['cores']} cores, {memory:.0f} GB; "
        f"{versions}; commit {(software['commit'] or 'unknown')[:10]}"
        f"{' with changes' if software['sources_changed'] else ''}, {software['date'][:10]}; "
        f"load average {machine['load_average']:.1f} at the start"
        f"{', too busy to quote' if machine['load_average'] > BUSY else ''}; "
        f"{content['seconds'] / 60:.0f} minutes in all."
    )


# --- Documents ------------------------------------------------------------------------------------


def fill(text: str, name: str, content: str) -> str:
    """The text with what stands between the marks of a name replaced."""
    pattern = re.compile(rf"(<!-- benchmark {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"no place marked <!-- benchmark {name} --> ... <!-- end -->")
    return pattern.sub(lambda match: f"{match[1]}{content.rstrip()}\n{match[2]}", text)


def warn_of_other_sources(software: dict[str, Any]) -> None:
    """Says so if the kernels are no longer those that were measured."""
    commit = software["commit"]
    if commit and sources_differ(commit):
        print(f"the sources are no longer those of commit {commit[:10]}", file=sys.stderr)


def load(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def rebuild() -> None:
    """Writes the plots and fills the marked places of both documents."""
    content = load(RESULTS / "benchmark-cpu.json")
    warn_of_other_sources(content["software"])
    found = entries(content["rows"])
    pictures = plots.draw(with_bare(found), LOSS, IMAGES, "cpu")

    def links(folder: str) -> str:
        return "\n".join(f"![{shown}]({folder}/{name})" for name, shown in pictures.items())

    readme = f"{headline(content)}\n\n{links('docs/images')}\n\n{machine_line(content)}"
    README.write_text(fill(README.read_text(), "table", readme))
    sections = {
        "machine": machine_line(content),
        "targets": target_table(found),
        "plots": links("images"),
        "tables": tables(content),
    }
    for name in ("small batch", "host time"):
        study = RESULTS / f"{name.replace(' ', '-')}.json"
        if study.exists():
            sections[name] = stretches_table(load(study))
    on_gpu = RESULTS / "benchmark-cuda.json"
    if on_gpu.exists():
        gpu = load(on_gpu)
        reached = gpu_target_table(entries(gpu["rows"]), gpu["machine"]["device"])
        sections["gpu"] = f"{machine_line(gpu)}\n\n{reached}\n\n{tables(gpu)}"
    text = PERFORMANCE.read_text()
    for name, filling in sections.items():
        text = fill(text, name, filling)
    PERFORMANCE.write_text(text)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, nargs="?", help="print the tables of these results")
    arguments = parser.parse_args()
    if arguments.file is None:
        rebuild()
        return 0
    content = load(arguments.file)
    found, device = entries(content["rows"]), content["machine"]["device"]
    judged = gpu_target_table(found, device) if device else target_table(found)
    print(machine_line(content), judged, tables(content), sep="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
