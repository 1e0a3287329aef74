"""The live page and what feeds it: a few files, one WebSocket, the newest picture.

======================  ================================================================================
``GET /``               the page; its scripts lie under ``/static/``, what it shares with the target ``web``
                        under ``/static/parts/``
``GET /api/status``     status and newest result, as JSON
``GET /picture.jpg``    the newest picture
``GET /snapshot``       the picture of the newest result, to be saved; what was seen is its JPEG comment
``GET /snapshot.json``  the newest result and the status, to be saved
``WS  /live``           see ``edgecvx_live.viewer``
======================  ================================================================================

Files are served out of memory by name, so there is no path to play tricks with.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ipaddress
import logging
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from types import FrameType

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket, WebSocketDisconnect

from edgecvx.errors import UsageError
from edgecvx_live import patience
from edgecvx_live.access import Access, Guard, access_for, is_loopback
from edgecvx_live.broadcast import Broadcast, Engine, to_text
from edgecvx_live.values import Result, as_json
from edgecvx_live.viewer import LONGEST, TRY_LATER, Viewer

VIEWERS = 32
"""Viewers at once."""

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFile:
    """A file of the page, read once."""

    content: bytes
    media_type: str
    tag: str


class Live:
    """What the routes and the viewers share."""

    def __init__(self, engine: Engine, *, viewers: int, on_failure: Callable[[Exception], None]) -> None:
        self.engine = engine
        self.broadcast = Broadcast(engine, on_failure)
        self.commands = asyncio.Lock()
        self._drawing = asyncio.Lock()
        self._most = viewers
        self._files = page_files()

    @contextlib.asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Follows the engine while the server runs."""
        await self.broadcast.start()
        try:
            yield
        finally:
            await self.broadcast.stop()

    async def file(self, request: Request) -> Response:
        """The page, or a file of it."""
        found = self._files.get(request.path_params.get("name", "index.html"))
        if found is None:
            return PlainTextResponse("There is no such page.\n", 404)
        headers = {"cache-control": "no-cache", "etag": found.tag}
        if request.headers.get("if-none-match") == found.tag:
            return Response(status_code=304, headers=headers)
        return Response(found.content, media_type=found.media_type, headers=headers)

    async def status(self, _: Request) -> Response:
        """Status and newest result."""
        return Response(await self._told(), media_type="application/json", headers={"cache-control": "no-store"})

    async def picture(self, _: Request) -> Response:
        """The newest picture."""
        return await self._jpeg(None, {})

    async def snapshot(self, _: Request) -> Response:
        """The picture of the newest result, with what was seen in its comment."""
        result = self.engine.results.latest()
        saved = await self._jpeg(result, _to_save("jpg"))
        if saved.status_code == 200:
            saved.body = with_comment(bytes(saved.body), (await self._told(result)).encode())
            saved.headers["content-length"] = str(len(saved.body))
        return saved

    async def snapshot_json(self, _: Request) -> Response:
        """The newest result, and the status."""
        return Response(await self._told(), media_type="application/json", headers=_to_save("json"))

    async def live(self, websocket: WebSocket) -> None:
        """One viewer, from hello to goodbye."""
        await websocket.accept()
        if self.broadcast.viewers >= self._most:
            with contextlib.suppress(WebSocketDisconnect):
                await websocket.close(TRY_LATER, "too many viewers")
            return
        self.broadcast.enter()
        try:
            await Viewer(websocket, self).serve()
        finally:
            self.broadcast.leave()

    async def _told(self, result: Result | None = None) -> str:
        result = result or self.engine.results.latest()
        status = await asyncio.to_thread(self.engine.status)
        return to_text(status=as_json(status), result=None if result is None else as_json(result))

    async def _jpeg(self, result: Result | None, headers: Mapping[str, str]) -> Response:
        async with self._drawing:  # one at a time: pictures on request may not take the processor from inference
            content = await asyncio.to_thread(self.engine.picture, result)
        if not content:
            return PlainTextResponse("There is no picture yet.\n", 503, {"cache-control": "no-store"})
        return Response(content, media_type="image/jpeg", headers={"cache-control": "no-store", **headers})


def create_app(
    engine: Engine, access: Access, *, viewers: int = VIEWERS, on_failure: Callable[[Exception], None]
) -> ASGIApp:
    """The application, guarded.

    Args:
        engine: What is shown; started and stopped by whoever made it.
        access: Who is let in.
        viewers: How many may look on at once.
        on_failure: Called with the sentence of an error of the engine after which nothing more can be shown.
    """
    live = Live(engine, viewers=viewers, on_failure=on_failure)
    routes = [
        Route("/", live.file),
        Route("/static/{name:path}", live.file),
        Route("/api/status", live.status),
        Route("/picture.jpg", live.picture),
        Route("/snapshot", live.snapshot),
        Route("/snapshot.json", live.snapshot_json),
        WebSocketRoute("/live", live.live),
    ]
    return Guard(Starlette(routes=routes, lifespan=live.lifespan), access)


