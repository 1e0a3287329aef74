"""The live server: what it serves, to whom it listens, and whom it does not let spoil it for the others."""

from __future__ import annotations

import asyncio
import functools
import io
import json
import math
import re
import socket
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from importlib import resources
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import httpx
import pytest
from live_fakes import write_artifact
from PIL import Image
from pretended import Pretended, served
from waiting import PATIENCE, WEBSOCKET, wait_until
from websockets.exceptions import ConnectionClosed
from websockets.sync import client
from websockets.sync.client import ClientConnection

from edgecvx.errors import UsageError
from edgecvx_live import patience, viewer
from edgecvx_live.engine import Engine
from edgecvx_live.server import Server, page_files, with_comment
from edgecvx_live.sources import open_source
from edgecvx_live.values import Result

connect = functools.partial(client.connect, **WEBSOCKET)


@pytest.fixture
def engine() -> Pretended:
    engine = Pretended()
    engine.step()
    return engine


@pytest.fixture
def server(engine: Pretended) -> Iterator[Server]:
    with served(engine) as server:
        yield server


def url(server: Server, path: str = "/live") -> str:
    return f"{'ws' if path == '/live' else 'http'}://127.0.0.1:{server.port}{path}"


def get(server: Server, path: str, **headers: str) -> httpx.Response:
    return httpx.get(url(server, path), headers=headers, timeout=PATIENCE)


def receive(live: ClientConnection) -> dict[str, Any]:
    """The next view, and whether its picture is one."""
    view: dict[str, Any] = json.loads(live.recv(PATIENCE))
    if view.get("picture"):
        jpeg = live.recv(PATIENCE)
        assert isinstance(jpeg, bytes)
        view["picture"] = Image.open(io.BytesIO(jpeg)).size
    return view


def seen(live: ClientConnection, view: dict[str, Any]) -> None:
    live.send(json.dumps({"seen": view["serial"]}))


def receive_until(live: ClientConnection, frame: int) -> dict[str, Any]:
    """Views, until there is one of this frame or a later one."""
    while True:
        view = receive(live)
        seen(live, view)
        if view["result"]["frame"] >= frame:
            return view


# --- the page ----------------------------------------------------------------------------------------------------


def test_the_page_and_its_files(server: Server) -> None:
    visitor = httpx.Client(base_url=url(server, ""), timeout=PATIENCE)
    page = visitor.get("/")
    named = re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text)
    scripts = [f"/static/{name}" for name in page_files() if name.endswith(".js")]
    assert len(named) == 3
    for path in ["/", *named, *scripts]:
        answer = visitor.get(path)
        assert answer.status_code == 200
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert visitor.get(path, headers={"if-none-match": answer.headers["etag"]}).status_code == 304


def test_what_both_pages_share_lies_in_the_package_alone() -> None:
    """The live page and the page of the target `web` have one look."""
    parts = resources.files("edgecvx").joinpath("web/site/parts")
    shared = {entry.name: entry.read_bytes() for entry in parts.iterdir()}
    assert {"look.css", "chart.js", "readings.js", "icon.svg"} <= set(shared)
    for name, content in shared.items():
        assert page_files()[f"parts/{name}"].content == content
        assert name not in page_files()


def test_the_page_is_as_its_policy_wants_it() -> None:
    """No script or style is written into it, and nothing is fetched from elsewhere."""
    for name, file in page_files().items():
        text = file.content.decode()
        assert not re.search(r"(https?:)?//[a-z0-9.-]+\.[a-z]{2,}", text.replace("http://www.w3.org/2000/svg", "")), (
            name
        )
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text), (
            name
        )
        if name.endswith(".html"):
            assert not re.search(r"<style|<script>|\sstyle=|\son[a-z]+=|javascript:", text), name


