"""Results of verification: as they are stored, compared and shown."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

FOLDER = Path(__file__).parent / "stored"
RACE_FREE = "race_free"
ARCHITECTURE = "90a"  # whose rows are shown in full


@dataclass(frozen=True)
class Row:
    """The result of the first proof of a launch, and of those that take branches the other way.

    ``branches`` counts what data decide on the path, each taken one way, ``loops`` those of them
    that were left after one round. ``other_ways`` and ``other_race_free`` count further proofs.
    """

    architecture: str
    engine: str
    kernel: str
    dtype: str
    shape: str
    blocks: str
    result: str
    reason: str
    seconds: float
    branches: int
    loops: int
    assumptions: tuple[str, ...] = ()
    other_ways: int = 0
    other_race_free: int = 0
    other_reasons: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, ...]:
        """What the proofs are of."""
        launch = (self.engine, self.kernel, self.dtype, self.shape, self.blocks)
        return (self.architecture, *launch)

    @property
    def race_free(self) -> bool:
        return self.result == RACE_FREE


@dataclass(frozen=True)
class BarrierRow:
    """What the verifier says of a launch without one barrier, or with one wait loosened."""

    architecture: str
    engine: str
    kernel: str
    shape: str
    instruction: str
    place: str
    result: str

    @property
    def launch(self) -> tuple[str, ...]:
        """Of what the barrier was taken away."""
        return (self.architecture, self.engine, self.kernel, self.shape)


def load(name: str) -> list[dict[str, object]]:
    """Stored rows."""
    path = FOLDER / name
    rows: list[dict[str, object]] = json.loads(path.read_text()) if path.exists() else []
    return rows


def store(name: str, rows: Iterable[Row | BarrierRow]) -> None:
    """Write rows, one a line."""
    lines = ",\n".join(json.dumps(asdict(row)) for row in rows)
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / name).write_text(f"[\n{lines}\n]\n")


def load_rows() -> list[Row]:
    """The stored results of proofs."""
    return [
        Row(**{k: tuple(v) if isinstance(v, list) else v for k, v in row.items()})  # type: ignore[arg-type]
        for row in load("proofs.json")
    ]


def load_barriers() -> list[BarrierRow]:
    """The stored results without barriers."""
    return [BarrierRow(**row) for row in load("barriers.json")]  # type: ignore[arg-type]


def merged(stored: Iterable[Row], found: Iterable[Row]) -> list[Row]:
    """Stored rows, with what was found in the place of those of the same launches."""
    rows = {row.key: row for row in stored}
    for row in found:
        before = rows.get(row.key)
        if before is not None and not row.other_ways:
            row = replace(
                row,
                other_ways=before.other_ways,
                other_race_free=before.other_race_free,
                other_reasons=before.other_reasons,
            )
        rows[row.key] = row
    return sorted(rows.values(), key=lambda row: row.key)


def merged_barriers(stored: Iterable[BarrierRow], found: Iterable[BarrierRow]) -> list[BarrierRow]:
    """Stored rows, with what was found in the place of those of the same launches."""
    found = list(found)
    again = {row.launch for row in found}
    return [*(row for row in stored if row.launch not in again), *found]


def regressions(found: Iterable[Row], stored: Iterable[Row]) -> list[str]:
    """What was proved race-free and no longer is, and what no result is stored of."""
    known = {row.key: row for row in stored}
    problems = []
    for row in found:
        before = known.get(row.key)
        if before is None:
            problems.append(f"{' · '.join(row.key)}: not among the stored results")
        elif before.race_free and not row.race_free:
            problems.append(f"{' · '.join(row.key)}: was race-free, now {row.result}: {row.reason}")
    return problems


# --- Tables ---------------------------------------------------------------------------------------


def architecture_table(rows: Iterable[Row]) -> str:
    """How many launches are proved race-free on each architecture, in Markdown."""
    of_each: dict[str, list[Row]] = {}
    for row in rows:
        of_each.setdefault(row.architecture, []).append(row)
    lines = ["| PTX for | launches | race-free |", "| --- | --- | --- |"]
    for architecture, of in sorted(of_each.items(), key=lambda item: int(item[0].rstrip("a"))):
        lines.append(f"| sm_{architecture} | {len(of)} | {sum(row.race_free for row in of)} |")
    return "\n".join(lines)


def proof_table(rows: Iterable[Row]) -> str:
    """Proofs of one architecture as a table in Markdown, with the types of a kernel in one row."""
    together: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        if row.architecture == ARCHITECTURE:
            key = (row.engine, _shown(row.kernel), row.shape, row.blocks, row.result, row.reason)
            together.setdefault(key, []).append(row)
    lines = [
        "| kernel | engine | launch | blocks | types | result | seconds | branches | loops |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for (engine, name, shape, blocks, result, reason), of in together.items():
        seconds = [row.seconds for row in of]
        span = f"{min(seconds):.1f}"
        if len(of) > 1:
            span += f" to {max(seconds):.1f}"
        answer = "race-free" if result == RACE_FREE else f"{result.replace('_', ' ')}: {reason}"
        types = ", ".join(dict.fromkeys(row.dtype for row in of))
        branches = _branches(of)
        lines.append(
            f"| `{name}` | {engine.replace('_', ' ')} | {shape} | {blocks} | "
            f"{types} | {answer} | {span} | {branches} | {_range(row.loops for row in of)} |"
        )
    return "\n".join(lines)


def _shown(kernel: str) -> str:
    """A kernel's name without the types that other columns show."""
    for written in ("__nv_bfloat16", "__half", "float", "double"):
        kernel = kernel.replace(f"{written}, ", "").replace(written, "")
    return kernel.replace("<>", "")


def _branches(rows: list[Row]) -> str:
    text = _range(row.branches for row in rows)
    for row in rows:
        if row.other_ways:
            text += f"; other ways ({row.dtype}): {row.other_race_free} of {row.other_ways}"
    return text


def _range(numbers: Iterable[int]) -> str:
    values = sorted(set(numbers))
    return str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}"


def barrier_table(rows: Iterable[BarrierRow]) -> str:
    """Deleted barriers and loosened waits as a table in Markdown."""
    lines = [
        "| kernel | launch | instruction | in | without it |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        answer = "**race-free**" if row.result == RACE_FREE else row.result.replace("_", " ")
        lines.append(
            f"| `{row.kernel}` | {row.shape} | `{row.instruction}` | {row.place} | {answer} |"
        )
    return "\n".join(lines)
