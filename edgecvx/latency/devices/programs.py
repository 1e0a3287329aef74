"""Programs of this machine that lead to a device (ssh, scp, adb): found, run, and ended with all they started."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from edgecvx.errors import DeviceError

MOST_SAID = 1 << 22
"""Bytes a program may print. The most that is asked for, a phone's properties, is a tenth of a megabyte."""
_POLL = 0.1


class Stopped(Exception):  # noqa: N818  # no error: the user asked for it
    """The benchmark was stopped."""


def program(name: str, device: str, package: str) -> str:
    """Where a program of the system is.

    Args:
        name: Its name.
        device: What it is needed for.
        package: What it comes with.

    Raises:
        DeviceError: It is nowhere.
    """
    found = shutil.which(name)
    if found is None:
        raise DeviceError(f"{device}: there is no {name} on this machine's PATH; install {package}")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """How a program ended, and what it printed."""

    code: int
    out: str
    err: str
    late: bool = False
    """Whether it took too long and was ended."""

    @property
    def lines(self) -> tuple[str, ...]:
        """Of its output."""
        return tuple(self.out.splitlines())

    @property
    def said(self) -> str:
        """The last line of its standard error."""
        return last_line(self.err)


def complete(
    command: Sequence[str],
    *,
    device: str | None,
    stop: threading.Event,
    limit: float,
    stdin: IO[bytes] | None = None,
    env: Mapping[str, str] | None = None,
) -> Completed:
    """Runs a program to its end.

    Args:
        command: Its words.
        device: Whom it speaks to, for messages; None where the caller says itself what was wrong.
        stop: When set, it is ended.
        limit: Seconds it may take.
        stdin: What it reads.
        env: Instead of this process's.

    Raises:
        DeviceError: It took too long, or printed without end.
        Stopped: The benchmark was stopped.
    """
    late = endless = False
    deadline = time.monotonic() + limit
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=out,
            stderr=err,
            env=env,
            start_new_session=True,  # Ctrl-C is for this process, which then ends the others in order
        )
        try:
            while process.poll() is None and not (late or endless):
                if stop.is_set():
                    raise Stopped
                late = time.monotonic() > deadline
                endless = os.fstat(out.fileno()).st_size + os.fstat(err.fileno()).st_size > MOST_SAID
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=_POLL)
        finally:
            kill(process)
        if device is not None and late:
            raise DeviceError(f"{device}: no answer within {limit:.0f} s; it was given up")
        if device is not None and endless:
            raise DeviceError(f"{device}: a command there prints without end, or a login script before it")
        return Completed(code=process.returncode, out=_read(out), err=_read(err), late=late)


def kill(process: subprocess.Popen[bytes]) -> None:
    """Ends a program that leads a process group of its own, if it still runs, with all it has started.

    What scp or a script has started would go on without it, and go on writing into the file it was given.
    """
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def last_line(text: str) -> str:
    """The last line that says something, without what would steer a terminal."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "".join(c if c.isprintable() else " " for c in lines[-1][:300]) if lines else ""


def _read(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read(MOST_SAID).decode(errors="replace")
