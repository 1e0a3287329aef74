"""The places that browsers take: who is in which, what was asked of a page, and what it said.

A browser is known again by a word that it keeps in a cookie. Where it opens the page once more, because it was reloaded
or its tab was discarded, it gets its own place back as a new visit; whoever holds the place decides what is left to do.
"""

from __future__ import annotations

import queue
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edgecvx.errors import DeviceError
from edgecvx.web.visits.browsers import Browser

State = Literal["shown", "hidden", "leaving"]
STATES: tuple[State, ...] = ("shown", "hidden", "leaving")
_WAITING = 16
"""Bodies that may wait to be read; a page that says more waits itself."""
_POLL = 0.1
_FULL = 10.0
"""Seconds that a page waits where whoever reads it is behind."""
_LITTLE = 1 << 16
"""Bytes of a body, until whoever holds the place says how much it expects."""


class Refused(Exception):  # noqa: N818  # an answer, not a failure
    """The page is not given what it asked for; the message is a sentence for it."""

    def __init__(self, sentence: str, status: int = 409) -> None:
        super().__init__(sentence)
        self.status = status


class Visit:
    """One page that has a place, from its opening to its end or its reload."""

    def __init__(self, browser: Browser, kept: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.browser = browser
        self.kept = kept
        """The word by which the browser is known again."""
        self.key = secrets.token_urlsafe(18)
        self.state: State = "shown"
        self.longest = _LITTLE
        self.files: Mapping[str, Path | bytes] = {}
        """What the page may fetch."""
        self.broken: str | None = None
        """Why nothing more is taken from it."""
        self.left = threading.Event()
        """Set when another visit, or nobody, has the place."""
        self._polled = False
        self._clock = clock
        self._heard = clock()
        self._asked: queue.Queue[Mapping[str, Any]] = queue.Queue()
        self._said: queue.Queue[bytes] = queue.Queue(_WAITING)
        self._number = 0
        self._ended = threading.Event()
        self._lock = threading.Lock()

    # The page's side.

    def asked(self, patience: float) -> Mapping[str, Any] | None:
        """What the page is to do next; None where nothing came up in so many seconds."""
        self.hear(None)
        self._polled = True
        try:
            document = self._asked.get(timeout=patience)
        except queue.Empty:
            return None
        if document.get("do") == "end":
            self._ended.set()
        return document

    def say(self, number: int, body: bytes) -> None:
        """Takes what a page said; once, however often an unsure network made the page say it.

        Raises:
            Refused: It does not follow what was said before, or whoever reads it is too far behind.
        """
        self.hear(None)
        with self._lock:
            if number <= self._number:
                return
            if number != self._number + 1:
                raise Refused(f"message {number} does not follow message {self._number}")
            try:
                self._said.put(body, timeout=_FULL)
            except queue.Full:
                raise Refused("too much was said at once: say it again", status=503) from None
            self._number = number

    def hear(self, state: State | None) -> None:
        """Notes a sign of life. A page that is closed says that it leaves, and then that it is hidden."""
        self._heard = self._clock()
        if state is not None and (self.state, state) != ("leaving", "hidden"):
            self.state = state

    # The side of whoever holds the place.

    def ask(self, document: Mapping[str, Any]) -> None:
        """Asks the page to do something."""
        self._asked.put(document)

    def read(self) -> bytes | None:
        """The next body that the page said; None where there is none yet."""
        try:
            return self._said.get(timeout=_POLL)
        except queue.Empty:
            return None

    @property
    def silent(self) -> float:
        """Seconds since the last sign of life."""
        return self._clock() - self._heard

    def end(self, sentence: str) -> None:
        """Tells the page that this was all, and why."""
        self.left.set()
        self.ask({"do": "end", "sentence": sentence})

    def wait_for_end(self, patience: float) -> None:
        """Waits until the page has heard that it is over, if it ever asked."""
        if self._polled:
            self._ended.wait(patience)


@dataclass(slots=True)
class Place:
    """One place, and who has it."""

    name: str
    """``browser 2``."""
    visit: Visit | None = None
    over: bool = False
    changed: threading.Event = field(default_factory=threading.Event)
    """Set with each new visit."""

    def close(self, sentence: str) -> None:
        """Gives the place up; nobody takes it any more."""
        self.over = True
        if self.visit is not None:
            self.visit.end(sentence)


class Places:
    """All places of one link."""

    def __init__(self, names: Sequence[str], tell: Callable[[str], None]) -> None:
        self.all = tuple(Place(name) for name in names)
        self._tell = tell
        self._lock = threading.Lock()

    def join(self, browser: Browser, kept: str) -> tuple[Place, Visit]:
        """Gives a browser its place: the one it had, or a free one.

        Raises:
            Refused: All are taken, or its own is closed.
        """
        with self._lock:
            place = self._of(kept) or self._free()
            if place.over:
                raise Refused(f"{place.name} has ended: what was measured is at the computer")
            known, visit = place.visit, Visit(browser, kept)
            if known is not None:
                known.end("This goes on where the page was opened last.")
            place.visit = visit
            place.changed.set()
        again = "is back" if known is not None else "has opened the page"
        self._tell(f"{place.name}: {browser.title} {again}")
        return place, visit

    def visit(self, key: str) -> Visit:
        """The visit of this key.

        Raises:
            Refused: It is over, or never was.
        """
        for place in self.all:
            if place.visit is not None and secrets.compare_digest(place.visit.key.encode(), key.encode()):
                return place.visit
        raise Refused("this visit is over: open the link again", status=410)

    def _of(self, kept: str) -> Place | None:
        return next((p for p in self.all if p.visit is not None and p.visit.kept == kept), None)

    def _free(self) -> Place:
        free = next((p for p in self.all if p.visit is None and not p.over), None)
        if free is None:
            places = "the one place is" if len(self.all) == 1 else f"all {len(self.all)} places are"
            raise Refused(f"{places} taken: --device browser:{len(self.all) + 1} has one more")
        return free


def wait_for_visit(place: Place, stop: threading.Event, seconds: float) -> Visit | None:
    """Waits until somebody has the place; None where the user stopped.

    Raises:
        DeviceError: Nobody came.
    """
    until = time.monotonic() + seconds
    while not stop.is_set():
        if place.changed.wait(_POLL):
            place.changed.clear()
            return place.visit
        if time.monotonic() >= until:
            raise DeviceError(f"{place.name}: nobody opened the link within {seconds / 60:.3g} minutes (--wait)")
    return None
