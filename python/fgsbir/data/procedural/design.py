"""A product before it is drawn: named choices and numbers, and how they are drawn at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# So many consecutive instances are siblings: the same choices, hence the same attributes, and
# nearly the same outline. Only fine details tell them apart.
FAMILY = 4
SIBLING_SPREAD = 0.13


@dataclass(frozen=True)
class Design:
    """What to draw.

    Attributes:
        choices: Discrete decisions by name, shared by a family: ``{"heel": "high", ...}``.
        numbers: Continuous ones by name, each in [0, 1].
    """

    choices: Mapping[str, str]
    numbers: Mapping[str, float]

    def __getitem__(self, choice: str) -> str:
        return self.choices[choice]

    def number(self, name: str, low: float, high: float) -> float:
        """The number ``name`` stretched to [low, high]."""
        return low + (high - low) * self.numbers[name]

    def count(self, name: str, low: int, high: int) -> int:
        """The number ``name`` as one of the whole numbers low..high, all equally wide."""
        return min(high, low + int((high - low + 1) * self.numbers[name]))

    def has(self, name: str, chance: float) -> bool:
        """Whether the number ``name`` falls among the lowest ``chance`` of its range."""
        return self.numbers[name] < chance


def random_numbers(
    shared: Sequence[str],
    own: Sequence[str],
    family: np.random.Generator,
    instance: np.random.Generator,
) -> dict[str, float]:
    """Numbers of an instance: the shared ones near its family's, the own ones anywhere."""
    near = family.random(len(shared)) + SIBLING_SPREAD * instance.standard_normal(len(shared))
    inside = 1 - np.abs(1 - np.abs(near))  # reflected at 0 and at 1
    values = [*inside.clip(0, 1).tolist(), *instance.random(len(own)).tolist()]
    return dict(zip([*shared, *own], values, strict=True))


def pick(rng: np.random.Generator, weights: Mapping[str, float]) -> str:
    """One of the keys, with probability in proportion to its weight."""
    names = list(weights)
    ends = np.cumsum([weights[name] for name in names])
    return names[int(np.searchsorted(ends, rng.random() * ends[-1], side="right"))]


def distances(designs: Sequence[Design], attributes: NDArray[np.int8]) -> NDArray[np.float64]:
    """(N, N) how different designs are: attributes that differ, plus differing numbers.

    A differing attribute counts 1; a number counts the square of its difference.
    """
    numbers = np.array([list(design.numbers.values()) for design in designs])
    between = np.square(numbers[:, None] - numbers[None]).sum(axis=-1)
    return between + (attributes[:, None] != attributes[None]).sum(axis=-1)
