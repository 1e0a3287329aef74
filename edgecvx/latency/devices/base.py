"""What every device has in common: how a host talks to the runner that measures on it.

The runner prints one JSON object a line. Its standard input is its lifeline: the host writes a line break every few
seconds, and when nothing comes any more, for whatever reason, the runner ends itself and all it started.
"""

from __future__ import annotations

import contextlib
import json
import math
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Protocol

from edgecvx.board.engines import COMPILED, COMPILING
from edgecvx.errors import DeviceError
from edgecvx.results.untrusted import plain

if TYPE_CHECKING:
    from edgecvx.latency.devices.collect import Collector
    from edgecvx.latency.devices.job import Job

HEARTBEAT = 5.0
"""Seconds between two signs of life; the runner gives up after ``lifeline_seconds`` of its order without one."""
PATIENCE = 300.0
"""Seconds a single step of an artifact may take before the runner ends it."""
_LINE, _BYTES_A_RUN = 1 << 20, 80
"""Bytes of a line from a device, and those each run of a turn adds: its time, and end to end that of four parts."""
_MOST_A_SECOND = 200_000
"""Runs; a call into a runtime that does nothing takes longer."""
_WINDOW = 3.0
"""Seconds of a sustained run that are told at once."""
_WAITING = 16
"""Lines that may wait to be read; a device that prints faster waits itself."""
_SLOWEST_RUN = 10.0
"""Seconds, of a run on any device."""
_GOODBYE = 30.0
"""Seconds in which a runner that is done removes its folder and ends."""
_SAID = 4096
"""Bytes kept of what a runner prints beside its events."""


class Device(Protocol):
    """A place where files can be measured."""

    name: str
    """As the user wrote it."""

    def measure(self, job: Job, collector: Collector, *, stop: threading.Event) -> None:
        """Carries out a job and gives every event to the collector.

        Args:
            job: What to measure.
            collector: Takes the events, and knows after a cut what is left (``collector.rest()``).
            stop: When set, everything on the device is ended and removed, and the call returns.

        Raises:
            DeviceError: The device cannot do it; what was measured until then is in the collector.
        """
        ...


def check_answer(line: str, device: str) -> tuple[str, ...]:
    """Reads what the runner's ``check`` printed; the notes in it.

    Raises:
        DeviceError: Something is missing there: everything that is, with the one command that installs it.
    """
    try:
        report: Any = json.loads(line)
        missing = [(plain(str(m["what"])), plain(str(m["install"]))) for m in report["missing"]]
        ok, notes = bool(report["ok"]), tuple(plain(str(note)) for note in report.get("notes", ()))
        install = report.get("install")
    except (ValueError, TypeError, KeyError, RecursionError):
        raise DeviceError(f"{device}: the check of its Python printed {line[:200]!r}, which is no answer") from None
    if not ok:
        if not missing:
            raise DeviceError(f"{device} cannot measure: {'; '.join(notes) or 'it does not say why'}")
        what = ", ".join(dict.fromkeys(w for w, _ in missing))
        separately = "; ".join(dict.fromkeys(i for _, i in missing if i))
        how = plain(install) if isinstance(install, str) else separately
        sentence = f"{device} cannot measure: {what} is missing there" + (f": {how}" if how else "")
        raise DeviceError(" ".join((sentence, *(f"({note})" for note in notes))))
    return notes


def longest_silence(job: Job) -> float:
    """Seconds without an event that no step of a job takes: a turn tells nothing before its last run.

    The runner ends a hung step sooner by itself, after the order's patience; whatever is silent for longer is not it.
    """
    order = job.order
    compiling = COMPILING if any(a.get("runtime") in COMPILED for a in order["artifacts"]) else 0.0
    runs = int(order["runs"] or 0) / int(order["rounds"])
    return compiling + 2.0 * float(order["patience_seconds"]) + _SLOWEST_RUN * runs


def longest_line(job: Job) -> int:
    """Bytes that no line of a job's events exceeds: what a device prints has to fit this machine's memory."""
    order = job.order
    seconds = max(float(order["seconds"] or 0) / int(order["rounds"]), _WINDOW if order["sustained_minutes"] else 0)
    runs = max(int(order["runs"] or 0) / int(order["rounds"]), seconds * _MOST_A_SECOND)
    return _LINE + math.ceil(runs) * _BYTES_A_RUN


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a runner ended."""

    done: bool
    """Whether it measured everything; False where the connection or the runner broke off, or it was stopped."""
    code: int | None
    """The process's exit code, negative for a signal."""
    said: str
    """The last of what it printed beside its events, in one line."""


