"""Whose turn it is on a device: asked for before anything is copied there, given back after everything is removed.

What holds a machine is ``edgecvx.board.lease``, on that machine; here is the side that asks, waits, and keeps it alive.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import platform
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from edgecvx.board import lease
from edgecvx.errors import DeviceError
from edgecvx.latency.devices.base import HEARTBEAT, end
from edgecvx.latency.devices.programs import Stopped
from edgecvx.results.untrusted import plain

_POLL = 0.2
_ANSWER = 60.0
"""Seconds in which a device says whether it is free."""


class DeviceBusyError(DeviceError):
    """Somebody else measures there, and did so for longer than we wait."""


def program() -> str:
    """What is run on a board to hold it."""
    return Path(lease.__file__).read_text(encoding="utf-8")


def holder() -> str:
    """Who asks, for those who wait."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's user has no name
        user = "somebody"
    return f"{user}@{platform.node() or 'unknown'} (process {os.getpid()})"


@contextlib.contextmanager
def this_machine(*, limit: float, tell: Callable[[str], None], stop: threading.Event) -> Iterator[None]:
    """Holds this machine.

    Args:
        limit: Seconds to wait for whoever measures here.
        tell: Takes who that is.
        stop: When set, nobody waits any more.

    Raises:
        DeviceBusyError: They did not end in time.
        Stopped: The benchmark was stopped.
    """
    try:
        lock = lease.Lock(lease.TURN)
    except OSError as error:
        raise DeviceError(f"this machine cannot be leased: {error.filename}: {error.strerror}") from None
    try:
        deadline = time.monotonic() + limit
        while not lock.take(holder()):
            _check(stop, deadline, limit, "this machine", lock.holder())
            tell(lock.holder())
            stop.wait(_POLL)
        yield
    finally:
        lock.close()


@contextlib.contextmanager
def held_by(
    process: subprocess.Popen[bytes], *, device: str, limit: float, tell: Callable[[str], None], stop: threading.Event
) -> Iterator[None]:
    """Holds a device through a process on it that runs ``program``, or says what that says.

    Args:
        process: With pipes for its standard streams; ended at the end.
        device: As the user wrote it.
        limit: Seconds to wait for whoever measures there.
        tell: Takes who that is.
        stop: When set, nobody waits any more.

    Raises:
        DeviceBusyError: They did not end in time.
        DeviceError: The device cannot be leased.
        Stopped: The benchmark was stopped.
    """
    stdin, stdout = process.stdin, process.stdout
    if stdin is None or stdout is None:
        raise DeviceError("a lease was asked for without pipes")
    over = threading.Event()
    lines: queue.Queue[bytes] = queue.Queue()
    threads = [
        threading.Thread(target=_beat, args=(stdin, over), daemon=True),
        threading.Thread(target=_read, args=(stdout, lines), daemon=True),
    ]
    for thread in threads:
        thread.start()
    try:
        _wait(process, lines, device=device, limit=limit, tell=tell, stop=stop)
        yield
    finally:
        over.set()
        threads[0].join()
        end(process)


def _wait(
    process: subprocess.Popen[bytes],
    lines: queue.Queue[bytes],
    *,
    device: str,
    limit: float,
    tell: Callable[[str], None],
    stop: threading.Event,
) -> None:
    """Returns when the device is ours."""
    began, busy = time.monotonic(), ""
    while True:
        # Before it has said anything, it is the device that is slow, and nobody is waited for.
        _check(stop, began + (limit if busy else max(limit, _ANSWER)), limit, device, busy or "somebody")
        try:
            line = lines.get(timeout=_POLL)
        except queue.Empty:
            continue
        event, text = _event(line)
        if event == "held":
            return
        if event == "busy":
            busy = text
            tell(busy)
        if event == "refused" or not line:
            raise DeviceError(f"{device} cannot be leased: {text or _last_words(process)}")


def _check(stop: threading.Event, deadline: float, limit: float, device: str, busy: str) -> None:
    if stop.is_set():
        raise Stopped
    if time.monotonic() > deadline:
        raise DeviceBusyError(
            f"{device}: {busy} measures there, and two at once would time each other; waited {limit / 60:g} minutes "
            "(--wait MINUTES waits longer)"
        )


def _event(line: bytes) -> tuple[str, str]:
    """What the other side says; a login script's greeting says nothing."""
    try:
        told = json.loads(line)
        return str(told["event"]), plain(str(told["text"]), 200)
    except (ValueError, KeyError, TypeError, RecursionError):
        return "", ""


def _last_words(process: subprocess.Popen[bytes]) -> str:
    if process.stderr is None:
        return "it does not say why"
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=5)
    if process.returncode is None:
        return "it does not say why"
    said = process.stderr.read(4096).decode(errors="replace").split("\n")
    return plain(next((line for line in reversed(said) if line.strip()), "it does not say why"), 200)


def _beat(stdin: IO[bytes], over: threading.Event) -> None:
    """Signs of life, until the lease is given back."""
    with contextlib.suppress(OSError, ValueError):
        while not over.wait(HEARTBEAT):
            stdin.write(b"\n")
            stdin.flush()


def _read(stdout: IO[bytes], lines: queue.Queue[bytes]) -> None:
    with contextlib.suppress(OSError, ValueError):
        while line := stdout.readline(4096):
            lines.put(line)
    lines.put(b"")
