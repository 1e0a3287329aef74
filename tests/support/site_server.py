"""A static server on loopback for tests of sites: the files of a folder or of a mapping, isolated or not."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from urllib.parse import unquote, urlsplit

Files = Mapping[str, bytes] | Path
"""Relative names and contents, or a folder. Both are looked into at each request: a test may change them meanwhile."""

ISOLATION = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
"""With these two a browser shares memory between threads."""
NO_HEADERS: Mapping[str, str] = MappingProxyType({})
POLICY = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'"
"""For a test that wants to know that a site needs no more: ``headers={"Content-Security-Policy": POLICY}``."""
TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "json": "application/json",
    "webmanifest": "application/manifest+json",
    "txt": "text/plain; charset=utf-8",
    "wasm": "application/wasm",
    "svg": "image/svg+xml",
    "png": "image/png",
    "jpg": "image/jpeg",
}


@contextmanager
def serve(
    folder: Files, isolated: bool = True, *, headers: Mapping[str, str] = NO_HEADERS, types: Mapping[str, str] = TYPES
) -> Iterator[str]:
    """Serves until the block ends.

    Args:
        folder: What is served; ``index.html`` for a path that ends in a slash.
        isolated: Whether the two headers are sent with which a browser gives a page threads.
        headers: Further ones, with every answer.
        types: Ending of a name -> its content type; bytes where there is none.

    Yields:
        The address, with a slash at its end.
    """
    more = {**(ISOLATION if isolated else {}), **headers}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            content = _content(folder, self.path)
            found = content is not None
            self.send_response(HTTPStatus.OK if found else HTTPStatus.NOT_FOUND)
            kind = types.get(_name(self.path).rpartition(".")[2], "application/octet-stream") if found else "text/plain"
            for name, value in {"Content-Type": kind, "Cache-Control": "no-store", **more}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: a test says what it misses."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _name(path: str) -> str:
    """The relative name that a request asks for."""
    name = unquote(urlsplit(path).path).lstrip("/")
    return name if name and not name.endswith("/") else f"{name}index.html"


def _content(folder: Files, path: str) -> bytes | None:
    """A file's bytes; None where there is no such file, or it lies outside of the folder."""
    name = _name(path)
    if isinstance(folder, Mapping):
        return folder.get(name)
    place = (folder / name).resolve()
    return place.read_bytes() if place.is_relative_to(folder.resolve()) and place.is_file() else None