def test_status_and_picture(engine: Pretended, server: Server) -> None:
    told = get(server, "/api/status")
    assert told.headers["cache-control"] == "no-store"
    assert told.json()["status"]["active"] == ["fp32"]
    assert told.json()["result"]["readings"][0]["top"][0]["label"] == "red star"
    picture = get(server, "/picture.jpg")
    assert Image.open(io.BytesIO(picture.content)).size == (320, 240)


def test_a_snapshot_says_what_was_seen(engine: Pretended, server: Server) -> None:
    answer = get(server, "/snapshot")
    assert re.fullmatch(r'attachment; filename="edgecvx-\d{8}-\d{6}\.jpg"', answer.headers["content-disposition"])
    image = Image.open(io.BytesIO(answer.content))
    image.load()
    assert json.loads(image.info["comment"])["result"]["frame"] == 1
    assert get(server, "/snapshot.json").json()["result"]["frame"] == 1


def test_a_comment_that_is_too_long_leaves_the_picture_whole() -> None:
    content = io.BytesIO()
    Image.new("RGB", (8, 8)).save(content, "JPEG")
    image = Image.open(io.BytesIO(with_comment(content.getvalue(), b"x" * 100_000)))
    image.load()
    assert len(image.info["comment"]) == 65533


def test_before_the_first_frame() -> None:
    with served(Pretended()) as server:
        assert get(server, "/picture.jpg").status_code == 503
        assert get(server, "/snapshot").status_code == 503
        assert get(server, "/api/status").json()["result"] is None
        with connect(url(server)) as live:
            view = receive(live)
            assert view["result"] is None
            assert "picture" not in view


PATHS = [
    "/static/",
    "/static",
    "/static/../access.py",
    "/static/..%2faccess.py",
    "/static/%2e%2e/access.py",
    "/static/..%5c..%5caccess.py",
    "/static//etc/passwd",
    "/static/%2fetc%2fpasswd",
    "/static/app.js/../../server.py",
    "/static/app.js%00.html",
    "/static/index.html/",
    "/server.py",
    "/../../../../etc/passwd",
    "//etc/passwd",
    "/page/index.html",
    "/.git/config",
]


@pytest.mark.parametrize("path", PATHS)
def test_there_are_no_paths_to_play_tricks_with(server: Server, path: str) -> None:
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as raw:  # no client that tidies up the path
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    status = int(answer.split()[1])
    assert status in (307, 400, 404)
    if status == 307:  # the router's: the same path without the slash at its end
        assert b"location: http://127.0.0.1/" in answer
    assert b"import" not in answer and b"root:" not in answer


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,
        b"NONSENSE\r\n\r\n",
    ],
)
def test_requests_that_are_none(server: Server, head: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as raw, suppress(ConnectionError):
        raw.sendall(head)
        answer = raw.recv(65536)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 ")
    assert get(server, "/").status_code == 200


# --- viewers -----------------------------------------------------------------------------------------------------


def test_a_viewer_sees_frames_and_answers(engine: Pretended, server: Server) -> None:
    with connect(url(server)) as live:
        view = receive(live)
        assert view["picture"] == (320, 240)
        assert view["status"]["models"][1]["file"] == "femto-int8.tflite"
        seen(live, view)
        assert receive_until(live, engine.step().frame)["picture"] == (320, 240)


def test_a_slow_viewer_gets_the_newest_not_the_next(engine: Pretended, server: Server) -> None:
    """Two views are on their way; what comes after them is what is new then, not what was missed."""
    with connect(url(server)) as slow, connect(url(server)) as quick:
        views = []
        for _ in range(6):
            frame = engine.step().frame
            receive_until(quick, frame)  # everybody else sees each of them
        views += [receive(slow), receive(slow)]
        for view in views:
            seen(slow, view)
        assert views[-1]["result"]["frame"] < frame
        assert receive(slow)["result"]["frame"] == frame


def test_twenty_at_once(engine: Pretended, server: Server) -> None:
    with ExitStack() as stack:
        viewers = [stack.enter_context(connect(url(server))) for _ in range(20)]
        frame = engine.step().frame
        for live in viewers:
            receive_until(live, frame)
        assert get(server, "/").status_code == 200


def test_too_many_are_told(engine: Pretended) -> None:
    with served(engine, viewers=2) as server, connect(url(server)) as first, connect(url(server)) as second:
        receive(first), receive(second)
        with connect(url(server)) as third, pytest.raises(ConnectionClosed) as closed:
            third.recv(PATIENCE)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1013, "too many viewers")
        receive_until(first, engine.step().frame)


