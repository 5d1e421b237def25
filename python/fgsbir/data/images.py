"""Images: their interface, views of them, and reading of files as uint8 arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

SIZE = 256
"""Pixels of the square that images are fitted into, as those of the QMUL benchmark are."""

ORIENTATION = 0x0112  # the number of its EXIF tag
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"})


class Images(Protocol):
    """Images of one kind: a stacked array, or anything that hands them out one at a time."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]: ...

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return (self[i] for i in range(len(self)))


def verify_image(path: Path) -> None:
    """Check that ``path`` is an image file that decodes to its end.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not an image that Pillow can read; names the file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        with Image.open(path) as image:
            image.draft("L", (32, 32))  # of a JPEG the coarse part is enough to meet its end
            image.load()
    # Pillow's plugins report damage as OSError, SyntaxError, ValueError, struct.error, ...
    except Exception as error:
        raise ValueError(f"not a readable image: {path} ({error})") from error


def read_image(
    path: Path, *, mode: str | None = "RGB", size: int | None = None
) -> NDArray[np.uint8]:
    """Decode an image file of any mode, upright, on white.

    EXIF orientation is applied, transparency becomes white, 16-bit and float grey values are
    scaled to 8 bits.

    Args:
        path: The file.
        mode: ``"RGB"`` for (H, W, 3), ``"L"`` for (H, W); None for what the file has, then (H, W),
            (H, W, 3) or, with transparency as it is, (H, W, 4).
        size: Fit the whole image into a white square of so many pixels, keeping its proportions;
            None keeps the file's own size.

    Returns:
        uint8.

    Raises:
        ValueError: The file can't be decoded; names the file.
    """
    try:
        with Image.open(path) as image:
            return to_array(image, mode=mode, size=size)
    except Exception as error:
        raise ValueError(f"cannot decode image: {path} ({error})") from error


def to_array(
    image: Image.Image, *, mode: str | None = "RGB", size: int | None = None
) -> NDArray[np.uint8]:
    """What `read_image` gives of an image that is already open; damage raises Pillow's errors."""
    flat = upright(image)
    if mode is not None:
        flat = on_white(flat).convert(mode)
    if size is not None and flat.size != (size, size):
        flat = ImageOps.pad(flat, (size, size), Image.Resampling.LANCZOS, color="white")
    return np.array(flat, dtype=np.uint8)


def upright(image: Image.Image) -> Image.Image:
    """An open image as it is to be looked at: decoded, turned by its EXIF orientation, of 8 bits.

    Returns:
        Mode L, RGB or RGBA; damage raises Pillow's errors.
    """
    turned = ImageOps.exif_transpose(image) if ORIENTATION in image.getexif() else image
    turned.load()
    shown = _to_8_bit(turned)
    if _has_alpha(shown):
        plain = shown.convert("LA") if shown.mode == "La" else shown
        return plain if plain.mode == "RGBA" else plain.convert("RGBA")
    return (
        shown if shown.mode in ("L", "RGB") else shown.convert("L" if shown.mode == "1" else "RGB")
    )


def _to_8_bit(image: Image.Image) -> Image.Image:
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image, dtype=np.float64)
    if image.mode == "F":  # TIFF and the like: [0, 1] by convention, else already [0, 255]
        scale = 255.0 if values.max(initial=0.0) <= 1.0 else 1.0
    else:
        scale = 1.0 if image.mode == "I" and values.max(initial=0.0) <= 255 else 1 / 257
    return Image.fromarray((values * scale).round().clip(0, 255).astype(np.uint8))


def on_white(image: Image.Image) -> Image.Image:
    """The picture on white, in mode RGB, where it is of mode RGBA; else itself."""
    if image.mode != "RGBA":
        return image
    opaque = Image.new("RGB", image.size, "white")
    opaque.paste(image, mask=image.getchannel("A"))
    return opaque


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info


class ImageFiles(Images):
    """Image files, decoded when asked for: see `read_image` for the arguments and errors."""

    def __init__(
        self, paths: Sequence[Path], *, mode: str | None = "RGB", size: int | None = None
    ) -> None:
        self.paths = tuple(paths)
        self.mode = mode
        self.size = size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        return read_image(self.paths[index], mode=self.mode, size=self.size)


class Chosen(Images):
    """Some images of a sequence, in a given order, fetched when asked for."""

    def __init__(self, source: Images, indices: NDArray[np.int64]) -> None:
        self.source = source
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        return self.source[int(self.indices[index])]


class Chained(Images):
    """The images of several sequences, one sequence after the other."""

    def __init__(self, parts: Sequence[Images]) -> None:
        self.parts = tuple(parts)

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        part, place = self.at(index)
        return part[place]

    def at(self, index: int) -> tuple[Images, int]:
        """The sequence that an image is of, and its number there."""
        place = range(len(self))[index]
        for part in self.parts:
            if place < len(part):
                break
            place -= len(part)
        return part, place


class Mirrored(Images):
    """Images flipped left to right."""

    def __init__(self, source: Images) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        return self.source[index][:, ::-1]


def name_of(images: Images, index: int) -> str:
    """What to call an image in an error: its file, where it has one, or its number."""
    if isinstance(images, ImageFiles):
        return str(images.paths[index])
    if isinstance(images, Chosen):
        return name_of(images.source, int(images.indices[index]))
    if isinstance(images, Chained):
        return name_of(*images.at(index))
    return f"image {index}"


def choose(images: Images, indices: NDArray[np.int64]) -> Images:
    """``images[indices]``: a copy of a stacked array, a view of any other sequence."""
    return images[indices] if isinstance(images, np.ndarray) else Chosen(images, indices)
