"""Text table of scores."""

from __future__ import annotations

from .metrics import Scores
from .robustness import WAYS, RobustnessTable


def format_scores(name: str, scores: Scores) -> str:
    """A table of the scores beside what guessing would give, one right photo to a sketch."""
    lines = [
        f"{name}: {scores.sketches} sketches, {scores.photos} photos",
        f"{'':24}{'score':>8}{'chance':>9}",
    ]
    for k, value in scores.acc.items():
        lines.append(_line(f"acc@{k}", value, 100 * min(1, k / scores.photos)))
    by_chance = sum(1 / rank for rank in range(1, scores.photos + 1)) / scores.photos
    lines.append(_line("mean reciprocal rank", scores.mrr, 100 * by_chance))
    if scores.trip_acc is not None:
        lines.append(_line("trip_acc", scores.trip_acc, 50.0))
    if scores.attributes:
        mean = sum(scores.attributes.values()) / len(scores.attributes)
        lines.append(_line("attributes, mean", mean))
        lines += [_line(f"  {attribute}", value) for attribute, value in scores.attributes.items()]
    return "\n".join(lines)


def format_robustness(name: str, table: RobustnessTable) -> str:
    """A table of the scores of sketches drawn otherwise, read and as they are decoded."""
    lines = [
        f"{name}, sketches drawn otherwise:",
        f"{'':28}{'read':>18}{'as decoded':>18}",
        f"{'':28}" + 2 * f"{'acc@1':>9}{'acc@10':>9}",
    ]
    for distortion, ways in table.items():
        values = [ways[way][score] for way in WAYS for score in ("acc@1", "acc@10")]
        lines.append(f"{distortion:28}" + "".join(f"{value:8.1f}%" for value in values))
    return "\n".join(lines)


def _line(label: str, value: float, chance: float | None = None) -> str:
    beside = "" if chance is None else f"{chance:8.1f}%"
    return f"{label:24}{value:7.1f}%{beside}"