def test_pause_and_choice(engine: Pretended, server: Server) -> None:
    with connect(url(server)) as live, connect(url(server)) as other:
        receive(live)
        live.send('{"pause": true}')
        live.send('{"select": ["fp32", "int8"]}')
        while (view := receive(other))["status"]["active"] != ["fp32", "int8"]:
            seen(other, view)
        assert view["status"]["paused"], "the others see it too"
    assert engine.said == [("pause", True), ("select", ("fp32", "int8"))]


def test_a_choice_that_cannot_be_is_told(engine: Pretended, server: Server) -> None:
    with connect(url(server)) as live:
        seen(live, receive(live))
        live.send('{"select": ["fp64"]}')
        while "refused" not in (message := receive(live)):
            seen(live, message)
        assert "fp64" in message["refused"]
        receive_until(live, engine.step().frame)


# --- those who do harm -------------------------------------------------------------------------------------------

MESSAGES: list[str | bytes] = [
    "",
    "no JSON",
    "null",
    "[]",
    "{}",
    '{"pause": "yes"}',
    '{"pause": 1}',
    '{"pause": true, "select": ["fp32"]}',
    '{"select": []}',
    '{"select": "fp32"}',
    '{"select": ["fp32", "int8", "fp32"]}',
    '{"select": ["fp32", 1]}',
    '{"seen": "all"}',
    '{"seen": 1e999}',
    '{"run": "reboot"}',
    "[" * 1000,
    '{"pause":' * 100,
    "x" * 1025,
    "x" * 5_000_000,
    b"\x00\x01\x02",
    b"{}",
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: repr(message[:24]))
def test_a_message_that_is_none_ends_the_connection_and_nothing_else(
    engine: Pretended, server: Server, message: str | bytes
) -> None:
    with connect(url(server)) as other, connect(url(server)) as live:
        with pytest.raises(ConnectionClosed) as closed:
            live.send(message)
            while True:
                live.recv(PATIENCE)
        if closed.value.rcvd is not None:  # a message of megabytes is cut off before its end
            assert closed.value.rcvd.code in (1003, 1008, 1009)
        receive_until(other, engine.step().frame)
    assert engine.said == []


def test_text_that_is_none(engine: Pretended, server: Server) -> None:
    """A text frame whose bytes are not UTF-8; the library refuses to send one, so it is made by hand."""
    with connect(url(server)) as live:
        live.recv(PATIENCE)
        live.socket.sendall(b"\x81\x82\x00\x00\x00\x00\xff\xfe")
        with pytest.raises(ConnectionClosed):
            while True:
                live.recv(PATIENCE)
    assert get(server, "/api/status").status_code == 200


def test_too_many_commands(engine: Pretended, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewer, "time", SimpleNamespace(monotonic=lambda: 0.0))  # or a slow machine has time for all
    with connect(url(server)) as live, pytest.raises(ConnectionClosed) as closed:
        for _ in range(500):
            live.send('{"pause": false}')
        while True:
            live.recv(PATIENCE)
    assert closed.value.rcvd is None or closed.value.rcvd.code == 1008
    assert len(engine.said) < 100


