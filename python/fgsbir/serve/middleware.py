"""Middleware: host, origin, size and rate limits, and security headers."""

from __future__ import annotations

import ipaddress
import math
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .rate_limit import OTHER_COST, SEARCH_COST, TokenBuckets, client_key
from .settings import Settings

HEADERS = {
    "Content-Security-Policy": "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' blob:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Guard:
    """Refuses foreign hosts, foreign origins and clients in a hurry; adds security headers."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.given_hosts = {host.lower() for host in settings.allowed_hosts}
        self.allowed_hosts = {"localhost", *self.given_hosts}
        self.root_path = settings.root_path
        self.buckets = TokenBuckets(settings.searches_per_second, settings.burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        if self.root_path:
            scope = {**scope, "root_path": self.root_path}

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        answer = self._refusal(scope) or self.app
        await answer(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._is_ours(host):
            return refusal(400, f"Host: this server is not called {host[:100]!r}; see --allow-host")
        if scope["method"] not in ("GET", "HEAD") and self._is_foreign(headers, host):
            return refusal(
                403,
                "only the page of this server may do this; behind a proxy have it pass on the Host "
                "header, or name the page's host by --allow-host",
            )
        address = scope["client"][0] if scope.get("client") else ""
        cost = SEARCH_COST if scope["method"] == "POST" else OTHER_COST
        wait = self.buckets.take(client_key(address), cost)
        if wait:
            return refusal(429, "too many requests", retry_after=wait)
        return None

    def _is_ours(self, host: str) -> bool:
        """Whether a Host header names this server.

        An address always does: only a name can be pointed at this machine by a stranger's DNS, to
        make a browser take the stranger's page for ours.
        """
        name = _name_of(host)
        if name in self.allowed_hosts or name.endswith(".localhost"):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _is_foreign(self, headers: Headers, host: str) -> bool:
        """Whether a browser says that another site's page sent this; programs say nothing.

        Sec-Fetch-Site is the browser's own verdict, which a proxy that changes the Host header, as
        nginx does unless it is told otherwise, leaves alone. Browsers send it to where nobody can
        listen; elsewhere the origin has to be a name of this server.
        """
        site = headers.get("sec-fetch-site")
        if site is not None:
            return site not in ("same-origin", "none")
        origin = headers.get("origin")
        # Compared as text, since what a stranger sends need not be an address at all.
        if origin is None or origin.partition("://")[2] == host:
            return False
        return _name_of(origin.partition("://")[2]) not in self.given_hosts


def refusal(status: int, error: str, *, retry_after: float | None = None) -> JSONResponse:
    """An answer that says in one line what is wrong."""
    headers = {} if retry_after is None else {"Retry-After": str(math.ceil(retry_after))}
    return JSONResponse({"error": error}, status, headers)


def _name_of(host: str) -> str:
    """The name or address in a Host header, without the port; empty where there is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
