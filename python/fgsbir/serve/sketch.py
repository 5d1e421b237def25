"""Safe decoding of a sketch from the body of a request."""

from __future__ import annotations

import re
import warnings

import anyio
from fastapi import HTTPException, Request
from PIL import Image, UnidentifiedImageError
from starlette.requests import ClientDisconnect

from ..data.decoding import decode
from ..data.without_metadata import has_too_many_parts
from ..sketches import EmptySketchError, SketchReading, read_sketch
from ..sketches.picture import SVG_REFUSED, is_svg, open_sketch
from .settings import Settings

FORMATS = ("PNG", "JPEG", "WEBP")
MAX_SCANS = 64  # of a progressive JPEG, each of which unpacks the whole picture; cameras make ten
CLOSE = {"Connection": "close"}  # where the rest of a body is not worth waiting for


async def read_body(request: Request, settings: Settings) -> bytes:
    """The body of a request, within limits of size and time.

    Raises:
        HTTPException: 413 too large, 408 too slow, 400 cut off.
    """
    declared = request.headers.get("content-length", "")
    limit = settings.max_body_bytes
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(limit)
    body = bytearray()
    try:
        with anyio.fail_after(settings.body_timeout):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise _too_large(limit)
    except TimeoutError as error:
        raise HTTPException(408, "the sketch took too long to arrive", CLOSE) from error
    except ClientDisconnect as error:
        raise HTTPException(400, "the sketch was cut off") from error
    return bytes(body)


def read_sketch_file(body: bytes, settings: Settings) -> SketchReading:
    """Reads the file of a sketch, its first frame where it has several.

    The header alone says how large the picture is, so a decompression bomb is never unpacked.

    Raises:
        HTTPException: 400 no body, 415 no PNG, JPEG or WebP, 413 too many pixels, 422 damaged or
            nothing drawn.
    """
    if not body:
        raise HTTPException(400, "the body is empty; send the sketch as PNG, JPEG or WebP")
    if body.startswith(b"\xff\xd8") and body.count(b"\xff\xda") > MAX_SCANS:
        raise HTTPException(422, f"the picture has more than {MAX_SCANS} scans")

    if has_too_many_parts(body):
        raise HTTPException(422, "the picture has too many segments")

    def decoded(image: Image.Image) -> Image.Image:
        if image.width * image.height > settings.max_pixels:
            raise Image.DecompressionBombError(f"; this one has {image.width} x {image.height}")
        return open_sketch(image)

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our limit is lower
            picture = decode(body, decoded, formats=FORMATS)
    except Image.DecompressionBombError as error:
        size = str(error) if str(error).startswith("; ") else ""
        raise HTTPException(413, _too_many_pixels(settings) + size) from error
    except UnidentifiedImageError as error:
        if is_svg(body):
            raise HTTPException(415, SVG_REFUSED) from error
        came = f"{_kind_of(body)} came, " if _kind_of(body) else ""
        raise HTTPException(
            415,
            f"{came}not a picture in {', '.join(FORMATS)}; send the file itself as the body, as "
            "curl --data-binary @sketch.png does",
        ) from error
    except Exception as error:  # plugins report damage as SyntaxError, struct.error, ...
        raise HTTPException(422, "the picture cannot be decoded") from error
    try:
        return read_sketch(picture)
    except EmptySketchError as error:
        raise HTTPException(422, str(error)) from error


def _kind_of(body: bytes) -> str:
    """What came in place of a picture, where that is a usual mistake."""
    start = body[:200].lstrip()
    is_multipart = start.startswith(b"--") and b"content-disposition" in body[:1000].lower()
    if is_multipart or re.match(rb"[\w.%-]+=", start):
        return "a form"
    if start.startswith(b"data:"):
        return "a data URL"
    if start.startswith((b"iVBORw0KGgo", b"/9j/", b"UklGR")):
        return "base 64"
    return "JSON" if start.startswith((b"{", b"[", b'"')) else ""


def _too_large(limit: int) -> HTTPException:
    return HTTPException(413, f"the sketch's file has more than {limit / 1e6:.1f} MB", CLOSE)


def _too_many_pixels(settings: Settings) -> str:
    return f"the sketch has more than {settings.max_pixels / 1e6:.1f} megapixels"
