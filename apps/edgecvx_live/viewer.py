"""One viewer at a WebSocket: gets what is newest, at their own pace, and may pause and choose.

Sent: ``{"serial", "status", "result"}`` as text, ``"picture": true`` in it when a binary message, the JPEG, follows.
Taken: ``{"seen": serial}`` for every view, ``{"pause": bool}``, ``{"select": [id]}`` or ``{"select": [id, id]}``.

At most two views are on their way; the next is sent when one of them was seen. So a slow viewer gets fewer views, each
as fresh as any, and one who never reads costs two views of memory until they are sent away.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import anyio
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from edgecvx.errors import EdgecvxError
from edgecvx_live.broadcast import Broadcast, Engine, to_text

AHEAD = 2
"""Views on their way to one viewer: one on the wire while one is drawn."""
PATIENCE = 20.0
"""Seconds until a viewer who has seen nothing is sent away; their page comes back by itself when it is looked at."""
LONGEST = 1024
"""Bytes of a message from a viewer."""

UNSUPPORTED, NOT_ALLOWED, TRY_LATER = 1003, 1008, 1013  # close codes of RFC 6455 and its registry


class Leave(Exception):  # noqa: N818 - an end, not an error
    """Ends a connection."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Budget:
    """So many in a row, and so many a second."""

    def __init__(self, *, burst: float, rate: float) -> None:
        self._burst, self._rate = burst, rate
        self._left, self._at = burst, time.monotonic()

    def spend(self) -> bool:
        """Whether one more is allowed."""
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Desk(Protocol):
    """What viewers share."""

    engine: Engine
    broadcast: Broadcast
    commands: asyncio.Lock


class Viewer:
    """The conversation with one viewer."""

    def __init__(self, socket: WebSocket, desk: Desk) -> None:
        self._socket, self._desk = socket, desk
        self._messages = Budget(burst=120, rate=60)
        self._commands = Budget(burst=12, rate=4)
        self._unseen: deque[int] = deque()
        self._room = asyncio.Event()
        self._room.set()
        self._sending = asyncio.Lock()

    async def serve(self) -> None:
        """Talks until either side has enough."""
        tasks = [asyncio.ensure_future(self._show()), asyncio.ensure_future(self._listen())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for error in (task.exception() for task in done):
            if isinstance(error, Leave):
                await self._close(error)
            elif error is not None and not isinstance(error, WebSocketDisconnect):
                raise error

    async def _show(self) -> None:
        seen = pictured = 0
        while True:
            view = await self._desk.broadcast.newest(seen)
            try:
                with anyio.fail_after(PATIENCE):
                    await self._room.wait()
                    view = await self._desk.broadcast.newest(seen)
                    with_picture = bool(view.picture) and view.picture_serial != pictured
                    self._unseen.append(view.serial)
                    if len(self._unseen) >= AHEAD:
                        self._room.clear()
                    await self._send(view.text, view.picture if with_picture else None)
            except TimeoutError as late:
                raise Leave(TRY_LATER, "nothing was read for too long") from late
            seen, pictured = view.serial, view.picture_serial if with_picture else pictured

    async def _send(self, text: str, picture: bytes | None = None) -> None:
        async with self._sending:
            await self._socket.send_text(text if picture is None else f'{text[:-1]},"picture":true}}')
            if picture is not None:
                await self._socket.send_bytes(picture)

    async def _listen(self) -> None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if not self._messages.spend():
                raise Leave(NOT_ALLOWED, "too many messages")
            await self._obey(_parsed(message.get("text")))

    async def _obey(self, message: dict[str, Any]) -> None:
        match message:
            case {"seen": int(serial), **rest} if not rest:
                while self._unseen and self._unseen[0] <= serial:
                    self._unseen.popleft()
                if len(self._unseen) < AHEAD:
                    self._room.set()
            case {"pause": bool(paused), **rest} if not rest:
                await self._command(lambda: self._desk.engine.pause(paused))
            case {"select": [str(), *_] as ids, **rest} if not rest and len(ids) <= 2 and _all_text(ids):
                await self._command(lambda: self._desk.engine.select(tuple(ids)))
            case _:
                raise Leave(NOT_ALLOWED, "not a message that is known here")

    async def _command(self, command: Callable[[], None]) -> None:
        if not self._commands.spend():
            raise Leave(NOT_ALLOWED, "too many commands")
        try:
            async with self._desk.commands:  # one at a time, in a thread: opening a model takes a while
                await asyncio.to_thread(command)
        except EdgecvxError as error:
            await self._send(to_text(refused=str(error)))
        self._desk.broadcast.nudge()

    async def _close(self, leave: Leave) -> None:
        if self._socket.application_state is WebSocketState.CONNECTED:
            # Gone, or not reading: the connection is dropped as soon as we return.
            with anyio.move_on_after(1.0), contextlib.suppress(RuntimeError, WebSocketDisconnect):
                await self._socket.close(leave.code, leave.reason)


def _parsed(text: str | None) -> dict[str, Any]:
    if text is None:
        raise Leave(UNSUPPORTED, "text only")
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Leave(NOT_ALLOWED, "not JSON") from error
    if not isinstance(message, dict):
        raise Leave(NOT_ALLOWED, "not a message that is known here")
    return message


def _all_text(values: list[Any]) -> bool:
    return all(isinstance(value, str) for value in values)