def test_one_who_never_reads_is_sent_away(engine: Pretended, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are served meanwhile; afterwards the seat is free again."""
    clock = Clock()
    monkeypatch.setattr(viewer, "anyio", clock)
    with served(engine, viewers=2) as server, connect(url(server)) as other, stubborn(server) as raw:

        def waits_for_long() -> anyio.CancelScope | None:
            """The wait that began before a view was made and is not over when everybody else has seen that one."""
            before = list(clock.running)
            receive_until(other, engine.step().frame)
            return next((wait for wait in before if wait in clock.running), None)

        def is_free() -> bool:
            receive_until(other, engine.step().frame)
            with connect(url(server)) as live:
                try:
                    return "status" in receive(live)
                except ConnectionClosed:
                    return False

        late = wait_until(waits_for_long, "the server waits for one who never reads")
        assert late is not None
        with monkeypatch.context() as patched:
            patched.setattr(patience, "GOODBYE", 0.1)
            clock.end(late)
            wait_until(lambda: is_reset(raw), "the connection is ended for both sides, though nothing was read")
        wait_until(is_free, "the seat of one who never reads is free again")
        receive_until(other, engine.step().frame)


def test_one_who_never_reads_costs_two_views(engine: Pretended, server: Server) -> None:
    with connect(url(server)) as other, stubborn(server) as raw:
        for _ in range(30):
            receive_until(other, engine.step().frame)
        raw.sendall(b"\x89\x8c\x00\x00\x00\x00" + b"is that all?")  # a ping: its answer comes after all that was sent
        got = b""
        while b"\x8a\x0cis that all?" not in got:
            got += raw.recv(65536)
        assert got.count(b'"serial"') == viewer.AHEAD


def test_one_who_asks_and_never_reads(engine: Pretended, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pings are answered by the protocol itself, as long as the answers are read."""
    monkeypatch.setattr(patience, "UNREAD", 4096)
    ping = b"\x89\xfd" + b"\x00\x00\x00\x00" + b"x" * 125
    with stubborn(server) as raw, pytest.raises(ConnectionError):
        while True:
            raw.sendall(ping * 100)
    assert get(server, "/").status_code == 200


def test_one_who_speaks_slowly(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    began, is_known = patience.Http.connection_made, threading.Event()
    connections: list[patience.Http] = []

    def connection_made(self: patience.Http, transport: asyncio.Transport) -> None:
        began(self, transport)
        connections.append(self)
        is_known.set()

    monkeypatch.setattr(patience.Http, "connection_made", connection_made)
    with monkeypatch.context() as patched:
        patched.setattr(patience, "LIFE", 0.1)
        raw = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
        is_known.wait()
    with raw, pytest.raises(ConnectionError):
        while True:
            raw.sendall(b"G")
            assert get(server, "/").status_code == 200
    with connect(url(server)) as live:  # a WebSocket lives longer
        seen(live, receive(live))
        connections[-1].loop.call_soon_threadsafe(connections[-1].end)  # its time is over
        assert get(server, "/").status_code == 200  # and what was called soon has been
        for _ in range(3):
            seen(live, receive(live))


def test_a_crowd_of_those(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "CROWD", 8)
    with ExitStack() as stack:
        for _ in range(40):
            raw = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), PATIENCE))
            raw.sendall(b"GET / HTTP/1.1\r\n")
        assert get(server, "/").status_code == 200


def test_numbers_and_texts_out_of_bounds(engine: Pretended, server: Server) -> None:
    """A damaged network answers with NaN, and a hostile file has labels without end."""
    result = engine.step()
    reading = result.readings[0]
    ranked = replace(reading.top[0], label="x" * 1_000_000, probability=math.nan, logit=math.inf)
    worse: Result = replace(result, readings=(replace(reading, top=(ranked,)),))
    engine.results.put(worse)
    with connect(url(server)) as live:
        top = receive(live)["result"]["readings"][0]["top"][0]
    assert top == {"index": ranked.index, "label": "x" * 300, "probability": None, "logit": None}


