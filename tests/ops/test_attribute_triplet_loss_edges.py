"""Loss of Eq. 1 where something is missing, equal, empty, infinite or not a number."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import fgsbir_ext as fx
from tests.support.cases import (
    ATTRIBUTE_METRICS,
    FLOATS,
    LOSS_INPUTS,
    METRICS,
    OF_ZERO,
    REDUCTIONS,
    all_pairs,
    make_batch,
    mining_inputs,
)
from tests.support.compare import (
    assert_accurate,
    assert_same_bits,
    exact,
    loss_and_gradients,
    reference_over,
)

NAN, INF = float("nan"), float("inf")
LOSSES = (fx.attribute_triplet_loss, fx.reference.attribute_triplet_loss)


def with_gradients(batch: dict[str, Tensor], **options: Any) -> tuple[fx.LossParts, list[Tensor]]:
    leaves = [batch[name].detach().requires_grad_() for name in LOSS_INPUTS if name in batch]
    arguments = batch | dict(zip(LOSS_INPUTS, leaves, strict=False))
    parts = fx.attribute_triplet_loss(**arguments, return_parts=True, **options)
    parts.total.sum().backward()
    return parts, [leaf.grad for leaf in leaves]


# --- Nothing to learn from ----------------------------------------------------------------------


@pytest.mark.usefixtures("poisoned_memory")
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(
    "shape", [(0, 0, 4, 3), (0, 5, 4, 3), (5, 0, 4, 3), (1, 1, 4, 3), (0, 0, 0, 0)]
)
@pytest.mark.parametrize("dtype", FLOATS)
def test_no_valid_anchor_is_a_loss_of_0_with_gradients_0(
    device: str, shape: tuple[int, int, int, int], reduction: str, dtype: torch.dtype
) -> None:
    batch = make_batch(shape, dtype=dtype, device=device)
    parts, gradients = with_gradients(batch, reduction=reduction, margin="soft")
    for part in parts[:-1]:
        assert part.shape == ((shape[0],) if reduction == "none" else ())
        assert not part.any()
    assert not parts.triplets.valid.any()
    for name, gradient in zip(LOSS_INPUTS, gradients, strict=True):
        assert gradient.shape == batch[name].shape
        assert (gradient == 0).all()


@pytest.mark.usefixtures("poisoned_memory")
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_anchors_that_are_not_valid_do_not_count(device: str, reduction: str) -> None:
    """Sketches of unknown ids change nothing, and get gradient 0."""
    batch = make_batch((5, 8, 4, 3), device=device)
    batch["sketch_labels"][:] = torch.tensor([0, 1, 0, 1, 1])
    batch["photo_labels"][:] = torch.tensor([0, 1, 0, 1, 0, 1, 0, 1])
    lone = {name: x.clone() for name, x in batch.items()}
    lone["sketch_labels"][[1, 3]] = 99
    kept = torch.tensor([0, 2, 4], device=device)
    fewer = {name: x[kept] if "sketch" in name else x for name, x in batch.items()}

    parts, gradients = with_gradients(lone, reduction=reduction)
    expected, expected_gradients = with_gradients(fewer, reduction=reduction)
    for part, other in zip(parts[:-1], expected[:-1], strict=True):
        torch.testing.assert_close(part[kept] if reduction == "none" else part, other)
        if reduction == "none":
            assert (part[[1, 3]] == 0).all()
    torch.testing.assert_close(gradients[1], expected_gradients[1])
    torch.testing.assert_close(gradients[0][kept], expected_gradients[0])
    assert (gradients[0][[1, 3]] == 0).all()
    assert (gradients[2][[1, 3]] == 0).all()


def test_photos_not_chosen_get_gradient_0(device: str) -> None:
    batch = make_batch((4, 300, 4, 3), device=device)
    parts, gradients = with_gradients(batch, margin=100.0)
    chosen = torch.cat([parts.triplets.positive, parts.triplets.negative])
    mask = torch.zeros(300, dtype=torch.bool, device=device)
    mask[chosen[chosen >= 0]] = True
    for gradient in (gradients[1], gradients[3]):
        assert (gradient[~mask] == 0).all()
        assert gradient[mask].any(1).all()


def test_attributes_without_logits_only_guide(device: str) -> None:
    batch = make_batch((6, 9, 5, 3), device=device, logits=False)
    plain = {name: x for name, x in batch.items() if "attributes" not in name}
    parts, _ = with_gradients(batch, attribute_guidance=INF)
    assert not any(part.any() for part in parts[2:6])
    assert not torch.equal(parts.triplets.negative, fx.mine_batch_hard(**plain).negative), (
        "the case must be one where guidance matters"
    )


def test_all_attributes_unknown(device: str) -> None:
    """L_p is 0 where nothing is known; L_a is of the predictions alone."""
    batch = make_batch((6, 9, 5, 3), device=device)
    batch["sketch_attributes"][:] = -1
    batch["photo_attributes"][2] = -1
    actual, picks = loss_and_gradients(fx.attribute_triplet_loss, batch, "parts")
    expected, others = loss_and_gradients(fx.reference.attribute_triplet_loss, batch, "parts")
    assert actual["sketch_attribute"] == 0
    assert_same_bits(picks, others)
    for name in actual:
        torch.testing.assert_close(actual[name], expected[name], rtol=1e-10, atol=1e-12)


# --- Kinks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("attribute_metric", ATTRIBUTE_METRICS[:2])
@pytest.mark.parametrize("metric", METRICS)
def test_a_batch_of_equal_rows_has_no_ranking_gradient(
    device: str, metric: str, attribute_metric: str, dtype: torch.dtype
) -> None:
    """All distances are exactly 0: the loss is both margins, its gradient 0 and not NaN."""
    batch = make_batch((5, 8, 33, 3), dtype=dtype, device=device)
    for name in ("sketch", "sketch_logits"):
        batch[name][:] = batch[name][0].clone()
        batch[name.replace("sketch", "photo")][:] = batch[name][0]
    options = {"lambda_s": 0.0, "lambda_pos": 0.0, "lambda_neg": 0.0}
    parts, gradients = with_gradients(
        batch, metric=metric, attribute_metric=attribute_metric, **options
    )
    assert parts.triplets.valid.any()
    assert parts.triplet.item() == pytest.approx(0.3, rel=1e-6)
    assert parts.attribute_rank.item() == pytest.approx(0.3, rel=1e-6)
    for gradient in gradients:
        assert (gradient == 0).all()


@pytest.mark.parametrize("metric", OF_ZERO)
def test_zero_sketch_of_unit_rows(device: str, metric: str) -> None:
    """It is as far from every photo, without gradient; the picks are the lowest indices."""
    batch = make_batch((4, 9, 5, 0), device=device, attributes=False)
    batch["photo_labels"][:] = torch.arange(9) % 3
    batch["sketch_labels"][:] = torch.tensor([0, 1, 2, 0])
    batch["sketch"][1] = 0
    parts, (of_sketch, _) = with_gradients(batch, metric=metric, reduction="none")
    assert parts.triplet[1].item() == pytest.approx(0.3)
    assert (parts.triplets.positive[1], parts.triplets.negative[1]) == (1, 0)
    assert (of_sketch[1] == 0).all()


@pytest.mark.parametrize("metric", METRICS)
def test_near_duplicates_keep_their_digits(device: str, metric: str) -> None:
    """All rows within 1e-3 at norm 100: whatever mining picks, its distances are right."""
    batch = make_batch((50, 50, 256, 0), dtype=torch.float32, attributes=False, labels=False)
    centre = torch.full((1, 256), 100 / 16)
    for name in ("sketch", "photo"):
        offsets = torch.nn.functional.normalize(batch[name])
        batch[name] = (centre + 1e-3 * offsets).to(device)
    options = {"metric": metric, "margin": 0.0, "reduction": "none"}
    actual, picks = loss_and_gradients(fx.attribute_triplet_loss, batch, **options)
    reference = reference_over(picks)
    truth, _ = loss_and_gradients(reference, exact(batch), **options)
    baseline, _ = loss_and_gradients(reference, batch, **options)
    assert actual["triplet"].any()
    for name, result in actual.items():
        assert_accurate(result, truth[name], baseline[name], name)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_large_logits_and_distances_do_not_overflow(device: str, reduction: str) -> None:
    """log(1 + exp(x)) of the soft margins and the cross-entropies, at x = +-10000, in float32."""
    batch = make_batch((6, 9, 5, 3), dtype=torch.float32, device=device)
    for name in ("sketch", "photo"):
        batch[name] *= 100
        batch[f"{name}_logits"] *= 5000
    options = {
        "margin": "soft",
        "attribute_margin": "soft",
        "attribute_metric": "cross_entropy",
        "reduction": reduction,
    }
    actual, expected = (loss_and_gradients(loss, batch, **options)[0] for loss in LOSSES)
    for name in actual:
        assert actual[name].isfinite().all()
        torch.testing.assert_close(actual[name], expected[name], rtol=1e-5, atol=1e-5)


# --- NaN and infinity ---------------------------------------------------------------------------


@pytest.mark.parametrize("attribute_metric", ATTRIBUTE_METRICS)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("where", LOSS_INPUTS)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_a_nan_reaches_the_loss(
    device: str, where: str, metric: str, attribute_metric: str, reduction: str
) -> None:
    batch = make_batch((6, 9, 5, 3), device=device)
    picks = fx.mine_batch_hard(**mining_inputs(batch), metric=metric)
    anchor = picks.valid.nonzero()[0, 0]
    row = anchor if "sketch" in where else picks.negative[anchor]
    batch[where][row, 1] = NAN
    options = {"metric": metric, "attribute_metric": attribute_metric, "reduction": reduction}
    parts, _ = with_gradients(batch, **options)
    assert parts.total[anchor].isnan() if reduction == "none" else parts.total.isnan()
    assert (parts.attribute_rank if "logits" in where else parts.triplet).isnan().any()


@pytest.mark.usefixtures("poisoned_memory")
@pytest.mark.parametrize(
    "case",
    all_pairs(
        where=LOSS_INPUTS,
        value=(NAN, INF, -INF, 1e200),
        metric=METRICS,
        attribute_metric=ATTRIBUTE_METRICS,
        attribute_guidance=(0.0, 0.5, INF),
        margin=(0.3, "soft"),
        reduction=REDUCTIONS,
    ),
)
def test_extreme_values_are_as_in_the_reference(device: str, case: dict[str, Any]) -> None:
    options = dict(case)
    where, value = options.pop("where"), options.pop("value")
    batch = make_batch((33, 60, 6, 3), device=device)
    batch[where][::7, 2] = value
    batch[where][5, 1] = -value
    actual, picks = loss_and_gradients(fx.attribute_triplet_loss, batch, **options)
    expected, others = loss_and_gradients(fx.reference.attribute_triplet_loss, batch, **options)
    assert_same_bits(picks, others)
    for name in fx.LossParts._fields[:-1]:
        torch.testing.assert_close(actual[name], expected[name], equal_nan=True)


@pytest.mark.parametrize("where", ["sketch", "sketch_logits", "photo_logits"])
def test_a_nan_stays_with_its_anchors(device: str, where: str) -> None:
    """Anchors that do not meet the NaN keep their losses. (A NaN photo is chosen by every one.)"""
    batch = make_batch((6, 9, 5, 3), device=device)
    expected, _ = with_gradients(batch, reduction="none")
    picks = expected.triplets
    anchor = picks.valid.nonzero()[0, 0]
    if "sketch" in where:
        row, touched = anchor, torch.arange(6, device=device) == anchor
    else:
        row = picks.negative[anchor]
        touched = (picks.positive == row) | (picks.negative == row)
    batch[where][row] = NAN
    parts, gradients = with_gradients(batch, reduction="none")
    assert parts.total[touched].isnan().all()
    assert_same_bits(parts.total[~touched], expected.total[~touched])
    assert gradients[0][~touched].isfinite().all()
    assert gradients[2][~touched].isfinite().all()
