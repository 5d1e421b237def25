"""Versions of what is required: the oldest that are allowed are those that are tested."""

from __future__ import annotations

import pytest
from packaging.requirements import Requirement

from tests.support.paths import ROOT


def test_the_oldest_versions_that_are_tested_are_the_floors() -> None:
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = [*project["dependencies"], *project["optional-dependencies"]["train"]]
    lines = (ROOT / "constraints-oldest.txt").read_text().splitlines()
    pins = {pin.name: pin for pin in map(Requirement, filter(None, lines[1:]))}
    assert pins.keys() == {Requirement(line).name for line in required}
    for requirement in map(Requirement, required):
        (floor,), (pin,) = requirement.specifier, pins[requirement.name].specifier
        assert floor.operator == ">="
        assert pin.version in requirement.specifier
        # The last number is free: of some releases the first was broken.
        length = len(floor.version.split("."))
        assert pin.version.split(".")[:length] == floor.version.split("."), requirement.name
