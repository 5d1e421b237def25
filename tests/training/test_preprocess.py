"""Preprocessing and augmentation of line images."""

import dataclasses

import numpy as np
import pytest
import torch

from fgsbir.config import AugmentConfig
from fgsbir.models.preprocess import Preprocessing, as_float, augment, source_size, to_ink

STILL = AugmentConfig(rotate=0, scale=0, shear=0, shift=0, elastic=0, cutout=0, thicken=0, flip=0)


def cross(size: int = 64) -> torch.Tensor:
    """Two images with a vertical line left of the middle and a horizontal one above it."""
    ink = torch.zeros(2, 1, size, size)
    ink[..., size // 4] = 1
    ink[..., size // 3, :] = 1
    return ink


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_ink_is_255_on_lines_and_0_on_background():
    image = np.full((40, 40), 255, np.uint8)
    image[20] = 0
    ink = to_ink([image], Preprocessing(40))
    assert ink.shape == (1, 1, 40, 40)
    assert ink.dtype == torch.uint8
    assert (ink[0, 0, 20] == 255).all()
    assert ink.sum() == 40 * 255
    assert as_float(ink).max() == 1


def test_images_of_any_shape_are_padded_with_background():
    wide = np.zeros((10, 30), np.uint8)  # all ink
    ink = to_ink([wide], Preprocessing(30))
    assert (ink[0, 0, 10:20] == 255).all()
    assert ink[0, 0, :10].sum() == ink[0, 0, 20:].sum() == 0


def test_shrinking_a_thin_line_keeps_its_ink():
    image = np.full((256, 256), 255, np.uint8)
    image[:, 100] = 0
    ink = as_float(to_ink([image], Preprocessing(64)))[0, 0]
    per_row = ink.sum(1)
    assert per_row.min() > 0.2  # a quarter of a pixel: one pixel of four
    assert per_row.max() - per_row.min() < 0.02


def test_without_any_change_augmentation_is_the_identity():
    ink = cross()
    torch.testing.assert_close(augment(ink, 64, STILL, generator()), ink, atol=1e-5, rtol=0)


def test_augmentation_is_fixed_by_the_generator():
    ink, config = cross(128), AugmentConfig()
    first = augment(ink, 64, config, generator(3))
    assert first.shape == (2, 1, 64, 64)
    assert torch.equal(first, augment(ink, 64, config, generator(3)))
    assert not torch.equal(first, augment(ink, 64, config, generator(4)))
    assert not torch.equal(first[0], first[1])  # each image on its own
    assert first.min() >= 0
    assert first.max() <= 1


def test_mirroring_applies_to_the_chosen_images():
    ink = cross()
    mirrored = torch.tensor([True, False])
    out = augment(ink, 64, STILL, generator(), mirrored)
    torch.testing.assert_close(out[0], ink[0].flip(-1), atol=1e-5, rtol=0)
    torch.testing.assert_close(out[1], ink[1], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "field", ["rotate", "scale", "shear", "shift", "elastic", "cutout", "thicken"]
)
def test_every_option_does_something(field):
    value = 10.0 if field == "rotate" else 1.0 if field in ("cutout", "thicken") else 0.1
    config = dataclasses.replace(STILL, **{field: value})
    assert (augment(cross(), 64, config, generator()) - cross()).abs().max() > 0.1


def test_shift_is_a_share_of_the_side():
    config = dataclasses.replace(STILL, shift=0.1)
    ink = torch.zeros(400, 1, 32, 32)
    ink[:, :, 16, 16] = 1
    out = augment(ink, 32, config, generator())
    column = (out.sum((1, 2)) * torch.arange(32)).sum(1) / out.sum((1, 2, 3)).clamp(min=1e-6)
    moved = column[out.sum((1, 2, 3)) > 0.5] - 16
    assert 0.08 < moved.std() / 32 < 0.12


def test_thickening_only_adds_and_cutout_only_removes_ink():
    thick = augment(cross(), 64, dataclasses.replace(STILL, thicken=1), generator())
    assert (thick >= cross() - 1e-5).all()
    cut = augment(cross(), 64, dataclasses.replace(STILL, cutout=1), generator())
    assert (cut <= cross() + 1e-5).all()


def test_source_is_finer_than_the_input_but_no_finer_than_the_files():
    assert [source_size(s) for s in (64, 96, 225, 300)] == [128, 192, 256, 300]
