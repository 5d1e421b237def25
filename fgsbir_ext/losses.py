"""Attribute-driven triplet loss (Eq. 1) as a ``torch.nn.Module``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from . import _checks as checks
from ._functional import loss_of_sides
from ._options import loss_options
from .types import AttributeMetric, Margin, Metric, Reduction, Side


class AttributeTripletLoss(nn.Module):
    """:func:`fgsbir_ext.attribute_triplet_loss` with its options fixed.

    It is called with the tensors of the function, all after the two embeddings by name:
    ``loss(sketch, photo, sketch_labels=..., photo_labels=...)``.

    Raises:
        TypeError, ValueError: A bad option, at construction; bad tensors, when called.
    """

    attribute_weights: Tensor | None

    def __init__(
        self,
        *,
        margin: Margin = 0.3,
        attribute_margin: Margin = 0.3,
        metric: Metric = "sqeuclidean",
        attribute_metric: AttributeMetric = "sqeuclidean",
        lambda_a: float = 1.0,
        lambda_s: float = 1.0,
        lambda_pos: float = 1.0,
        lambda_neg: float = 1.0,
        attribute_guidance: float = 0.0,
        attribute_weights: Tensor | Sequence[float] | None = None,
        reduction: Reduction = "mean",
        return_parts: bool = False,
    ) -> None:
        super().__init__()
        self.options = loss_options(
            margin=margin,
            attribute_margin=attribute_margin,
            metric=metric,
            attribute_metric=attribute_metric,
            lambda_a=lambda_a,
            lambda_s=lambda_s,
            lambda_pos=lambda_pos,
            lambda_neg=lambda_neg,
            attribute_guidance=attribute_guidance,
            reduction=reduction,
        )
        self.return_parts = return_parts
        attribute_weights = checks.fixed_weights("attribute_weights", attribute_weights)
        self.register_buffer("attribute_weights", attribute_weights, persistent=False)

    def forward(
        self,
        sketch: Any,
        photo: Any,
        *,
        sketch_logits: Any = None,
        photo_logits: Any = None,
        sketch_attributes: Any = None,
        photo_attributes: Any = None,
        sketch_labels: Any = None,
        photo_labels: Any = None,
    ) -> Any:
        return self._of_sides(
            Side(sketch, sketch_logits, sketch_attributes, sketch_labels),
            Side(photo, photo_logits, photo_attributes, photo_labels),
        )

    def _of_sides(self, sketch: Side, photo: Side) -> Any:
        """The loss of tensors that are still to be checked."""
        return loss_of_sides(sketch, photo, self.attribute_weights, self.options, self.return_parts)

    def extra_repr(self) -> str:
        options = self.options._asdict() | {"return_parts": self.return_parts}
        for name in ("margin", "attribute_margin"):
            options[name] = "soft" if options[name] is None else options[name]
        return ", ".join(f"{name}={value!r}" for name, value in options.items())
