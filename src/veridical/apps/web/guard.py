"""Who may speak to the web app: requests for this host, from its own page, with the token of this
start. All answers carry a content policy under which a page loads nothing from anywhere else.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self' data:; frame-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""NiiVue draws its letters from a picture in a data URI."""
REPORT_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'; sandbox allow-popups"
)
"""Of reports, whose pages allow their own style alone: nothing in them runs."""
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
    "content-security-policy": POLICY,
}
SAFE = ("GET", "HEAD")
REFUSED = {
    401: "This page needs the token of this start. Open the address that veridical web printed.",
    403: "This request came from another page or for another host. Open the address that "
    "veridical web printed.",
}

WELCOME = '<!doctype html><title>Veridical</title><meta http-equiv="refresh" content="0; url=/">'
"""Takes the token out of the address. A redirect would not do: after a click in another page it
still counts as coming from there, and gets no cookie.
"""


class Guard:
    """An application behind checks of host, origin and token.

    Args:
        app: the application.
        token: of this start.
        port: that it listens on.
    """

    def __init__(self, app: App, token: str, port: int) -> None:
        self.app, self.token, self.port = app, token, port
        self.hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}
        self.cookie = f"veridical-{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers = {key.decode("latin-1").lower(): value.decode("latin-1")
                   for key, value in scope["headers"]}  # fmt: skip
        if not self._at_home(scope, headers):
            await _answer(send, 403)
        elif self._opens(scope):
            await _answer(send, 200, self._welcome(), WELCOME)
        elif not self._known(headers):
            await _answer(send, 401)
        else:
            await self.app(scope, receive, _with_headers(send))

    def _at_home(self, scope: Scope, headers: dict[str, str]) -> bool:
        """Say whether a request is for this host and from its own page."""
        if headers.get("host", "") not in self.hosts:
            return False
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin is not None and origin not in {f"http://{host}" for host in self.hosts}:
            return False
        usual = ("same-origin", "none") if scope["method"] in SAFE else ("same-origin",)
        return site is None or site in usual or self._opens(scope)

    def _opens(self, scope: Scope) -> bool:
        """Say whether this is the address that was printed, with the token."""
        given = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])
        return scope["path"] == "/" and scope["method"] in SAFE and self._same(given[0])

    def _known(self, headers: dict[str, str]) -> bool:
        """Say whether a request carries the token, as a cookie or as `Authorization: Bearer`."""
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            cookie = None
        return self._same(bearer) or (cookie is not None and self._same(cookie.value))

    def _same(self, given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "replace"), self.token.encode())

    def _welcome(self) -> list[tuple[bytes, bytes]]:
        """Return the headers that keep the token as a cookie."""
        cookie = f"{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Strict"
        return [(b"set-cookie", cookie.encode())]


async def _answer(
    send: Send, status: int, more: Iterable[tuple[bytes, bytes]] = (), page: str = ""
) -> None:
    text = (page or REFUSED[status]).encode()
    fixed = [(key.encode(), value.encode()) for key, value in HEADERS.items()]
    kind = b"text/html; charset=utf-8" if page else b"text/plain; charset=utf-8"
    headers = [*fixed, (b"content-type", kind), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})


def _with_headers(send: Send) -> Send:
    """Add the fixed headers to an answer; those that it has itself stay."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            has = {key.lower() for key, _ in message.get("headers", [])}
            fixed = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in has]
            message["headers"] = [*message.get("headers", []), *fixed]
        await send(message)

    return sending
