"""Browsers: phones and desks that open a link, each of which is one device of the benchmark.

The page is the runner there: it reads the same order and tells the same events (``browser_events`` says what it leaves
to this side). A page that is reloaded goes on as a board does whose connection was cut.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgecvx.errors import DeviceError, EdgecvxError, Page, UsageError, about
from edgecvx.latency.devices.base import longest_line, longest_silence, read_event
from edgecvx.latency.devices.browser_events import Interpreter
from edgecvx.latency.devices.collect import Collector
from edgecvx.latency.devices.job import Job
from edgecvx.web.visits.engines import ONLY, RUNTIME, engine_name, engines
from edgecvx.web.visits.invitation import Invitation
from edgecvx.web.visits.patience import AGAIN, Patience
from edgecvx.web.visits.places import DONE, ENDED, Place, Visit, wait_for_visit
from edgecvx.web.visits.server import opened

KIND = "browser"
_MOST = 64
"""Browsers of one benchmark."""
_LINES = 4
"""Events that a page may send at once, as long as the longest of them is."""


@about(Page.BROWSERS)
def open_devices(text: str, invitation: Invitation) -> tuple[BrowserDevice, ...]:
    """The devices that ``browser`` or ``browser:N`` stands for.

    Raises:
        UsageError: N is no number of browsers.
    """
    found = re.fullmatch(rf"{KIND}(?::(\d{{1,4}}))?", text)
    count = int(found[1] or 1) if found else 0
    if not 1 <= count <= _MOST:
        raise UsageError(f"unknown device {text!r}: browser:N takes from 1 to {_MOST} browsers")
    names = [KIND] if count == 1 else [f"{KIND} {i + 1}" for i in range(count)]
    link = _Link(names, invitation)
    return tuple(BrowserDevice(name, link) for name in names)


class _Link:
    """The one link that all browsers open; there from the first that is waited for to the last that is done."""

    def __init__(self, names: list[str], invitation: Invitation) -> None:
        self.invitation = invitation
        self._names, self._missing = names, len(names)
        self._lock, self._open = threading.Lock(), contextlib.ExitStack()
        self._places: Mapping[str, Place] = {}

    @contextlib.contextmanager
    def place(self, name: str) -> Iterator[Place]:
        """The place of this name."""
        with self._lock:
            if not self._places:
                found = self._open.enter_context(opened(self.invitation, self._names, "bench"))
                self._places = {place.name: place for place in found}
        yield self._places[name]

    def leave(self) -> None:
        """Says that one of the names is not waited for any more."""
        with self._lock:
            self._missing -= 1
            if not self._missing:
                self._open.close()


class BrowserDevice:
    """One browser, whichever it will be."""

    def __init__(self, name: str, link: _Link) -> None:
        self.name = name
        self._link = link

    def measure(self, job: Job, collector: Collector, *, stop: threading.Event) -> None:
        """Waits for a browser, and measures in it; see ``devices.base.Device``.

        Raises:
            DeviceError: Nobody came, the page went away for good, or sent what no page of ours sends.
        """
        try:
            left = _for_browsers(job, collector)
            if left.order["artifacts"]:
                with self._link.place(self.name) as place:
                    self._in_place(place, left, collector, stop)
        finally:
            self._link.leave()

    def _in_place(self, place: Place, job: Job, collector: Collector, stop: threading.Event) -> None:
        try:
            visit = wait_for_visit(place, stop, self._link.invitation.wait_seconds)
            if visit is not None:
                self._carry_out(place, visit, job, collector, stop)
        except DeviceError as error:
            place.close(str(error))
            raise
        place.close(ENDED if stop.is_set() else DONE)

    def _carry_out(self, place: Place, visit: Visit, job: Job, collector: Collector, stop: threading.Event) -> None:
        """One visit after the other, until everything is measured."""
        left: Job | None = job
        fruitless = 0
        while left is not None and not stop.is_set():
            began = left.order["first_round"]
            if self._follow(visit, left, collector, stop):
                return
            if stop.is_set():
                return
            left = _rest(job, collector)
            if left is not None:
                fruitless = fruitless + 1 if left.order["first_round"] == began else 0
                if fruitless >= AGAIN:
                    raise DeviceError(f"{self.name}: its page was opened anew {fruitless} times within one round")
            place.changed.clear()
            visit = place.visit or visit

    def _follow(self, visit: Visit, job: Job, collector: Collector, stop: threading.Event) -> bool:
        """Gives every event of a visit to the collector; False where another visit has its place now."""
        visit.longest, visit.files = _LINES * longest_line(job), job.files
        visit.ask({"do": "bench", "order": job.order})
        interpreter = Interpreter(visit.browser, visit.kept)
        patience = Patience(self._link.invitation, self.name, longest_silence(job))
        while not (stop.is_set() or visit.left.is_set()):
            body = visit.read()
            if visit.broken is not None:
                raise DeviceError(f"{self.name}: {visit.broken}")
            patience.check(visit, heard=bool(body), progress=collector.progress)
            for line in (body or b"").splitlines():
                event = interpreter.event(read_event(line, self.name), self.name)
                collector.add(event)
                if event["event"] == "done":
                    return True
        return False


def _for_browsers(job: Job, collector: Collector) -> Job:
    """The job with the engine for browsers beside each file; what a browser cannot run is told, and left out."""
    files = {name: content for name, content in job.files.items() if not name.endswith((".so", ".dylib", ".dll"))}
    prepared = [_prepared(artifact, files, collector) for artifact in job.order["artifacts"]]
    return Job(order={**job.order, "artifacts": [a for a in prepared if a is not None]}, files=files)


def _prepared(
    artifact: Mapping[str, Any], files: dict[str, Path | bytes], collector: Collector
) -> Mapping[str, Any] | None:
    try:
        return _with_engine(artifact, files)
    except EdgecvxError as error:
        collector.add({"event": "error", "id": artifact["id"], "sentence": str(error)})
        return None


def _rest(job: Job, collector: Collector) -> Job | None:
    """What is left of it after a visit."""
    left = collector.rest()
    if left is None:
        return None
    prepared = {a["id"]: a for a in job.order["artifacts"]}
    kept = [prepared[a["id"]] for a in left.order["artifacts"] if a["id"] in prepared]
    return Job(order={**left.order, "artifacts": kept}, files=job.files) if kept else None


def _with_engine(artifact: Mapping[str, Any], files: dict[str, Path | bytes]) -> Mapping[str, Any]:
    """The artifact as a page needs it; its engines are put among the files where they do not lie there.

    Raises:
        EdgecvxError: A browser does not run such a file, or there is no engine for it.
    """
    if artifact["runtime"] != RUNTIME:
        raise DeviceError(ONLY)
    path = artifact["path"]
    found = engines(path, artifact["threads"], files.get)
    names = {platform: engine_name(path, platform) for platform in found}
    files |= {names[platform]: content for platform, content in found.items()}
    return {**artifact, "engines": names}
