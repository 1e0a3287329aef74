"""The line to the host: events out, the lifeline in. Every wait of the runner is a wait here."""

from __future__ import annotations

import json
import os
import select
import signal
import time
from types import FrameType
from typing import Any

_WHOLE = 512
"""Bytes that a pipe which reports room takes without waiting (POSIX)."""


class HostGone(BaseException):
    """The host is gone, or wants an end at once. Not an Exception: nothing on the way may take it for its own."""


class Host:
    """Events to the host, and a lifeline from it.

    No threads: they would run beside what is measured. The lifeline is looked at whenever something is waited for,
    and while a worker measures, waiting for it is all that the coordinator does.
    """

    def __init__(self, lifeline_seconds: float | None) -> None:
        # What native code or a library prints must not get between the events: it goes to standard error.
        self._events = os.dup(1)
        os.dup2(2, 1)
        self._allowed = lifeline_seconds
        self._heard = time.monotonic()
        self._line = b""
        self.stopping = False
        """Whether the host asked to finish."""

    def send(self, event: str, **content: Any) -> None:
        """Writes one event.

        Raises:
            HostGone: The host does not take it any more.
        """
        rest = (json.dumps({"event": event, **content}) + "\n").encode()
        try:
            while rest:
                self._select([], [self._events], None)
                rest = rest[os.write(self._events, rest[:_WHOLE]) :]
        except OSError as error:
            raise HostGone(f"the events find no reader ({error.strerror})") from None

    def wait(self, descriptor: int, until: float) -> bool:
        """Waits until something can be read; False when the moment ``until`` (monotonic) is past.

        Raises:
            HostGone: The lifeline broke.
        """
        return self._select([descriptor], [], until)

    def pause(self, seconds: float) -> None:
        """Lets some time pass.

        Raises:
            HostGone: The lifeline broke.
        """
        self._select([], [], time.monotonic() + seconds)

    def _select(self, readable: list[int], writable: list[int], until: float | None) -> bool:
        while True:
            now = time.monotonic()
            if until is not None and now >= until:
                return False
            moments = [m for m in (until, self._silence_ends()) if m is not None]
            wait = max(0.0, min(moments) - now) if moments else None
            ready, room, _ = select.select([0, *readable], writable, [], wait)
            if 0 in ready:
                self._hear()
            elif not (ready or room):
                ends = self._silence_ends()
                if ends is not None and time.monotonic() >= ends:
                    raise HostGone(f"the host has been silent for {self._allowed:.0f} s")
            if room or any(descriptor in ready for descriptor in readable):
                return True

    def _silence_ends(self) -> float | None:
        return None if self._allowed is None else self._heard + self._allowed

    def _hear(self) -> None:
        data = os.read(0, 4096)
        if not data:
            raise HostGone("the host hung up")
        self._heard = time.monotonic()
        *lines, self._line = (self._line + data).split(b"\n")
        self._line = self._line[-64:]
        self.stopping = self.stopping or b"stop" in [line.strip() for line in lines]


def raise_on_signals() -> None:
    """Lets the signals that end a process end it in good order."""

    def end(number: int, _: FrameType | None) -> None:
        raise HostGone(f"ended by {signal.Signals(number).name}")

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, end)


def ignore_signals() -> None:
    """For the moments in which the end is put in order."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
