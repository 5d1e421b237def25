"""Commands and code of the README."""

from __future__ import annotations

import re

from tests.support.paths import ROOT

README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_training_loop_runs() -> None:
    (loop,) = blocks("python")
    variables: dict[str, object] = {}
    exec(loop, variables)
    loss = variables["loss"]
    assert float(loss) > 0  # type: ignore[arg-type]
    assert all(p.grad is not None for p in variables["encoder"].parameters())  # type: ignore[attr-defined]


def test_set_up_is_one_command_each() -> None:
    run, test, *_ = blocks("bash")
    assert run.strip().endswith("fgsbir quickstart")
    assert test.strip().endswith("pytest -n auto --dist loadfile")
    assert run.count("\n") == test.count("\n") == 1


def test_every_local_link_leads_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
