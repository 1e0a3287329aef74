"""What all viewers are shown, made once for all of them, and only while somebody looks.

A thread of its own waits for the engine, so the event loop never waits for a lock or a JPEG.
"""

from __future__ import annotations

import asyncio
import json
import math
import threading
import time
from collections.abc import Callable, Sequence
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


class ViewMaker:
    """Makes one view after the other; for one thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._status = engine.status()
        self._asked = time.monotonic()
        self._result: Result | None = None
        self._result_serial, self._result_at = 0, -math.inf
        self._frame = -1
        self._picture, self._picture_serial = b"", 0
        self._serial, self._made = 0, -math.inf

    def look(self, *, nudged: bool) -> View | None:
        """Waits a moment for a result; makes a view if there is anything new.

        Args:
            nudged: Whether something was changed that should be seen at once.
        """
        answered = self._take_result()
        changed = self._ask(nudged)
        if self._take_picture(answered) or answered or changed or time.monotonic() - self._made >= HEARTBEAT:
            return self._view()
        return None

    def _take_result(self) -> bool:
        found = self._engine.results.wait(self._result_serial, timeout=0.05)
        if found is not None:
            self._result_serial, self._result = found
            self._result_at = time.monotonic()
        return found is not None

    def _ask(self, nudged: bool) -> bool:
        """Asks for the status now and then; returns whether there is news in it that should not wait."""
        if not nudged and time.monotonic() - self._asked < HEARTBEAT / 2:
            return False
        self._asked, before, self._status = time.monotonic(), self._status, self._engine.status()
        return _news(before) != _news(self._status)

    def _take_picture(self, answered: bool) -> bool:
        """The picture of the result, or, where results are slow or none come, the newest."""
        newest = self._engine.frames.latest()
        if not answered:
            stalled = time.monotonic() - self._result_at > STALL and not self._status.paused
            if not stalled or newest is None or newest.number == self._frame:
                return False
        self._picture = self._engine.picture(self._result if answered else None, WIDTH) or b""
        self._picture_serial = self._serial + 1
        self._frame = -1 if newest is None else newest.number
        return True

    def _view(self) -> View:
        self._serial, self._made = self._serial + 1, time.monotonic()
        result = None if self._result is None else as_json(self._result)
        text = to_text(serial=self._serial, status=as_json(self._status), result=result)
        return View(serial=self._serial, text=text, picture=self._picture, picture_serial=self._picture_serial)


def _news(status: Status) -> tuple[object, ...]:
    return status.source.state, status.source.sentence, status.active, status.paused, status.error


class Broadcast:
    """Follows an engine; hands its newest view to any number of coroutines."""

    def __init__(self, engine: Engine, on_failure: Callable[[Exception], None]) -> None:
        """Follows nothing yet.

        Args:
            engine: What to follow.
            on_failure: Called with the error that ends the following; without it viewers would wait for ever.
        """
        self._engine = engine
        self._on_failure = on_failure
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
        try:
            self._make_views()
        except Exception as error:  # noqa: BLE001 - raised again in the main thread
            self._on_failure(error)

    def _make_views(self) -> None:
        maker = ViewMaker(self._engine)
        while not self._ended.is_set():
            if not self._watched.wait(0.5):
                continue
            nudged = self._changed.is_set()
            self._changed.clear()
            view = maker.look(nudged=nudged)
            if view is not None:
                self._publish(view)
            if view is not None or self._engine.results.closed:  # a closed mailbox does not make us wait
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
