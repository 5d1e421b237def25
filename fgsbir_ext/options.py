"""Options of the loss, checked once where they come in."""

from __future__ import annotations

from typing import NamedTuple

from . import checks
from .types import AttributeMetric, Margin, Metric, Reduction


class LossOptions(NamedTuple):
    """The options of :func:`fgsbir_ext.attribute_triplet_loss` but for the attribute weights.

    Those that are made by :func:`loss_options` have been checked.
    """

    margin: Margin
    attribute_margin: Margin
    metric: Metric
    attribute_metric: AttributeMetric
    lambda_a: float
    lambda_s: float
    lambda_pos: float
    lambda_neg: float
    attribute_guidance: float
    reduction: Reduction
    return_parts: bool


def loss_options(
    *,
    margin: Margin,
    attribute_margin: Margin,
    metric: Metric,
    attribute_metric: AttributeMetric,
    lambda_a: float,
    lambda_s: float,
    lambda_pos: float,
    lambda_neg: float,
    attribute_guidance: float,
    reduction: Reduction,
    return_parts: bool,
) -> LossOptions:
    """Checks them.

    Raises:
        TypeError, ValueError: A bad option, named in the message.
    """
    checks.choice("metric", metric, Metric)
    checks.choice("attribute_metric", attribute_metric, AttributeMetric)
    checks.choice("reduction", reduction, Reduction)
    return LossOptions(
        margin=checks.margin("margin", margin),
        attribute_margin=checks.margin("attribute_margin", attribute_margin),
        metric=metric,
        attribute_metric=attribute_metric,
        lambda_a=checks.number("lambda_a", lambda_a),
        lambda_s=checks.number("lambda_s", lambda_s),
        lambda_pos=checks.number("lambda_pos", lambda_pos),
        lambda_neg=checks.number("lambda_neg", lambda_neg),
        attribute_guidance=checks.number("attribute_guidance", attribute_guidance, infinite=True),
        reduction=reduction,
        return_parts=return_parts,
    )
