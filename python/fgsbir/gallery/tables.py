"""Text table of the photos found."""

from __future__ import annotations

from collections.abc import Sequence

from .match import Match


def format_matches(matches: Sequence[Match]) -> str:
    """A table of the photos found: rank, r, d, D and path, and what tells each from the sketch."""
    if not matches:
        return "no photo has the attributes asked for"
    attributes = any(match.attributes for match in matches)
    lines = [f"{'':>4}{'r':>8}{'d':>8}{'D' if attributes else '':>8}  photo"]
    for rank, match in enumerate(matches, 1):
        attribute_distance = f"{match.attribute_distance:8.3f}" if attributes else f"{'':8}"
        lines.append(
            f"{rank:4}{match.distance:8.3f}{match.embedding_distance:8.3f}{attribute_distance}"
            f"  {match.path}{_and_copies(match)}"
        )
        if match.differ:
            lines.append(f"{'':30}differs in {', '.join(match.differ)}")
    return "\n".join(lines)


def _and_copies(match: Match) -> str:
    count = len(match.copies)
    return f" and {count} {'copy' if count == 1 else 'copies'}" if count else ""
