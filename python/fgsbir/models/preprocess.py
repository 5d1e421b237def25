"""Preprocessing of sketches and photos to tensors, and their augmentation in batches.

An "ink" image is a float tensor of 1 where it is black and 0 where it is white, so that padding,
shifting and cutting out all fill with background by filling with zeros.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Generator, Tensor

from ..config import AugmentConfig
from ..data.decoding import to_array
from ..data.edges import PhotoEdges
from ..data.images import SIZE, Images
from ..sketches import ReadSketches

PhotosAs = Literal["edges", "colour"]


@dataclass(frozen=True)
class Preprocessing:
    """What a model is given of an image. Its checkpoint says so.

    Attributes:
        size: side of the square input in pixels.
        photos: ``"edges"``, their edge maps, with values of 1 on a line and 0 on white; or
            ``"colour"``, themselves in RGB, with values of 0 for black and 1 for white. Sketches
            have the same values as photos; grey ones the same in all channels.
        mean, std: of the values of each channel: a model computes with (value - mean) / std.
    """

    size: int
    photos: PhotosAs = "edges"
    # Of line images, roughly: centred inputs let a network without normalisation train from scratch
    mean: tuple[float, ...] = (0.05,)
    std: tuple[float, ...] = (0.2,)

    @property
    def channels(self) -> int:
        """How many the input has."""
        return len(self.mean)

    def normalised(self, ink: Tensor) -> Tensor:
        """What the network computes with, of (B, channels, size, size) ink in [0, 1].

        Raises:
            ValueError: for another shape.
        """
        expected = (self.channels, self.size, self.size)
        if ink.shape[1:] != expected:
            shape = ", ".join(map(str, expected))
            raise ValueError(f"ink: expected (B, {shape}), got {tuple(ink.shape)}")
        values = ink if self.photos == "edges" else 1 - ink
        mean, std = (values.new_tensor(of)[:, None, None] for of in (self.mean, self.std))
        return (values - mean) / std

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """The inverse of :meth:`to_dict`.

        Raises:
            ValueError: for what this version does not know.
        """
        try:
            lists = {"mean": tuple(values["mean"]), "std": tuple(values["std"])}
            read = cls(**{**values, **lists})
            numbers = [float(number) for number in (*read.mean, *read.std)]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"preprocessing that this version does not know ({error})") from error
        known = (
            read.photos in get_args(PhotosAs)
            and type(read.size) is int
            and read.size > 0
            and len(read.mean) == len(read.std)
            and all(map(math.isfinite, numbers))
            and all(deviation > 0 for deviation in read.std)
        )
        if not known:
            raise ValueError(f"preprocessing that this version does not know ({read})")
        return read


def to_ink(images: Images, preprocessing: Preprocessing) -> Tensor:
    """Resizes images of any sizes to one (B, channels, size, size) uint8 tensor, ink 255.

    Images are uint8, on white, in grey or in colours; one that is not square is padded with white
    around its middle. Inks are uint8, since a set of them stays in memory for the whole training;
    :func:`as_float` turns a batch of them into what a model takes.
    """
    channels, size = preprocessing.channels, preprocessing.size
    inks = torch.empty((len(images), channels, size, size), dtype=torch.uint8)
    for i in range(len(images)):
        image = np.asarray(images[i])
        if image.ndim == 3 and preprocessing.photos == "edges":
            image = to_array(Image.fromarray(image), mode="L")
        pixels = torch.tensor(image, dtype=torch.float32)
        ink = 255 - (pixels[None, None] if image.ndim == 2 else pixels.permute(2, 0, 1)[None, :3])
        height, width = ink.shape[-2:]
        side = max(height, width)
        left, top = (side - width) // 2, (side - height) // 2
        ink = F.pad(ink, (left, side - width - left, top, side - height - top))
        if side != size:
            # Without anti-aliasing a shrunken thin line breaks into dots.
            ink = F.interpolate(ink, (size, size), mode="bilinear", antialias=True)
        inks[i] = ink[0].round().clamp(0, 255)
    return inks


def sketches_to_ink(sketches: Images, preprocessing: Preprocessing) -> Tensor:
    """Reads sketches and resizes them, as :func:`to_ink` does.

    Raises:
        ValueError: an empty sketch; names it.
    """
    return to_ink(ReadSketches(sketches), preprocessing)


def photos_to_ink(
    photos: Images, preprocessing: Preprocessing, *, edges: Images | None = None
) -> Tensor:
    """Turns photos into what a model sees of them, as :func:`to_ink` does.

    Args:
        photos: uint8 in colours.
        preprocessing: whether their edge maps or themselves, and how large.
        edges: of the photos; None to extract them where they are needed.
    """
    if preprocessing.photos == "colour":
        return to_ink(photos, preprocessing)
    return to_ink(PhotoEdges(photos) if edges is None else edges, preprocessing)


def as_float(inks: Tensor) -> Tensor:
    """(B, C, H, W) uint8 ink to float32 in [0, 1]."""
    return inks.float() / 255


def source_size(size: int) -> int:
    """The side at which to keep images that :func:`augment` samples at `size`.

    A finer source keeps thin lines from being blurred twice, once by each resampling; beyond the
    size of the benchmark's files it would only cost memory.
    """
    return max(size, min(2 * size, SIZE))


def augment(
    inks: Tensor,
    size: int,
    config: AugmentConfig,
    generator: Generator,
    mirrored: Tensor | None = None,
) -> Tensor:
    """Randomly changed copies of a batch, each image on its own.

    Random numbers come from a CPU generator whatever the device, so a seed gives the same images
    everywhere.

    Args:
        inks: (B, C, S, S) float in [0, 1], S as :func:`source_size` says or near it.
        size: side of what comes out.
        config: how much of what.
        generator: a CPU generator; the only source of randomness.
        mirrored: (B,) bool, the images to flip left to right first: the caller draws it, since
            a sketch and its photo have to be flipped together.

    Returns:
        (B, C, size, size) float in [0, 1].
    """
    flow = _flow(len(inks), config, generator, mirrored).to(inks.device)
    flow = F.interpolate(flow, (size, size), mode="bilinear", align_corners=True)
    warped = F.grid_sample(inks, flow.permute(0, 2, 3, 1), align_corners=True)
    thick = _thicken(warped, config.thicken, generator)
    return thick * _cutout_mask(thick, config.cutout, generator)


def _flow(
    count: int, config: AugmentConfig, generator: Generator, mirrored: Tensor | None
) -> Tensor:
    """(B, 2, 17, 17): where control points over the output, corner to corner, lie in the input.

    Affine and elastic parts are added on this coarse grid: at full resolution they would cost
    several times what the sampling itself does.
    """

    def normal(deviation: float, *shape: int) -> Tensor:
        return deviation * torch.randn((count, *shape), generator=generator)

    angle = normal(math.radians(config.rotate))
    cos, sin = angle.cos(), angle.sin()
    rotation = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)
    stretch = torch.diag_embed(normal(config.scale, 2).exp())
    stretch[:, 0, 1] = normal(config.shear)
    matrix = rotation @ stretch
    if mirrored is not None:
        matrix[mirrored.cpu(), 0] *= -1
    # Coordinates run over [-1, 1], so a share of the side is twice that share in units.
    affine = torch.cat([matrix, 2 * normal(config.shift, 2, 1)], -1)
    flow = F.affine_grid(affine, [count, 1, 17, 17], align_corners=True).permute(0, 3, 1, 2)
    bumps = 2 * normal(config.elastic, 2, 5, 5)
    return flow + F.interpolate(bumps, (17, 17), mode="bicubic", align_corners=True)


def _thicken(inks: Tensor, probability: float, generator: Generator) -> Tensor:
    """Blends some images with their dilation by one pixel on each side."""
    chosen = torch.rand(len(inks), generator=generator) < probability
    strength = torch.rand((len(inks), 1, 1, 1), generator=generator)[chosen].to(inks.device)
    some = inks[chosen]
    thick = inks.clone()
    thick[chosen] = some.lerp(F.max_pool2d(some, 3, stride=1, padding=1), strength)
    return thick


def _cutout_mask(inks: Tensor, probability: float, generator: Generator) -> Tensor:
    """(B, 1, H, W): 0 inside one rectangle of 10 to 40% of the side, in some images; else 1."""
    count, _, height, width = inks.shape
    centre, half = torch.rand((2, count, 2, 1), generator=generator)
    half = 0.05 + 0.15 * half
    half *= torch.rand((count, 1, 1), generator=generator) < probability
    rows = (torch.arange(height) + 0.5) / height
    columns = (torch.arange(width) + 0.5) / width
    in_rows = (rows - centre[:, 0]).abs() < half[:, 0]  # (B, H)
    in_columns = (columns - centre[:, 1]).abs() < half[:, 1]  # (B, W)
    hole = in_rows[:, None, :, None] & in_columns[:, None, None, :]
    return (~hole).to(inks)
