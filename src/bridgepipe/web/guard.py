"""What is checked of every request before a route is reached, and the headers of every answer."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bridgepipe.web.refusals import FORBIDDEN, Refused

SHOWN = 100  # characters of a header in a message
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


class Guard:
    """Requests of other pages are refused, and of this page under a name that is not its own.

    A page elsewhere can let its own name point to this machine (DNS rebinding); then the browser sends that
    name as the host. Addresses in numbers cannot be pointed elsewhere.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        self._app, self._host = app, host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        line = self._wrong(scope["path"], Headers(scope=scope))
        answer: Callable[..., Awaitable[None]] = self._app
        if line is not None:
            answer = JSONResponse({"error": str(line)}, status_code=FORBIDDEN)
        await answer(scope, receive, secured)

    def _wrong(self, path: str, headers: Headers) -> Refused | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if not is_own(host, self._host):
            return Refused(FORBIDDEN, "not a name of this page", host[:SHOWN], f"open it as {self._host}")
        if origin is not None and origin.partition("://")[2] != host:
            return Refused(FORBIDDEN, "a request of another page", origin[:SHOWN], "open this page itself")
        if path != "/" and headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return Refused(FORBIDDEN, "a request of another page", "page", "open this page itself")
        return None


def is_own(host: str, bound: str) -> bool:
    """Whether a request names this machine as its host, of a page that is bound to a name or an address."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    local = is_local(bound)
    try:
        return ipaddress.ip_address(name).is_loopback or not local
    except ValueError:
        return name == "localhost" or (not local and name in {bound.lower(), socket.gethostname().lower()})


def is_local(host: str) -> bool:
    """Whether nothing but this machine reaches what is bound to a host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
