"""What all viewers are shown, made once for all of them, and only while somebody looks.

A thread of its own waits for the engine, so the event loop never waits for a lock or a JPEG.
"""

from __future__ import annotations

import asyncio
import json
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from edgecvx_live.mailbox import Newest
from edgecvx_live.values import Frame, Result, Status, as_json

PACE = 1 / 25
"""Seconds between two views, at least: nobody sees more, and the processor is needed elsewhere."""
HEARTBEAT = 1.0
"""Seconds after which a view is made though nothing is new: temperature, memory, and proof that we live."""
STALL = 0.7
"""Seconds without a result after which the camera's picture is shown without one, so that it keeps moving: with a model
that is slower than that, or none that runs. Otherwise picture and answer are of the same frame."""
WIDTH = 960
"""Pixels across of the pictures that are sent; a larger one would cost the phone's battery, not please the eye."""
TEXT = 300
"""Characters of a label or name that are shown: they come from files that may hold anything."""


class Engine(Protocol):
    """What the server needs of ``edgecvx_live.engine.Engine``."""

    @property
    def results(self) -> Newest[Result]:
        """The newest result."""
        ...

    @property
    def frames(self) -> Newest[Frame]:
        """The newest frame."""
        ...

    def pause(self, paused: bool) -> None:
        """Stops or goes on."""
        ...

    def select(self, ids: Sequence[str]) -> None:
        """Chooses one model, or two side by side; raises EdgecvxError on an unknown one."""
        ...

    def status(self) -> Status:
        """Everything but the results."""
        ...

    def picture(self, result: Result | None = None, width: int | None = None) -> bytes | None:
        """The frame of a result, or the newest one, as JPEG; None before the first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One moment, ready to be sent."""

    serial: int
    text: str
    picture: bytes
    """JPEG; empty when there is none."""
    picture_serial: int
    """The ``serial`` of the view that brought this picture first."""


class Broadcast:
    """Follows an engine; hands its newest view to any number of coroutines."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._watched = threading.Event()
        self._changed = threading.Event()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._arrival = asyncio.Event()
        self._view: View | None = None
        self._viewers = 0

    async def start(self) -> None:
        """Begins to follow."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._follow, name="edgecvx-live-broadcast", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Ends the thread."""
        self._ended.set()
        self._watched.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    @property
    def viewers(self) -> int:
        """How many look on."""
        return self._viewers

    def enter(self) -> None:
        """Counts a viewer in; views are made from now on."""
        self._viewers += 1
        self._watched.set()

    def leave(self) -> None:
        """Counts a viewer out."""
        self._viewers -= 1
        if self._viewers == 0:
            self._watched.clear()
            self._view = None  # the next viewer is not shown what was long ago

    async def newest(self, after: int) -> View:
        """The newest view, as soon as there is one of a serial above ``after``."""
        while (view := self._view) is None or view.serial <= after:
            await self._arrival.wait()
        return view

    def nudge(self) -> None:
        """Says that a command changed something that viewers should see at once."""
        self._changed.set()

    def _follow(self) -> None:
        """Makes a view whenever there is a new result; or a new frame, if results are slow; or nothing for long."""
        engine, status = self._engine, self._engine.status()
        result: Result | None = None
        picture, serial, result_serial, picture_serial, frame = b"", 0, 0, 0, -1
        made = asked = result_at = -math.inf
        while not self._ended.is_set():
            if not self._watched.wait(0.5):
                continue
            found = engine.results.wait(result_serial, timeout=0.05)
            now = time.monotonic()
            if changed := self._changed.is_set() or now - asked > HEARTBEAT / 2:
                self._changed.clear()
                asked, before, status = now, status, engine.status()
                changed = (before.source, before.active, before.paused) != (status.source, status.active, status.paused)
            newest = engine.frames.latest()
            if found is not None:
                (result_serial, result), result_at = found, now
            stalled = now - result_at > STALL and not status.paused
            if found is not None or (stalled and newest is not None and newest.number != frame):
                picture = engine.picture(result if found is not None else None, WIDTH) or b""
                picture_serial = serial + 1
                frame = -1 if newest is None else newest.number
            elif not changed and now - made < HEARTBEAT:
                self._ended.wait(PACE if engine.results.closed else 0)  # a closed mailbox does not make us wait
                continue
            serial, made = serial + 1, now
            text = to_text(serial=serial, status=as_json(status), result=None if result is None else as_json(result))
            self._publish(View(serial=serial, text=text, picture=picture, picture_serial=picture_serial))
            self._ended.wait(PACE)

    def _publish(self, view: View) -> None:
        if self._loop is not None and not self._ended.is_set():
            self._loop.call_soon_threadsafe(self._arrived, view)

    def _arrived(self, view: View) -> None:
        if self._viewers:
            self._view = view
            arrival, self._arrival = self._arrival, asyncio.Event()
            arrival.set()


def to_text(**values: Any) -> str:
    """JSON that any browser reads: no NaN, no endless text."""
    return json.dumps(_tame(values), allow_nan=False, separators=(",", ":"))


def _tame(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tame(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_tame(item) for item in value]
    if isinstance(value, float):
        return round(value, 5) if math.isfinite(value) else None
    return value[:TEXT] if isinstance(value, str) else value
