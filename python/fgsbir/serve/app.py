"""ASGI application: `create_app` puts routes, limits and error responses together."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from .middleware import Guard, refusal
from .routes import Service, router
from .settings import Settings
from .static_files import load_static_files
from .thumbnails import Thumbnails
from .work import Abandoned, Overloaded, WorkQueue

if TYPE_CHECKING:
    from ..gallery import Gallery

log = logging.getLogger("fgsbir.serve")


def create_app(gallery: Gallery, settings: Settings | None = None) -> FastAPI:
    """The page and its API over a gallery, as an ASGI application.

    ``GET /`` is the page, ``POST /api/search`` what it asks; docs/serve.md lists the rest. Every
    error is answered as ``{"error": "one line"}``.
    """
    settings = settings or Settings()
    static = load_static_files()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with ExitStack() as stack:
            folder = settings.thumbnails or _temporary_folder(stack)
            thumbnails = Thumbnails(folder, settings.workers)
            if settings.prepare_thumbnails and folder is not None:
                stack.enter_context(thumbnails.prepared_in_background(gallery))
            queue = WorkQueue(settings.workers, settings.max_waiting)
            app.state.service = Service(gallery, settings, thumbnails, queue, static)
            yield

    # The pages that document an API by themselves load scripts from other hosts.
    app = FastAPI(title="fgsbir", lifespan=lifespan, openapi_url=None)
    app.include_router(router)
    app.add_middleware(Guard, settings=settings)
    for kind, answer in ANSWERS.items():
        app.add_exception_handler(kind, answer)
    return app


def _temporary_folder(stack: ExitStack) -> Path | None:
    """A folder that goes with the stack; None on a machine that nothing can be written on."""
    try:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fgsbir-")))
    except OSError as error:
        log.warning("thumbnails are made anew each time: %s", error)
        return None


def _http_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    answer = refusal(error.status_code, error.detail)
    answer.headers.update(error.headers or {})
    return answer


def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return refusal(422, f"{'.'.join(str(part) for part in first['loc'][1:])}: {first['msg']}")


def _overloaded(_: Request, error: Exception) -> JSONResponse:
    return refusal(503, "too many searches at once", retry_after=1)


def _abandoned(_: Request, error: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it


def _unexpected(_: Request, error: Exception) -> JSONResponse:
    return refusal(500, "internal error")


ANSWERS: dict[type[Exception], Callable[[Request, Exception], Response]] = {
    HTTPException: _http_error,
    RequestValidationError: _invalid,
    Overloaded: _overloaded,
    Abandoned: _abandoned,
    Exception: _unexpected,
}
