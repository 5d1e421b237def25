"""Design of a product: named choices and numbers, and how they are drawn at random."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# So many consecutive instances are siblings: the same choices, hence the same attributes, and
# nearly the same outline. Only fine details tell them apart.
FAMILY = 4
SIBLING_SPREAD = 0.12
RECALL_ERROR = 0.09
NUMBER_WEIGHT = 0.3  # of a number's full range, against an attribute


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


Attributes = Mapping[str, Callable[[Design], bool]]  # the true value of each, by name


def chosen(choice: str, *values: str) -> Callable[[Design], bool]:
    """An attribute that a choice decides: it holds for these values of it."""
    return lambda design: design[choice] in values


def random_numbers(
    shared: Sequence[str],
    own: Sequence[str],
    family: np.random.Generator,
    instance: np.random.Generator,
) -> dict[str, float]:
    """Numbers of an instance: the shared ones near its family's, the own ones anywhere."""
    near = family.random(len(shared)) + SIBLING_SPREAD * instance.standard_normal(len(shared))
    values = [*_reflected(near), *instance.random(len(own)).tolist()]
    return dict(zip([*shared, *own], values, strict=True))


def misremembered(design: Design, rng: np.random.Generator) -> Design:
    """The design as a person recalls it: the same choices, all numbers a little off."""
    values = np.array(list(design.numbers.values()))
    recalled = _reflected(values + RECALL_ERROR * rng.standard_normal(len(values)))
    return Design(design.choices, dict(zip(design.numbers, recalled, strict=True)))


def _reflected(values: NDArray[np.float64]) -> list[float]:
    """Values near [0, 1], those outside thrown back at its ends."""
    return (1 - np.abs(1 - np.abs(values))).clip(0, 1).tolist()


def pick(rng: np.random.Generator, weights: Mapping[str, float]) -> str:
    """One of the keys, with probability in proportion to its weight."""
    names = list(weights)
    ends = np.cumsum([weights[name] for name in names])
    return names[int(np.searchsorted(ends, rng.random() * ends[-1], side="right"))]


def coin(rng: np.random.Generator, chance: float) -> str:
    """``"yes"`` with this probability, else ``"no"``."""
    return "yes" if rng.random() < chance else "no"


class Read(dict[str, float]):
    """Numbers that remember which of them were asked for."""

    def __init__(self, numbers: Mapping[str, float]) -> None:
        super().__init__(numbers)
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> float:
        self.names.add(name)
        return super().__getitem__(name)


def distances(
    designs: Sequence[Design],
    attributes: NDArray[np.int8],
    draw: Callable[[Design], object],
    ignored: Sequence[str],
) -> NDArray[np.float64]:
    """How different designs are to a person who compares what is drawn.

    Args:
        designs: N designs.
        attributes: (N, K) their attributes.
        draw: What draws them: a number that it does not ask for makes no difference.
        ignored: Names of numbers that make no difference either.

    Returns:
        (N, N): the number of attributes that differ, plus `NUMBER_WEIGHT` times the squared
        differences of the numbers that matter in both.
    """
    values = np.array([list(design.numbers.values()) for design in designs])
    matters = np.empty(values.shape, dtype=bool)
    for row, design in zip(matters, designs, strict=True):
        read = Read(design.numbers)
        draw(Design(design.choices, read))
        row[:] = [name in read.names and name not in ignored for name in design.numbers]
    apart = np.empty((len(designs), len(designs)))
    for i in range(len(designs)):  # a row at a time: (N, N, numbers) would be large
        both = matters & matters[i]
        apart[i] = NUMBER_WEIGHT * (np.square(values - values[i]) * both).sum(axis=1)
        apart[i] += (attributes != attributes[i]).sum(axis=1)
    return apart
