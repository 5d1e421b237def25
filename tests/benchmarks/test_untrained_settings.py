"""The study of settings against what galleries do."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from benchmarks.studies.untrained_settings import BLOCKS, CELLS, Setting, accuracy, settings
from fgsbir.gallery.calibration import SAMPLE, make_calibration
from fgsbir.models import efficientnet_lite0

COUNT, CHANNELS = 60, 80
KEYS = [str(i) for i in range(COUNT)]


def test_the_chosen_setting_is_what_galleries_do() -> None:
    torch.manual_seed(0)
    shown = torch.randn(COUNT, CHANNELS, CELLS, CELLS)
    near = {"photos": 6.0, "sketches": 6.0, "edge maps, read": 5.0}
    domains = {
        kind: shown + noise * torch.randn_like(shown) + torch.randn(1, CHANNELS, CELLS, CELLS)
        for kind, noise in near.items()
    }
    rows = {kind: F.normalize(F.instance_norm(of).flatten(1)) for kind, of in domains.items()}
    made = make_calibration(KEYS, rows["photos"], rows["edge maps, read"], CHANNELS, edges_of=KEYS)
    scores = made.of_sketches(rows["sketches"]) @ made.of_photos(rows["photos"]).T
    ranks = (scores > scores.diagonal()[:, None]).sum(1)
    found = accuracy(domains, Setting())
    assert found == [100 * float((ranks < k).float().mean()) for k in (1, 10)]
    assert 10 < found[0] < 95
    assert accuracy(domains, Setting(means=False, whitened=(), hub_weight=0.0)) != found


def test_settings_start_from_what_galleries_use() -> None:
    assert dict(settings())["as galleries are"] == Setting()
    assert Setting().blocks == efficientnet_lite0.VARIANT.maps[-1]
    assert Setting().blocks in BLOCKS["lite0"]
    assert Setting().sample == SAMPLE
