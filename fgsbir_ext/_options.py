"""Validation of the options of mining and of the loss, once where they come in."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from . import _checks as checks
from .types import AttributeMetric, LossOptions, Metric, MiningOptions, Reduction

_CHECKS: dict[str, Callable[..., Any]] = {
    "metric": partial(checks.choice, options=Metric),
    "attribute_metric": partial(checks.choice, options=AttributeMetric),
    "margin": checks.margin,
    "attribute_margin": checks.margin,
    "lambda_a": checks.number,
    "lambda_s": checks.number,
    "lambda_pos": checks.number,
    "lambda_neg": checks.number,
    "attribute_guidance": partial(checks.number, infinite=True),
    "reduction": partial(checks.choice, options=Reduction),
}


def loss_options(**options: Any) -> LossOptions:
    """Options of :func:`fgsbir_ext.attribute_triplet_loss` by name, checked.

    Raises:
        TypeError, ValueError: A bad option, named in the message.
    """
    return LossOptions(**_checked(options))


def mining_options(**options: Any) -> MiningOptions:
    """Options of :func:`fgsbir_ext.mine_batch_hard` by name, checked.

    Raises:
        TypeError, ValueError: A bad option, named in the message.
    """
    return MiningOptions(**_checked(options))


def _checked(options: dict[str, Any]) -> dict[str, Any]:
    return {name: _CHECKS[name](name, value) for name, value in options.items()}
