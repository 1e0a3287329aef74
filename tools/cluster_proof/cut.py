"""A wire between a client and a scheduler on this machine, which can be cut for a while."""

from __future__ import annotations

import contextlib
import socket
import threading


class Wire:
    """Passes on what comes in at ``port``; while it is cut, nothing passes either way, and nobody is told."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._whole = threading.Event()
        self._whole.set()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]

    def __enter__(self) -> Wire:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._whole.set()
        self._listening.close()

    def cut(self, seconds: float) -> None:
        """Cuts it, and mends it later."""
        self._whole.clear()
        threading.Timer(seconds, self._whole.set).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
                server = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                return
            for ends in ((client, server), (server, client)):
                threading.Thread(target=self._pass, args=ends, daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while block := one.recv(1 << 16):
                while not self._whole.wait(1):
                    pass
                other.sendall(block)
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_RDWR)
