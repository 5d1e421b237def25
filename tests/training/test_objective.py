"""Settings of the objective, and the losses that take them."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

import fgsbir_ext as fx
from fgsbir.config import LossConfig
from fgsbir.training.losses import settings_for
from fgsbir_ext.reference import loss_of_triplets


@pytest.mark.parametrize(
    ("loss", "others"),
    [(fx.AttributeTripletLoss, set()), (loss_of_triplets, {"attribute_guidance"})],
)
def test_a_loss_takes_every_setting_that_the_objective_does_not_use_itself(
    loss: Any, others: set[str]
) -> None:
    left = {field.name for field in fields(LossConfig)} - set(settings_for(loss, LossConfig()))
    assert left == {"embedding_scale", "contrastive_weight"} | others
