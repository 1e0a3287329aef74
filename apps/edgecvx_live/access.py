"""Who is let in: everyone on this machine, and from beyond it only who holds the token.

On loopback no token is needed; what remains to be kept out there are other web pages open in the same browser. A page
of another site can make the browser connect to 127.0.0.1, even under a name of its own (DNS rebinding), so a request
must be addressed to a name that means this machine, and a WebSocket must come from our own page.

Beyond loopback everything needs the token. It comes with the link once and then lives in a cookie that scripts cannot
read and other sites cannot send. A page reached under a strange name has no such cookie, so any name will do there.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgecvx.errors import UsageError

_TOKEN = re.compile(r"[A-Za-z0-9_-]{12,128}")

HEADERS: Mapping[str, str] = MappingProxyType(
    {
        # Everything comes from here, nothing is written into the page; img-src is for the icon alone.
        "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-resource-policy": "same-origin",
        "cross-origin-opener-policy": "same-origin",
    }
)
"""Sent with every answer, refusals included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a request must bring along.

    Attributes:
        token: The secret, or None where everybody who can connect is welcome.
        names: The names a request may be addressed to; empty where the token makes any name safe.
    """

    token: str | None
    names: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An answer of "no"."""

    status: int
    sentence: str


def access_for(host: str, token: str | None) -> Access:
    """What is asked of visitors of a server on this address.

    Args:
        host: The address the server listens on.
        token: The secret to ask for; without one, a new one is made wherever others could connect.

    Raises:
        UsageError: The token is too short, or has characters that a link cannot carry.
    """
    if token is not None and not _TOKEN.fullmatch(token):
        raise UsageError("a token has 12 to 128 letters, digits, '-' or '_'; leave it out to have one made")
    if token is None and not is_loopback(host):
        token = secrets.token_urlsafe(24)
    if token is not None:
        return Access(token=token, names=frozenset())
    return Access(token=None, names=frozenset({"localhost", "127.0.0.1", "::1", host.lower()}))


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class Guard:
    """Stands before the whole application, pages and WebSockets alike."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or answers it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = _headers(scope)
        refusal = self._strange(scope, headers)
        if refusal is None and self._access.token is not None:
            if self._arrives(scope):
                await _welcome(send, f"{_cookie_name(scope)}={self._access.token}")
                return
            refusal = self._unknown(scope, headers)
        if refusal is not None:
            await _refuse(scope, send, refusal)
            return
        await self._app(scope, receive, _with_headers(send))

    def _strange(self, scope: Scope, headers: Mapping[str, str]) -> Refusal | None:
        """Refuses what no page of ours would send."""
        host = headers.get("host", "")
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            name = None
        if name is None or (self._access.names and name not in self._access.names):
            return Refusal(status=421, sentence="This is not the server of that name.")
        if scope["type"] == "websocket":
            origin = headers.get("origin")  # every browser sends it; other programs act for nobody but themselves
            if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
                return Refusal(status=403, sentence="This connection was asked for by a page of another site.")
        elif headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
            return Refusal(status=413, sentence="Nothing here takes a body.")
        return None

    def _arrives(self, scope: Scope) -> bool:
        """Whether this is the link with the token being opened."""
        if scope["type"] != "http" or scope["method"] != "GET" or scope["path"] != "/":
            return False
        given = parse_qs(scope["query_string"].decode("latin-1"))
        return self._is_token(given.get("token", ()))

    def _unknown(self, scope: Scope, headers: Mapping[str, str]) -> Refusal | None:
        """Refuses who does not show the token."""
        pairs = (pair.strip().partition("=") for pair in headers.get("cookie", "").split(";"))
        shown = [value for name, _, value in pairs if name == _cookie_name(scope)]
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            shown.append(bearer.strip())
        if self._is_token(shown):
            return None
        return Refusal(
            status=401, sentence="Open the link that edgecvx-live printed when it started: it has the token."
        )

    def _is_token(self, shown: Iterable[str]) -> bool:
        expected = str(self._access.token).encode()
        return any(hmac.compare_digest(expected, text.encode("utf-8", "replace")) for text in shown)


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def _cookie_name(scope: Scope) -> str:
    """Cookies do not know ports; this name does, so two servers on one board do not log out each other's viewers."""
    return f"edgecvx-live-{(scope.get('server') or ('', 0))[1]}"


async def _welcome(send: Send, cookie: str) -> None:
    """Keeps the token in a cookie and goes on to the address without it.

    Not by a 303: a browser does not send a strict cookie along a redirect when the link was opened from another site,
    as from web mail. A page that moves on by itself is of this site, and takes the place of the link in the history.
    """
    head = '<!doctype html><html lang="en"><title>edgecvx live</title><link rel="icon" href="/static/parts/icon.svg">'
    body = f'{head}<p><a href="/">Go on to the live page</a></p>'.encode()
    headers = {
        "content-type": "text/html; charset=utf-8",
        "refresh": "0; url=/",
        "set-cookie": f"{cookie}; Path=/; Max-Age=31536000; HttpOnly; SameSite=Strict",
    }
    await _answer(send, "http.response", 200, headers, body)


async def _refuse(scope: Scope, send: Send, refusal: Refusal) -> None:
    headers = {"content-type": "text/plain; charset=utf-8"}
    if refusal.status == 401:
        headers["www-authenticate"] = "Bearer"
    if refusal.status == 413:
        headers["connection"] = "close"
    kind = "websocket.http.response" if scope["type"] == "websocket" else "http.response"
    await _answer(send, kind, refusal.status, headers, f"{refusal.sentence}\n".encode())


async def _answer(send: Send, kind: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
    everything = {**HEADERS, "cache-control": "no-store", "content-length": str(len(body)), **headers}
    pairs = [(name.encode(), value.encode()) for name, value in everything.items()]
    await send({"type": f"{kind}.start", "status": status, "headers": pairs})
    await send({"type": f"{kind}.body", "body": body})


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            own: list[Any] = list(message.get("headers", ()))
            message["headers"] = [*own, *((name.encode(), value.encode()) for name, value in HEADERS.items())]
        await send(message)

    return sending
