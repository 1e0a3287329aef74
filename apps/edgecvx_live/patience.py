"""How long a connection may take its time: a visitor who only keeps a connection busy keeps nobody else out.

uvicorn waits for ever for a request that comes byte by byte, and for an answer to be fetched. Both are bounded here,
in the two classes it speaks through, with asyncio's own means.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

LIFE = 30.0
"""Seconds an HTTP connection lives; the page is fetched in one of them, and a browser opens the next by itself."""
CROWD = 128
"""HTTP connections at once; beyond, the oldest goes, so those who hold theirs open cannot keep a newcomer out."""
UNREAD = 256 * 1024
"""Bytes that may wait for a WebSocket client that asks, by pings, which the protocol answers, and never reads."""
GOODBYE = 3.0
"""Seconds a client has to take the last words of a WebSocket."""


class Http(H11Protocol):
    """An HTTP connection of limited life."""

    born: float
    _end: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts the clock, and makes room."""
        super().connection_made(transport)
        self.born = self.loop.time()
        self._end = self.loop.call_later(LIFE, self.end)
        crowd = [c for c in self.connections if isinstance(c, Http)]
        if len(crowd) > CROWD:
            min(crowd, key=lambda c: c.born).end()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the clock."""
        self._end.cancel()
        super().connection_lost(exc)

    def end(self) -> None:
        """Ends the connection, unless it has become a WebSocket."""
        if self.transport.get_protocol() is self:
            drop(self.transport)


class WebSocket(WebSocketsSansIOProtocol):
    """A WebSocket connection that does not wait for a client that has stopped reading."""

    def handle_ping(self) -> None:
        """Answers a ping, as long as the answers are read."""
        if self.transport.get_write_buffer_size() > UNREAD:
            drop(self.transport)
        else:
            super().handle_ping()

    def on_task_complete(self, task: asyncio.Task[Any]) -> None:
        """Lets go of the connection once the app has."""
        super().on_task_complete(task)
        self.loop.call_later(GOODBYE, drop, self.transport)


def drop(transport: asyncio.Transport) -> None:
    """Ends a connection for both sides at once.

    Closed in the usual way, what was sent and not read would stay in the kernel for as long as the other side's machine
    says that it is alive, and the other side would never be told.
    """
    connection = transport.get_extra_info("socket")
    if connection is not None and connection.fileno() != -1:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