def follow(
    process: subprocess.Popen[bytes],
    collector: Collector,
    *,
    stop: threading.Event,
    silence: float = 2 * PATIENCE,
    longest: int = _LINE,
    heartbeat: float = HEARTBEAT,
) -> Ended:
    """Gives every event of a running runner to the collector, keeps it alive, and ends it.

    Args:
        process: The runner, or the ssh that leads to it, with pipes for its standard streams.
        collector: Takes the events.
        stop: When set, the runner is ended.
        silence: Seconds without an event after which it counts as lost.
        longest: Bytes of a line; what is longer is no event.
        heartbeat: Seconds between signs of life.

    Returns:
        How it ended; the process is over by then.

    Raises:
        DeviceError: It printed what is no event.
    """
    stdin, stdout, stderr = process.stdin, process.stdout, process.stderr
    if stdin is None or stdout is None or stderr is None:
        raise DeviceError("a runner was started without pipes")
    lines: queue.Queue[bytes] = queue.Queue(_WAITING)
    chatter = _Chatter()
    threads = [
        threading.Thread(target=_read_lines, args=(stdout, lines.put, longest), daemon=True),
        threading.Thread(target=_read_lines, args=(stderr, chatter.add, _SAID), daemon=True),
    ]
    for thread in threads:
        thread.start()
    done = False
    last_beat = last_event = time.monotonic()
    try:
        while not stop.is_set() and time.monotonic() - last_event < silence:
            if time.monotonic() - last_beat >= heartbeat:
                last_beat = time.monotonic()
                # It may be gone already; its output ends then, too.
                with contextlib.suppress(OSError, ValueError):
                    stdin.write(b"\n")
                    stdin.flush()
            try:
                line = lines.get(timeout=min(0.1, heartbeat))
            except queue.Empty:
                continue
            if not line:
                break
            if not line.lstrip().startswith(b"{"):  # a login script's greeting, a native library's banner
                chatter.add(line)
                continue
            last_event = time.monotonic()
            event = read_event(line, collector.device)
            collector.add(event)
            if event["event"] == "done":
                done, silence = True, min(silence, _GOODBYE)
    finally:
        end(process)
        _dismiss(threads, lines)
    return Ended(done=done, code=process.returncode, said=last_lines(chatter.kept.decode(errors="replace")))


def read_event(line: bytes, device: str) -> dict[str, Any]:
    """One event, as far as it is one at all; ``Collector.add`` looks at what is in it.

    Raises:
        DeviceError: It is none.
    """
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        raise DeviceError(f"{device}: its runner printed {line[:100].decode(errors='replace')!r}, which is no event")
    return event


def last_lines(text: str) -> str:
    """The last three lines that say something, in one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return plain("; ".join(lines[-3:]), 400)


def end(process: subprocess.Popen[bytes], *, patience: float = 5.0) -> None:
    """Ends a runner: first by its lifeline, so that it can clean up, then by force."""
    if process.stdin is not None:
        with contextlib.suppress(OSError, ValueError):
            process.stdin.close()
    for force in (process.terminate, process.kill):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=patience)
        if process.returncode is None:
            force()
    process.wait()


def _dismiss(threads: Sequence[threading.Thread], lines: queue.Queue[bytes]) -> None:
    """Waits for the threads of a runner that is over; one of them may be waiting for room."""
    until = time.monotonic() + 5
    while any(thread.is_alive() for thread in threads) and time.monotonic() < until:
        with contextlib.suppress(queue.Empty):
            lines.get(timeout=0.01)


def _read_lines(stream: IO[bytes], put: Callable[[bytes], None], longest: int) -> None:
    """Runs in a thread of its own: a pipe cannot be waited for together with an event on every system.

    The last line is empty.
    """
    with contextlib.suppress(OSError, ValueError):
        while line := stream.readline(longest):
            put(line)
    put(b"")


class _Chatter:
    """The last of what was printed beside the events."""

    def __init__(self) -> None:
        self.kept = b""

    def add(self, line: bytes) -> None:
        self.kept = (self.kept + line)[-_SAID:]
