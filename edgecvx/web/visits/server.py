"""The page and its files over HTTP, and the few requests by which a page talks to whoever invited it.

Static files are the same everywhere and public. Everything else wants the token of the link: which models and pictures
are here, what is asked, what is said. Whatever comes is held to a size before it is read.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import re
import secrets
import socket
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from edgecvx.errors import EdgecvxError, UsageError
from edgecvx.results.untrusted import plain
from edgecvx.web.files import site_files
from edgecvx.web.visits.browsers import read_browser
from edgecvx.web.visits.invitation import Invitation, link_to
from edgecvx.web.visits.places import STATES, Place, Places, Refused, State, Visit

ISOLATION = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
"""With these two a browser lets a page share memory between threads, and gives it a finer clock; over plain http beyond
loopback it heeds neither, and complains."""
HEADERS = {
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
POLL = 20.0
"""Seconds that a page is left waiting for something to do before it asks again."""
_COOKIE = "edgecvx-browser"
_KEPT = re.compile(r"[A-Za-z0-9_-]{16,64}")
_YEAR = 365 * 86_400
_TOLD = 1 << 14
"""Bytes of what a browser tells of itself."""
_MOST_CONNECTIONS = 128
_QUIET = 30.0
"""Seconds of a connection without a byte."""
_MOST_COMPLAINTS = 5
"""Of strangers without the token: a terminal is not theirs to fill."""
_GOODBYE = 2.0


@dataclass(slots=True, kw_only=True)
class Desk:
    """What the requests are answered from."""

    token: str
    places: Places
    files: Mapping[str, bytes]
    invitation: Invitation
    purpose: str
    """What the page is opened for: ``bench`` or ``validate``."""
    complaints: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def is_token(self, given: str) -> bool:
        """Compared in a time that tells nothing of where they differ."""
        return hmac.compare_digest(self.token.encode(), given.encode("utf-8", "replace"))

    def complain(self, address: str) -> None:
        """Tells the terminal of a visitor without the token."""
        with self.lock:
            self.complaints += 1
            if self.complaints <= _MOST_COMPLAINTS:
                last = "; further ones are not told" if self.complaints == _MOST_COMPLAINTS else ""
                self.invitation.tell(f"{plain(address)} came without the token of the link and was sent away{last}")


@contextlib.contextmanager
def opened(invitation: Invitation, names: list[str], purpose: str) -> Iterator[tuple[Place, ...]]:
    """Serves the page until the block ends, and shows the link.

    Args:
        invitation: Where, and who shows it.
        names: What the places are called; as many browsers can come.
        purpose: ``bench`` or ``validate``.

    Raises:
        UsageError: This machine has no such address.
    """
    desk = Desk(
        token=secrets.token_urlsafe(24),
        places=Places(names, invitation.tell),
        files=site_files(),
        invitation=invitation,
        purpose=purpose,
    )
    try:
        server = _Server(invitation, desk)
    except OSError as error:
        raise UsageError(
            f"--host {invitation.host} does not work: {error.strerror or error}; it is an address of this machine"
        ) from error
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        invitation.show_link(link_to(invitation.host, server.server_port, desk.token))
        yield desk.places.all
    finally:
        for place in desk.places.all:
            place.close("This has ended at the computer.")
        for place in desk.places.all:  # whoever is gone hears nothing
            if place.visit is not None and place.visit.silent < POLL + _GOODBYE:
                place.visit.wait_for_end(_GOODBYE)
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    """A thread for each connection, and not more of them than a few dozen pages need."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, invitation: Invitation, desk: Desk) -> None:
        self.desk = desk
        self._connections = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        self.address_family = socket.AF_INET6 if ":" in invitation.host else socket.AF_INET
        super().__init__((invitation.host, invitation.port), _Handler)

    def server_bind(self) -> None:
        """As the base does it, but without asking a name server who this machine is."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Starts the thread of a connection, or closes it where there are too many."""
        if self._connections.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """In the thread of the connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is told where it matters: as a page that fell silent."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "edgecvx", ""
    timeout = _QUIET
    server: _Server

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the terminal belongs to what is measured."""

    def _answer(self, method: str) -> None:
        address = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(address.query))
        name = urllib.parse.unquote(address.path).removeprefix("/")
        try:
            if not name.startswith("device/"):
                self._static(name or "index.html", method)
                return
            self._check_token()
            handler = getattr(self, f"_{method.lower()}_{name.removeprefix('device/')}", None)
            if handler is None:
                raise Refused("there is nothing of this name", status=404)
            handler(query)
        except Refused as refused:
            self.close_connection = True  # a body may not have been read
            self._send(refused.status, json.dumps({"sentence": str(refused)}).encode(), ".json")
        except OSError:
            self.close_connection = True

    def _check_token(self) -> None:
        scheme, _, given = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not self.server.desk.is_token(given.strip()):
            self.server.desk.complain(str(self.client_address[0]))
            raise Refused("this link is not valid (any more): open the one that edgecvx shows now", status=403)

    # What everybody may read.

    def _static(self, name: str, method: str) -> None:
        content = self.server.desk.files.get(name) if method == "GET" else None
        if content is None:
            raise Refused("there is nothing of this name", status=404)
        self._send(HTTPStatus.OK, content, Path(name).suffix)

    # What a page with the token may ask: its method and the last part of the address.

    def _post_join(self, _: Mapping[str, str]) -> None:
        kept = self._kept()
        try:
            browser = read_browser(json.loads(self._body(_TOLD)))
        except (EdgecvxError, ValueError, RecursionError) as error:
            raise Refused(plain(str(error)), status=400) from None
        fresh = kept or secrets.token_urlsafe(18)
        place, visit = self.server.desk.places.join(browser, fresh)
        answer = {
            "place": place.name,
            "visit": visit.key,
            "purpose": self.server.desk.purpose,
            "lifeline_seconds": self.server.desk.invitation.lifeline_seconds,
        }
        cookie = f"{_COOKIE}={fresh}; Path=/; Max-Age={_YEAR}; HttpOnly; SameSite=Strict"
        self._send(HTTPStatus.OK, json.dumps(answer).encode(), ".json", {"Set-Cookie": cookie})

    def _get_asked(self, query: Mapping[str, str]) -> None:
        document = self._visit(query).asked(POLL)
        if document is None:
            self._send(HTTPStatus.NO_CONTENT, b"", ".json")
        else:
            self._send(HTTPStatus.OK, json.dumps(document, allow_nan=False).encode(), ".json")

    def _get_file(self, query: Mapping[str, str]) -> None:
        content = self._visit(query).files.get(query.get("name", ""))
        if content is None:
            raise Refused("there is nothing of this name", status=404)
        self._send(HTTPStatus.OK, content if isinstance(content, bytes) else content.read_bytes(), ".bin")

    def _post_alive(self, query: Mapping[str, str]) -> None:
        self._visit(query).hear(self._state(query))
        self._body(0)
        self._send(HTTPStatus.NO_CONTENT, b"", ".json")

    def _post_said(self, query: Mapping[str, str]) -> None:
        visit = self._visit(query)
        number = query.get("n", "")
        if not re.fullmatch(r"\d{1,9}", number):
            raise Refused("it does not say which message it is", status=400)
        try:
            body = self._body(visit.longest)
        except Refused as refused:
            visit.broken = visit.broken or str(refused)
            raise
        visit.say(int(number), body)
        self._send(HTTPStatus.NO_CONTENT, b"", ".json")

    # What they share.

    def _visit(self, query: Mapping[str, str]) -> Visit:
        return self.server.desk.places.visit(query.get("visit", ""))

    def _state(self, query: Mapping[str, str]) -> State | None:
        return next((state for state in STATES if state == query.get("state")), None)

    def _kept(self) -> str | None:
        """The word this browser keeps; None where it has none, or one that was not made here."""
        try:
            morsel = SimpleCookie(self.headers.get("Cookie", "")).get(_COOKIE)
        except CookieError:
            return None
        return morsel.value if morsel is not None and _KEPT.fullmatch(morsel.value) else None

    def _body(self, longest: int) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"\d{1,12}", length):
            raise Refused("it does not say how long it is", status=411)
        if int(length) > longest:
            raise Refused(f"it sent {int(length)} bytes at once, where at most {longest} were expected", status=413)
        body = self.rfile.read(int(length))
        if len(body) != int(length):
            raise Refused("it broke off", status=400)
        return body

    def _send(self, status: int, content: bytes, suffix: str, more: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        kind = TYPES.get(suffix, "application/octet-stream")
        isolation = ISOLATION if self.server.desk.invitation.is_secure else {}
        for name, value in {"Content-Type": kind, **HEADERS, **isolation, **(more or {})}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
