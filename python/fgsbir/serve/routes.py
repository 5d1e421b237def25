"""Routes of the HTTP API and of the page."""

from __future__ import annotations

import base64
import io
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal, cast

import anyio.to_thread
from fastapi import APIRouter, HTTPException, Path, Query, Request, Response
from PIL import Image

from .schemas import GalleryInfo, PhotoMatch, SearchAnswer, SketchSeen
from .settings import MAX_ATTRIBUTE_WEIGHT, MAX_MATCHES, Settings
from .sketch import read_body, read_sketch_file
from .static_files import StaticFile
from .thumbnails import Thumbnails
from .work import WorkQueue

if TYPE_CHECKING:
    from ..gallery import Gallery, Match
    from ..sketches import SketchReading

FOREVER = "public, max-age=31536000, immutable"
REVALIDATE = "no-cache"
Size = Literal["small", "large"]

log = logging.getLogger("fgsbir.serve")

router = APIRouter()
reading = partial(router.api_route, methods=["GET", "HEAD"])


@dataclass(frozen=True)
class Service:
    """What the endpoints work with; `app.state.service`."""

    gallery: Gallery
    settings: Settings
    thumbnails: Thumbnails
    queue: WorkQueue
    static: Mapping[str, StaticFile]


def service_of(request: Request) -> Service:
    """The service of the application that a request came to."""
    return cast(Service, request.app.state.service)


@reading("/")
async def page(request: Request) -> Response:
    """The page."""
    return _static(request, "index.html")


@reading("/static/{name}")
async def static_file(request: Request, name: str) -> Response:
    """A script, a style sheet, an icon."""
    return _static(request, name)


@reading("/healthz")
def health(request: Request) -> dict[str, str | int]:
    """Whether the server is up, for whoever watches it."""
    return {"status": "ok", "photos": len(service_of(request).gallery)}


@reading("/api/gallery")
def gallery_info(request: Request) -> GalleryInfo:
    """What the page needs to know before the first stroke."""
    service = service_of(request)
    return GalleryInfo(
        name=service.settings.name,
        photos=len(service.gallery),
        attributes=service.gallery.attribute_names,
        attribute_weight=service.settings.attribute_weight,
    )


@router.post("/api/search")
async def search(
    request: Request,
    k: Annotated[int, Query(ge=1, le=MAX_MATCHES)] = 10,
    attribute_weight: Annotated[
        float, Query(ge=0, le=MAX_ATTRIBUTE_WEIGHT, allow_inf_nan=False)
    ] = 0.0,
    must: Annotated[tuple[str, ...], Query()] = (),
    must_not: Annotated[tuple[str, ...], Query()] = (),
) -> SearchAnswer:
    """The photos nearest to the sketch in the body, a PNG, JPEG or WebP file.

    The sketch is read first, as `fgsbir.sketches.read_sketch` says.

    Args:
        k: how many, fewer where the gallery or the demands leave fewer.
        attribute_weight: mu of r = d + mu D.
        must: attributes that the photos have to have, repeated for several.
        must_not: attributes that they must not have.
    """
    service = service_of(request)
    names = service.gallery.attribute_names
    required = _required(names, must, must_not)
    if attribute_weight and not names:
        raise HTTPException(422, "attribute_weight: the gallery's model predicts no attributes")
    with service.queue.place():
        body = await read_body(request, service.settings)
        work = partial(_search, service, body, k, attribute_weight, required)
        return await service.queue.run(work, request.is_disconnected)


@reading("/photos/{index}")
async def photo(
    request: Request,
    index: Annotated[int, Path(ge=0, lt=2**63)],
    v: Annotated[str, Query(max_length=64)] = "",
    size: Size = "small",
) -> Response:
    """A copy of a photo by its number.

    Args:
        index: as in a match.
        v: the version that a match gave, with which a browser may keep the copy for good.
        size: of at most 320 or 960 pixels.
    """
    service = service_of(request)
    return await anyio.to_thread.run_sync(
        partial(_photo, service, index, v, size, request.headers.get("if-none-match"))
    )


def _static(request: Request, name: str) -> Response:
    file = service_of(request).static.get(name)
    if file is None:
        raise HTTPException(404, "not found")
    headers = {"ETag": file.etag, "Cache-Control": REVALIDATE}
    if request.headers.get("if-none-match") == file.etag:
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)


def _photo(service: Service, index: int, v: str, size: Size, known: str | None) -> Response:
    thumbnails = service.thumbnails
    try:
        path = service.gallery.photo_path(index)
    except IndexError as error:
        raise HTTPException(404, f"there is no photo {index}") from error
    try:
        version = thumbnails.version(path)
        etag = f'"{version}-{size}"'
        headers = {"ETag": etag, "Cache-Control": FOREVER if v == version else REVALIDATE}
        if known == etag:
            return Response(status_code=304, headers=headers)
        content = thumbnails.small(path) if size == "small" else thumbnails.large(path)
    except (OSError, ValueError) as error:  # whose message names the file: not for strangers
        log.warning("photo %d: %s", index, error)
        raise HTTPException(404, f"photo {index} can no longer be read") from error
    return Response(content, media_type="image/jpeg", headers=headers)


def _required(
    known: tuple[str, ...], must: tuple[str, ...], must_not: tuple[str, ...]
) -> dict[str, bool]:
    for name, demands in (("must", must), ("must_not", must_not)):
        for attribute in demands:
            if attribute not in known:
                raise HTTPException(422, f"{name}: no attribute is called {attribute[:100]!r}")
    if both := set(must) & set(must_not):
        raise HTTPException(422, f"must, must_not: both name {', '.join(sorted(both))}")
    return dict.fromkeys(must, True) | dict.fromkeys(must_not, False)


def _search(
    service: Service, body: bytes, k: int, attribute_weight: float, required: dict[str, bool]
) -> SearchAnswer:
    start = time.perf_counter()
    sketch = read_sketch_file(body, service.settings)
    gallery = service.gallery
    found = gallery.search(sketch, k, attribute_weight=attribute_weight, required=required)
    return SearchAnswer(
        matches=[_describe(service.thumbnails, match) for match in found],
        sketch=_seen(sketch),
        sketch_attributes=gallery.predicted(sketch),
        seconds=time.perf_counter() - start,
    )


def _seen(sketch: SketchReading) -> SketchSeen:
    if not sketch.changes:
        return SketchSeen(changes=(), image=None)
    file = io.BytesIO()
    Image.fromarray(sketch.image).save(file, "PNG", compress_level=1)
    return SketchSeen(changes=sketch.changes, image=base64.b64encode(file.getvalue()).decode())


def _describe(thumbnails: Thumbnails, match: Match) -> PhotoMatch:
    try:
        version = thumbnails.version(match.path)
    except (OSError, ValueError):  # the page shows that the photo is gone
        version = ""
    return PhotoMatch(
        index=match.index,
        name=match.name,
        copies=len(match.copies),
        photo=f"/photos/{match.index}?v={version}",
        distance=match.distance,
        embedding_distance=match.embedding_distance,
        attribute_distance=match.attribute_distance,
        attributes=match.attributes,
        agree=match.agree,
        differ=match.differ,
    )
