"""Server process: uvicorn, its socket, limits on connections, and shutdown."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from .app import create_app
from .settings import Settings

if TYPE_CHECKING:
    from ..gallery import Gallery

MAX_CONNECTIONS = 1000  # a browser holds up to six
SECONDS_OF_SILENCE = 30  # from one request of a connection to the next, or to take its answer
SECONDS_TO_FINISH = 5  # for the answers that are under way when the server is told to stop


class Connection(H11Protocol):
    """HTTP/1.1 that ends connections on which nothing happens.

    uvicorn lets a client take as long as it likes to ask, and to receive the answer: a thousand
    silent connections would keep everybody else out.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, error: Exception | None) -> None:
        self._watching.cancel()
        super().connection_lost(error)

    def _watch(self) -> None:
        self._watching = self.loop.call_later(SECONDS_OF_SILENCE, self._end_if_stuck, self.cycle)

    def _end_if_stuck(self, request: object) -> None:
        """Called with the request that the connection was busy with when it was last looked at."""
        at_work = self.cycle is not None and not self.cycle.response_complete
        waits_for_client = not at_work or self.transport.get_write_buffer_size() > 0
        if waits_for_client and self.cycle is request:
            self.transport.abort()
        else:
            self._watch()


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes any that is free.

    Raises:
        OSError: The address is taken, or is not this machine's; names it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=1024)
    except (OSError, OverflowError) as error:
        errno = getattr(error, "errno", None) or 0
        reason = os.strerror(errno) if errno > 0 else error  # negative: the name is unknown
        raise OSError(f"cannot listen on {host} port {port}: {reason}") from error
    # Connections inherit it. asyncio sets it only on sockets that name their protocol, and without
    # it the second packet of every answer waits 40 ms for an acknowledgement.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def stop_quietly() -> None:
    """From now on SIGINT and SIGTERM end the process with exit code 0, at any moment of its life.

    uvicorn puts its own handlers over these while it runs, finishes what is under way, and then
    hands the signal on to these.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        print(f"Ended by {signal.Signals(number).name}.", flush=True)
        sys.exit(0)

    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, stop)


def serve(
    gallery: Gallery,
    listening: socket.socket,
    settings: Settings | None = None,
    *,
    trusted_proxy: str | None = None,
) -> None:
    """Serves until SIGINT or SIGTERM.

    Args:
        gallery: what to search.
        listening: from `bind`.
        settings: of the application.
        trusted_proxy: address of a reverse proxy whose word on the client's address is taken;
            without it ``X-Forwarded-For`` is ignored, since anybody can send one.
    """
    config = uvicorn.Config(
        create_app(gallery, settings),
        log_level="warning",
        access_log=False,
        http=Connection,
        ws="none",
        server_header=False,
        proxy_headers=trusted_proxy is not None,
        forwarded_allow_ips=trusted_proxy,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=SECONDS_TO_FINISH,
    )
    uvicorn.Server(config).run(sockets=[listening])
