"""docs/extending.md against the files that there are."""

from __future__ import annotations

import re

from tests.support.paths import ROOT


def test_every_file_of_the_page_exists() -> None:
    text = (ROOT / "docs" / "extending.md").read_text()
    named = re.findall(r"`([\w./-]+\.(?:py|h|cuh|cu|cpp|md|toml|pyi)|[\w./-]+/)`", text)
    new = set(re.findall(r"new: `([^`]+)`", text))
    assert len(named) > 30
    missing = [path for path in named if path not in new and not (ROOT / path).exists()]
    assert missing == []
