"""Refuse what no page of this server sends: other hosts and origins, no token, too much. Every answer gets its headers.

A page elsewhere can make a browser send requests to 127.0.0.1, also under a name that it controls (DNS rebinding).
So the Host must be one of this server's, the Origin of whatever changes something must be this server, and nothing
but a person's own navigation may come from another site.
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

import msgspec
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "coz_explore"
OPEN_PATH = "/healthz"
"""Where no token is asked for: those who start and stop servers know none."""
# Of the one style sheet that OpenSeadragon puts into a page: no ring around the focus where nobody hovers.
_VIEWER_STYLE = "'sha256-9xTiqzfwFaL2SGb1rmr8gysEwVVjIvqWAgmZgqFqpEE='"
_POLICY = "Content-Security-Policy"
HEADERS = {
    _POLICY: "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' blob: data:; "
    f"style-src 'self' {_VIEWER_STYLE}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}

_TOKEN_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="dark light">
<title>Chain-of-Zoom explorer</title>
<link rel="icon" href="data:,">
<main>
<h1>Chain-of-Zoom explorer</h1>
<p>{message}</p>
<form action="/">
<label>Token <input name="token" type="password" autocomplete="current-password" required autofocus></label>
<button>Open</button>
</form>
</main>
</html>
"""


def is_loopback(host: str) -> bool:
    """Whether a server that listens on `host` is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def refusal(status: int, message: str, **headers: str) -> Response:
    """Answer no, with the reason in one line."""
    return JSONResponse({"error": message}, status, headers)


def answer_json(value: Any, status: int = 200) -> Response:
    """Answer with Structs, lists or dicts as JSON."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


class Gate:
    """The ASGI middleware that lets through what may come in."""

    def __init__(
        self, app: ASGIApp, *, host: str, names: Iterable[str] = (), token: str | None = None, frame: str | None = None
    ) -> None:
        """Guard a server that listens on `host`, and is also called by these names.

        token: asked of everybody. frame: the site whose pages may hold the page in a frame, such as
        https://huggingface.co.
        """
        self.app = app
        self.token = token
        self.frame = frame
        self.headers = HEADERS if frame is None else _allow_frame(frame)
        self.is_local = is_loopback(host)
        self.names = {"localhost", host, *names}
        if not self.is_local:
            self.names.add(socket.gethostname())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on; every answer gets HEADERS."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self.headers.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        answer = self._check(scope) or self._check_token(scope)
        handler: Callable[[Scope, Receive, Send], Awaitable[None]] = answer or self.app
        await handler(scope, receive, send_with_headers)

    def _check(self, scope: Scope) -> Response | None:
        """Refuse what comes by another name or from another site; None for what may come in."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_own_name(hosts[0]):
            return refusal(421, "this server is not called that; open it by the address that it printed")
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != hosts[0]:
            return refusal(403, "the request comes from another site")
        site, mode = headers.get("sec-fetch-site", "same-origin"), headers.get("sec-fetch-mode")
        is_visit = mode == "navigate" and scope["method"] == "GET" and scope["path"] == "/"
        if site not in ("same-origin", "none") and not is_visit:
            return refusal(403, "the request comes from another site")
        return None

    def _is_own_name(self, host: str) -> bool:
        """Whether a Host header names this server; addresses are no names that anybody could rebind."""
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        name = name.lower()
        if name in self.names or name.strip("[]") in self.names:
            return True
        try:
            address = ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return address.is_loopback or not self.is_local

    def _check_token(self, scope: Scope) -> Response | None:
        """Refuse whoever has no token; one in the address of the page becomes a cookie that no script can read."""
        if self.token is None or scope["path"] == OPEN_PATH:
            return None
        query = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
        if scope["path"] == "/" and scope["method"] == "GET" and query:
            if not self._is_token(query[0]):
                return self._ask_token(scope, "wrong token; open the address that the server printed")
            site = "Strict" if self.frame is None else "None; Secure; Partitioned"  # a frame counts as another site
            header = f"{COOKIE}={self.token}; HttpOnly; Path=/; SameSite={site}"
            return RedirectResponse("/", 303, {"Set-Cookie": header})
        headers = Headers(scope=scope)
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._is_token(bearer):
            return None
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            cookie = None
        if cookie is None or not self._is_token(cookie.value):
            return self._ask_token(scope, "this server asks for its token; open the address that it printed")
        return None

    def _ask_token(self, scope: Scope, message: str) -> Response:
        """Refuse whoever has no token; a person who opens the page in a browser can type it."""
        if scope["path"] != "/" or "text/html" not in Headers(scope=scope).get("accept", ""):
            return refusal(401, message)
        policy = self.headers[_POLICY].replace("form-action 'none'", "form-action 'self'")
        page = _TOKEN_PAGE.format(message=message.replace("; open", ": type it here, or open").capitalize() + ".")
        return Response(page, 401, {_POLICY: policy}, media_type="text/html")

    def _is_token(self, text: str) -> bool:
        return self.token is not None and hmac.compare_digest(text.encode(), self.token.encode())


def _allow_frame(site: str) -> dict[str, str]:
    """Return the headers of a page that a site may hold in a frame."""
    headers = {name: value for name, value in HEADERS.items() if name != "X-Frame-Options"}
    headers[_POLICY] = HEADERS[_POLICY].replace("frame-ancestors 'none'", f"frame-ancestors {site}")
    return headers
