"""Decoding of image files: metadata, depth, shape, colours and kinds."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from fgsbir.data.decoding import read_image, to_array, verify_image
from fgsbir.data.without_metadata import without_metadata

RED = (200, 40, 40)


def photo(size: tuple[int, int] = (24, 16)) -> Image.Image:
    """Red, with a black mark at the top left."""
    image = Image.new("RGB", size, RED)
    image.paste((0, 0, 0), (0, 0, size[0] // 3, size[1] // 3))
    return image


def chunk(name: bytes, content: bytes, checksum: int | None = None) -> bytes:
    """A chunk of PNG, with a wrong checksum if told so."""
    right = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(
        ">I", right if checksum is None else checksum
    )  # fmt: skip


def png_with(*chunks: bytes, last: bool = False) -> bytes:
    """The photo as PNG with chunks before its pixels, or behind them."""
    file = io.BytesIO()
    photo().save(file, "PNG")
    content = file.getvalue()
    at = content.index(b"IEND" if last else b"IDAT") - 4
    return content[:at] + b"".join(chunks) + content[at:]


def jpeg_with(*segments: tuple[int, bytes]) -> bytes:
    """The photo as JPEG with segments before all others."""
    file = io.BytesIO()
    photo().save(file, "JPEG", quality=95)
    content = file.getvalue()
    inserted = [struct.pack(">HH", 0xFF00 | m, len(c) + 2) + c for m, c in segments]
    return content[:2] + b"".join(inserted) + content[2:]


def webp_with(rest: bytes) -> bytes:
    """The photo as WebP that says it has EXIF, with something behind its pixels."""
    content = saved("WEBP", lossless=True, exif=JUNK)
    content = content[: content.index(b"EXIF")] + rest
    return content[:4] + struct.pack("<I", len(content) - 8) + content[8:]


def saved(kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    photo().save(file, kind, **options)
    return file.getvalue()


JUNK = b"Exif\0\0b'junk"
TEXT = zlib.compress(b"x" * 3_000_000)
METADATA: dict[str, Callable[[], bytes]] = {
    "junk EXIF in JPEG": lambda: saved("JPEG", quality=95, exif=JUNK),
    "junk EXIF in JPEG with its density": lambda: saved(
        "JPEG", quality=95, exif=JUNK, dpi=(72, 72)
    ),
    "junk EXIF in PNG": lambda: png_with(chunk(b"eXIf", b"b'junk")),
    "EXIF of PNG whose checksum is wrong": lambda: png_with(chunk(b"eXIf", b"II*\0", 1)),
    "junk EXIF in WebP": lambda: saved("WEBP", lossless=True, exif=JUNK),
    "EXIF that is cut off": lambda: saved(
        "JPEG", quality=95, exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff"
    ),
    "previews of JPEG that are not there": lambda: jpeg_with((0xE2, b"MPF\0II*\0\x09\0\0\0junk")),
    "a profile of JPEG that is cut off": lambda: jpeg_with((0xE2, b"ICC_PROFILE\0")),
    "Photoshop's part of JPEG": lambda: jpeg_with((0xED, b"Photoshop 3.0\x008BIM\xff")),
    "a huge text in PNG": lambda: png_with(chunk(b"zTXt", b"parameters\0\0" + TEXT)),
    "a huge text behind the pixels": lambda: png_with(
        chunk(b"zTXt", b"parameters\0\0" + TEXT), last=True
    ),
    "many huge texts": lambda: png_with(
        *(chunk(b"zTXt", b"%d\0\0" % i + zlib.compress(b"x" * 1_000_000)) for i in range(70))
    ),
    "a huge international text": lambda: png_with(
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + TEXT)
    ),
    "a huge profile": lambda: png_with(chunk(b"iCCP", b"profile\0\0" + TEXT)),
    "a profile that is packed in no known way": lambda: png_with(chunk(b"iCCP", b"profile\0\7x")),
    "a text whose checksum is wrong": lambda: png_with(chunk(b"tEXt", b"a\0b", 1)),
    "a transparency of the wrong length": lambda: png_with(chunk(b"tRNS", b"\0")),
    "an Adobe part of JPEG that is too short": lambda: jpeg_with((0xEE, b"Adobe")),
    "a JFIF part of JPEG that is too short": lambda: jpeg_with((0xE0, b"JFIF\0")),
    "EXIF of WebP that is cut off": lambda: webp_with(b"EXIF\xff\xff\0\0II*\0"),
    "a chunk of WebP whose length is wrong": lambda: webp_with(b"XMP \x02\0\0\0<x:xmpmeta"),
    "a density that is too short": lambda: png_with(chunk(b"pHYs", b"\0")),
}


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("name", METADATA)
def test_metadata_never_decides_whether_pixels_are_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / "photo"
    path.write_bytes(METADATA[name]())
    verify_image(path)
    read = read_image(path)
    assert read.shape == (16, 24, 3)
    assert np.abs(read.astype(int) - np.asarray(photo())).mean() < 8


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_camera_orientation_is_applied(kind: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    try:
        content = saved(kind, exif=exif.tobytes())
    except (KeyError, OSError):
        pytest.skip(f"this Pillow writes no {kind}")
    (tmp_path / "turned").write_bytes(content)
    upright = read_image(tmp_path / "turned", mode="L")
    assert upright.shape == (24, 16)
    assert upright[1, 14] < 40  # the mark, from the top left
    assert upright[1, 1] > 60


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_orientation_is_kept_where_other_metadata_are_damaged(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "turned.jpg").write_bytes(
        jpeg_with((0xE1, exif.tobytes()), (0xE2, b"MPF\0II*\0\x09\0\0\0junk"))
    )
    (tmp_path / "turned.png").write_bytes(
        png_with(chunk(b"eXIf", exif.tobytes()[6:]), chunk(b"tEXt", b"a\0b", 1))
    )
    for name in ("turned.jpg", "turned.png"):
        assert read_image(tmp_path / name).shape == (24, 16, 3)


@pytest.mark.parametrize("value", [0, 9, 255])
def test_an_orientation_that_there_is_not_turns_nothing(value: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    photo().save(tmp_path / "odd.jpg", exif=exif)
    assert read_image(tmp_path / "odd.jpg").shape == (16, 24, 3)


def test_only_metadata_are_left_out() -> None:
    for kind in ("JPEG", "PNG", "WEBP"):
        described = saved(kind, exif=JUNK)
        plain = list(without_metadata(described))
        assert plain
        assert b"junk" not in plain[-1]
        for content in plain:
            with Image.open(io.BytesIO(content)) as image:
                again = np.asarray(image)
            with Image.open(io.BytesIO(described)) as image:
                assert np.array_equal(again, np.asarray(image))
    assert not list(without_metadata(plain[-1]))  # there is nothing more to leave out
    assert not list(without_metadata(saved("GIF")))
    assert not list(without_metadata(b"\xff\xd8\xff\xe0"))
    assert not list(without_metadata(b"\x89PNG\r\n\x1a\n\0\0"))
    assert not list(without_metadata(b"\xff\xd8" + bytes(1 << 24)))  # quickly, too


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_what_is_cut_off_is_refused_by_both(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "photo"
    content = saved(kind)
    path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(ValueError, match=r"not a readable image: .*photo"):
        verify_image(path)
    with pytest.raises(ValueError, match=r"cannot decode image: .*photo"):
        read_image(path)


@pytest.mark.parametrize("size", [(1200, 2), (2, 1200), (3000, 1), (1, 1), (513, 1)])
@pytest.mark.parametrize("side", [224, 256])
def test_narrow_images_leave_a_line(size: tuple[int, int], side: int, tmp_path: Path) -> None:
    Image.new("L", size, 0).save(tmp_path / "narrow.png")
    read = read_image(tmp_path / "narrow.png", mode="L", size=side)
    assert read.shape == (side, side)
    dark = read < 128
    assert dark.any(axis=0 if size[0] >= size[1] else 1).all()
    assert np.argwhere(dark).mean(0) == pytest.approx((side - 1) / 2, abs=1)


def grey(path: Path) -> NDArray[np.uint8]:
    return read_image(path, mode="L").ravel()


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("kind", ["png", "tif"])
def test_greys_of_any_depth_have_their_own_range(bits: int, kind: str, tmp_path: Path) -> None:
    ramp = np.linspace(0, 2**bits - 1, 256).astype(np.uint16).reshape(16, 16)
    Image.fromarray(ramp).save(tmp_path / f"deep.{kind}")
    assert np.abs(grey(tmp_path / f"deep.{kind}").astype(int) - np.arange(256)).max() <= 1


def test_whole_numbers_of_32_bits(tmp_path: Path) -> None:
    ramp = np.linspace(0, 2**20, 256).astype(np.int32).reshape(16, 16)
    Image.fromarray(ramp).save(tmp_path / "deep.tif")
    assert np.abs(grey(tmp_path / "deep.tif").astype(int) - np.arange(256)).max() <= 1
    Image.fromarray(ramp - 2**19).save(tmp_path / "signed.tif")
    assert np.abs(grey(tmp_path / "signed.tif").astype(int) - np.arange(256)).max() <= 1


@pytest.mark.parametrize("top", [1.0, 1.02, 255.0, 256.3, 4095.0, 65535.0])
def test_real_numbers_are_scaled(top: float, tmp_path: Path) -> None:
    ramp = np.linspace(0, top, 256).astype(np.float32).reshape(16, 16)
    Image.fromarray(ramp).save(tmp_path / "float.tif")
    read = grey(tmp_path / "float.tif").astype(int)
    assert np.abs(read - np.arange(256)).max() <= 6
    assert np.all(np.diff(read) >= 0)


@pytest.mark.parametrize("top", [1.3, 2.0, 5.0])
def test_real_numbers_beyond_1_are_white(top: float, tmp_path: Path) -> None:
    """A few lights brighter than white, as pictures of a high range have them."""
    ramp = np.linspace(0, 1, 256).astype(np.float32).reshape(16, 16)
    ramp[15, 12:] = top
    Image.fromarray(ramp).save(tmp_path / "float.tif")
    assert np.abs(grey(tmp_path / "float.tif").astype(int)[:252] - np.arange(252)).max() <= 1


def test_a_bitmap_of_two_bytes_a_pixel_is_as_it_is(tmp_path: Path) -> None:
    header = struct.pack("<IiiHHIIiiII", 40, 4, 1, 1, 16, 3, 8, 0, 0, 0, 0)
    masks = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    pixels = struct.pack("<4H", 0x2104, 0x2104, 0, 0x1082)
    size = 14 + len(header) + len(masks)
    start = b"BM" + struct.pack("<IHHI", size + len(pixels), 0, 0, size)
    (tmp_path / "565.bmp").write_bytes(start + header + masks + pixels)
    assert read_image(tmp_path / "565.bmp").max() < 60


def test_what_is_no_number_is_white(tmp_path: Path) -> None:
    values = np.zeros((4, 4), dtype=np.float32)
    values[0] = np.nan, np.inf, -np.inf, 1.0
    values[1, 0] = 0.5
    Image.fromarray(values).save(tmp_path / "float.tif")
    assert grey(tmp_path / "float.tif")[:5].tolist() == [255, 255, 0, 255, 128]
    Image.fromarray(np.full((4, 4), np.nan, dtype=np.float32)).save(tmp_path / "none.tif")
    assert set(grey(tmp_path / "none.tif")) == {255}


def png_of_16_bits(path: Path, factor: int) -> Path:
    """The photo with two bytes a channel, its values times a factor."""
    colours = (np.asarray(photo()).astype(np.uint16) * factor).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in colours)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 24, 16, 16, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b""))
    return path


def test_colours_of_12_bits_in_16_are_not_black(tmp_path: Path) -> None:
    """Pillow reads the upper 8 of 16 bits, of which 4 are left."""
    read = read_image(png_of_16_bits(tmp_path / "deep.png", 16)).astype(int)
    assert np.abs(read - np.asarray(photo())).max() <= 17


def test_colours_of_16_bits_are_as_they_are(tmp_path: Path) -> None:
    read = read_image(png_of_16_bits(tmp_path / "deep.png", 257))
    assert np.array_equal(read, np.asarray(photo()))


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr",
             "HSV", "LAB", "I", "I;16", "F"]
)  # fmt: skip
def test_every_mode_is_read(mode: str, tmp_path: Path) -> None:
    if mode == "LAB":
        lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        image = ImageCms.profileToProfile(photo(), rgb, lab, outputMode="LAB")
    elif mode in ("PA", "La", "RGBa"):
        image = photo().convert({"PA": "P", "La": "LA", "RGBa": "RGBA"}[mode]).convert(mode)
    elif mode == "I;16":
        image = Image.fromarray(np.asarray(photo().convert("L")).astype(np.uint16) * 257)
    elif mode == "F":
        image = Image.fromarray(np.asarray(photo().convert("L")) / np.float32(255))
    else:
        image = (photo().convert("L") if mode in ("1", "I") else photo()).convert(mode)
    read = to_array(image).astype(int)
    assert read.shape == (16, 24, 3)
    in_colour = mode not in ("1", "L", "LA", "La", "I", "I;16", "F")
    expected = np.asarray(photo() if in_colour else photo().convert("L").convert("RGB"))
    dithered = {"1": 128, "P": 16, "PA": 16}
    assert np.abs(read - expected).mean() < dithered.get(mode, 6)


@pytest.mark.parametrize("kind", ["JPEG2000", "WEBP", "AVIF", "TGA", "PPM", "ICO", "PCX", "SGI"])
def test_kinds_that_pillow_reads_are_read(kind: str, tmp_path: Path) -> None:
    try:
        content = saved(kind)
    except (KeyError, OSError):
        pytest.skip(f"this Pillow writes no {kind}")
    suffix = {"JPEG2000": "jp2", "TGA": "tga", "ICO": "ico"}.get(kind, kind.lower())
    path = tmp_path / f"photo.{suffix}"
    path.write_bytes(content)
    verify_image(path)
    assert read_image(path).ndim == 3


def test_transparency_becomes_white(tmp_path: Path) -> None:
    rgba = np.zeros((4, 4, 4), dtype=np.uint8)
    rgba[0, 0] = (10, 20, 30, 255)
    rgba[1, 1] = (0, 0, 0, 128)
    Image.fromarray(rgba).save(tmp_path / "clear.png")
    image = read_image(tmp_path / "clear.png")
    assert image[0, 0].tolist() == [10, 20, 30]
    assert image[3, 3].tolist() == [255, 255, 255]
    assert abs(int(image[1, 1, 0]) - 127) <= 1
    palette = Image.fromarray(rgba[..., 3]).convert("P")
    palette.save(tmp_path / "palette.gif", transparency=palette.getpixel((3, 3)))
    assert read_image(tmp_path / "palette.gif", mode="L")[3, 3] == 255


def test_bilevel_and_print_colours_are_read(tmp_path: Path) -> None:
    Image.fromarray(np.arange(256).reshape(16, 16) > 100).save(tmp_path / "bits.png")
    assert set(np.unique(read_image(tmp_path / "bits.png"))) == {0, 255}
    Image.new("CMYK", (4, 4), (0, 255, 255, 0)).save(tmp_path / "print.jpg")
    assert read_image(tmp_path / "print.jpg")[0, 0].argmax() == 0
