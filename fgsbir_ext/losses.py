"""Attribute-driven triplet loss (Eq. 1) as a ``torch.nn.Module``."""

from __future__ import annotations

from torch import Tensor, nn

from . import _checks as checks
from ._functional import loss_of_sides
from ._options import loss_options
from .types import (
    ArrayLike,
    AttributeMetric,
    LossParts,
    Margin,
    Metric,
    Reduction,
    Side,
    Weights,
    unchecked_side,
)


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
        attribute_weights: Weights | None = None,
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
        weights = checks.fixed_weights("attribute_weights", attribute_weights)
        self.register_buffer("attribute_weights", weights, persistent=False)

    def forward(
        self,
        sketch: ArrayLike,
        photo: ArrayLike,
        *,
        sketch_logits: ArrayLike | None = None,
        photo_logits: ArrayLike | None = None,
        sketch_attributes: ArrayLike | None = None,
        photo_attributes: ArrayLike | None = None,
        sketch_labels: ArrayLike | None = None,
        photo_labels: ArrayLike | None = None,
    ) -> Tensor | LossParts:
        return self._of_sides(
            unchecked_side(sketch, sketch_logits, sketch_attributes, sketch_labels),
            unchecked_side(photo, photo_logits, photo_attributes, photo_labels),
        )

    def _of_sides(self, sketch: Side, photo: Side) -> Tensor | LossParts:
        """The loss of tensors that are still to be checked."""
        loss: Tensor | LossParts = loss_of_sides(
            sketch, photo, self.attribute_weights, self.options, self.return_parts
        )
        return loss

    def extra_repr(self) -> str:
        options = self.options._asdict() | {"return_parts": self.return_parts}
        for name in ("margin", "attribute_margin"):
            options[name] = "soft" if options[name] is None else options[name]
        return ", ".join(f"{name}={value!r}" for name, value in options.items())