def page_files() -> dict[str, PageFile]:
    """The page's files by name; those under ``parts/`` are the package's, for its own page looks the same."""
    folders = {
        "": resources.files("edgecvx_live").joinpath("page"),
        "parts/": resources.files("edgecvx").joinpath("web/site/parts"),
    }
    files = {}
    for prefix, folder in folders.items():
        for entry in folder.iterdir():
            media_type = _TYPES.get(entry.name[entry.name.rfind(".") :])
            if media_type is not None:
                content = entry.read_bytes()
                tag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
                files[prefix + entry.name] = PageFile(content=content, media_type=media_type, tag=tag)
    return files


def with_comment(jpeg: bytes, comment: bytes) -> bytes:
    """A JPEG with a comment behind its first marker; Pillow and exiftool show it."""
    comment = comment[: 0xFFFF - 2]
    return jpeg[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + jpeg[2:]


def _to_save(suffix: str) -> dict[str, str]:
    name = time.strftime(f"edgecvx-%Y%m%d-%H%M%S.{suffix}")
    return {"cache-control": "no-store", "content-disposition": f'attachment; filename="{name}"'}


class Server:
    """Listens from the moment it is made; serves while ``run`` runs."""

    def __init__(
        self,
        engine: Engine,
        *,
        host: str = "127.0.0.1",
        port: int = 8080,
        token: str | None = None,
        viewers: int = VIEWERS,
    ) -> None:
        """Takes the port.

        Args:
            engine: What is shown.
            host: The address to listen on; beyond loopback a token is asked for.
            port: The port; 0 for any free one.
            token: The secret to ask for; see ``access_for``.
            viewers: How many may look on at once.

        Raises:
            UsageError: The address cannot be had, or the token is no good.
        """
        access = access_for(host, token)
        self._failure: Exception | None = None
        self._socket = _listening(host, port)
        self.port: int = self._socket.getsockname()[1]
        self.link = _link(host, self.port, access.token)
        """What a viewer opens; with the token, so it is to be shown once and to whom it is for."""
        self._server = _Uvicorn(
            uvicorn.Config(
                create_app(engine, access, viewers=viewers, on_failure=self._fail),
                http=patience.Http,
                ws=patience.WebSocket,
                ws_max_size=LONGEST,
                ws_per_message_deflate=False,  # JPEG does not get smaller, only the processor warmer
                ws_ping_interval=None,  # views are acknowledged, which says more than a pong
                h11_max_incomplete_event_size=8192,
                timeout_keep_alive=5,
                timeout_graceful_shutdown=2,
                access_log=False,  # would write the token down
                log_config=None,
                log_level=logging.ERROR,
                server_header=False,
                proxy_headers=False,
            )
        )

    def run(self) -> None:
        """Serves until SIGINT, SIGTERM or ``stop``; raises what ended the engine's views, if anything did."""
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._socket.close()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Ends ``run``; from any thread."""
        self._server.should_exit = True

    def _fail(self, error: Exception) -> None:
        self._failure = error
        self.stop()


class _Uvicorn(uvicorn.Server):
    """Ends on a signal, without raising it once more: the engine behind it is to be stopped in order."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        def end(*_: int | FrameType | None) -> None:
            self.should_exit = True

        try:
            before = {name: signal.signal(name, end) for name in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not in the main thread, whose business signals are
            yield
            return
        try:
            yield
        finally:
            for name, handler in before.items():
                signal.signal(name, handler)


def _listening(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise UsageError(f"there is no port {port}: from 1 to 65535, or 0 for any free one")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
    except OSError as error:
        raise UsageError(f"cannot listen on {host} port {port}: {error}; choose another --host or --port") from error
    return listener


def _link(host: str, port: int, token: str | None) -> str:
    name = _own_address(host) if not is_loopback(host) else host
    name = f"[{name}]" if ":" in name else name
    return f"http://{name}:{port}/" + ("" if token is None else f"?token={token}")


def _own_address(host: str) -> str:
    """The address others reach us by, where we listen on all of them."""
    try:
        if not ipaddress.ip_address(host).is_unspecified:
            return host
    except ValueError:
        return host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: only asks which way packets would go
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()
