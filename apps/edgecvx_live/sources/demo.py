"""Drawn pictures in place of a camera: nothing to plug in, and every frame is known by its number.

Frame ``n`` shows drawn picture ``seed + n // HOLD`` through a window that wanders over it, so the picture moves as one
from a hand-held camera does. Nothing depends on the clock: a slow board skips numbers, it never sees other pictures.
"""

from __future__ import annotations

import functools
import threading
import time

from edgecvx.data.demo import picture
from edgecvx_live.sources.base import Picture, SourceLostError
from edgecvx_live.values import Pixels

RATE = 25.0
"""Frames per second."""
HOLD = 50
"""Frames per picture: two seconds."""
SIDE = 384
_ROOM = 24
"""How far the window wanders. Little enough to leave the object inside: it is what the picture is about."""


class DemoSource:
    """The drawn pictures of ``edgecvx.data.demo``, at the rate of a camera."""

    kind = "demo"

    def __init__(self, *, seed: int = 0, rate: float = RATE) -> None:
        self.name = "drawn pictures"
        self._seed, self._period = seed, 1 / rate
        self._number = 0
        self._due = 0.0
        self._closed = threading.Event()

    def open(self) -> None:
        """Starts at frame 0."""
        self._closed.clear()
        self._number, self._due = 0, time.monotonic()

    def read(self) -> Picture:
        """The next frame, when it is due; frames that are late are not made up for."""
        if self._closed.wait(max(0.0, self._due - time.monotonic())):
            raise SourceLostError("the drawn pictures were stopped")
        started = time.monotonic()
        self._due = max(self._due + self._period, started)
        pixels = frame(self._number, seed=self._seed)
        self._number += 1
        return Picture(pixels=pixels, capture_ms=(time.monotonic() - started) * 1e3)

    def close(self) -> None:
        """Ends a ``read`` that waits."""
        self._closed.set()


def frame(number: int, *, seed: int = 0) -> Pixels:
    """Frame ``number``: the same on every machine."""
    drawn = _drawn(seed + number // HOLD)
    left, top = _wander(number, 2), _wander(number, 3)
    side = SIDE - _ROOM
    return drawn[top : top + side, left : left + side]


def _wander(number: int, speed: int) -> int:
    """To and fro between 0 and ``_ROOM``, in whole pixels: no sine whose last bit could differ between machines."""
    step = number * speed // 4 % (2 * _ROOM)
    return min(step, 2 * _ROOM - step)


@functools.lru_cache(maxsize=2)
def _drawn(index: int) -> Pixels:
    pixels, _ = picture(index, size=SIDE)
    pixels.flags.writeable = False
    return pixels