def test_files_that_are_damaged_or_no_model(tmp_path: Path) -> None:
    """Told by name, one after the other, by the real engine; the camera's picture goes on, and so does the page."""
    pytest.importorskip("ai_edge_litert")
    damaged, garbage = write_artifact(tmp_path, "damaged.tflite"), write_artifact(tmp_path, "garbage.tflite")
    damaged.write_bytes(b"not what the manifest says")
    with ExitStack() as stack:
        engine = stack.enter_context(Engine([damaged, garbage], open_source("demo"), threads=1))
        server = stack.enter_context(served(engine))
        live = stack.enter_context(connect(url(server)))
        for name in ("damaged.tflite", "garbage.tflite"):
            live.send(json.dumps({"select": [name]}))
            while name not in ((view := receive(live))["status"]["error"] or ""):
                seen(live, view)
            seen(live, view)
        while "picture" not in (view := receive(live)):
            seen(live, view)
        assert view["result"] is None
        assert get(server, "/").status_code == 200


# --- start and end -----------------------------------------------------------------------------------------------


def test_a_port_that_is_taken(server: Server) -> None:
    with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1 port {server.port}"):
        Server(Pretended(), port=server.port)


def test_a_port_that_there_is_not() -> None:
    with pytest.raises(UsageError, match="port 99999"):
        Server(Pretended(), port=99999)


def test_the_link(engine: Pretended) -> None:
    with served(engine) as open_to_us, served(engine, token="a-token_of-24-characters") as locked:
        assert open_to_us.link == f"http://127.0.0.1:{open_to_us.port}/"
        assert locked.link == f"http://127.0.0.1:{locked.port}/?token=a-token_of-24-characters"


def test_it_ends_while_somebody_looks_on(engine: Pretended) -> None:
    with ExitStack() as later:
        with served(engine) as server:
            live = later.enter_context(connect(url(server)))
            receive(live)
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                live.recv(PATIENCE)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012, "the page knows that this is a restart"


def test_an_engine_that_breaks_ends_the_server_and_is_not_hidden(
    engine: Pretended, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that says nothing for ever helps nobody; a service that ends with an error is started again."""

    def broken(*_: object) -> bytes:
        raise RuntimeError("the encoder is gone")

    monkeypatch.setattr(engine, "picture", broken)
    server = Server(engine, port=0)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(server.run)
        with suppress(ConnectionClosed), connect(url(server)) as live:
            live.recv(PATIENCE)
        with pytest.raises(RuntimeError, match="the encoder is gone"):
            running.result(PATIENCE)


# --- means -------------------------------------------------------------------------------------------------------


def is_reset(raw: socket.socket) -> bool:
    """Whether the other side has ended the connection, asked without reading."""
    return raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0


class Clock:
    """Stands where the server finds anyio: a wait is over when the test says so, and not after so many seconds."""

    move_on_after = staticmethod(anyio.move_on_after)

    def __init__(self) -> None:
        self.running: list[anyio.CancelScope] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    @contextmanager
    def fail_after(self, _seconds: float) -> Iterator[None]:
        self._loop = asyncio.get_running_loop()
        with anyio.fail_after(None) as scope:
            self.running.append(scope)
            try:
                yield
            finally:
                self.running.remove(scope)

    def end(self, wait: anyio.CancelScope) -> None:
        """Says that the time for this wait is over."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(setattr, wait, "deadline", -math.inf)


class stubborn:  # noqa: N801 - reads as a verb of the test
    """A WebSocket whose client never reads."""

    def __init__(self, server: Server) -> None:
        self._raw = socket.socket()
        self._raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        self._raw.settimeout(PATIENCE)
        self._raw.connect(("127.0.0.1", server.port))
        self._raw.sendall(
            f"GET /live HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )

    def __enter__(self) -> socket.socket:
        return self._raw

    def __exit__(self, *_: object) -> None:
        self._raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._raw.close()
