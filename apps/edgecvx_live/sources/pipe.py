"""A camera behind a child process that writes raw frames into a pipe.

Camera stacks are native code, drivers and hardware: they crash, and they hang in places from which no thread comes
back. In a process of its own each of them can be ended, and started again when the camera is there again. A frame is
width x height x 3 bytes and nothing around it; one that is cut short is thrown away.
"""

from __future__ import annotations

import collections
import contextlib
import fcntl
import math
import os
import select
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgecvx_live.sources.base import Picture, SourceEndedError, SourceLostError, SourceMissingError
from edgecvx_live.values import Pixels

FIRST = 15.0
"""Seconds the first frame may take: cameras warm up, network cameras wait for a whole picture."""
NEXT = 5.0
"""Seconds without a further frame after which a source counts as lost; one frame per second is slow, not lost."""
_POLITE = 2.0
"""Seconds a child has to let go of its camera before it is killed."""
_PIPE_BYTES = 1 << 20
_SAID_LINES = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """The child that writes the frames."""

    argv: Callable[[int], list[str]]
    """Its words, given the file descriptor to write to. They pass no shell."""
    advice: str
    """What to do when it gives no picture."""
    stdin: Path | None = None
    """A file it reads from, opened here so that its name is in no command line."""
    needs: Path | None = None
    """What must exist before it makes sense to start it."""
    absent: str = ""
    """What to do when that does not."""
    install: str = ""
    """How to get the program."""
    secrets: tuple[str, ...] = ()
    """Cut out of whatever the child says."""
    ends: bool = False
    """Whether it comes to an end by itself, as a video file does."""
    loop: bool = True
    """Whether it then starts over."""


class PipeSource:
    """Frames of a child process."""

    def __init__(
        self,
        kind: str,
        name: str,
        program: Program,
        size: tuple[int, int],
        *,
        first: float = FIRST,
        following: float = NEXT,
    ) -> None:
        self.kind, self.name = kind, name
        self._program, (self._width, self._height) = program, size
        self._first, self._following = first, following
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._stuck: subprocess.Popen[bytes] | None = None
        self._frames = self._chatter = -1
        self._said: collections.deque[str] = collections.deque(maxlen=_SAID_LINES)
        self._count = 0
        self._doomed = math.inf
        """When a child that has told an error should have ended: gst-launch has been seen to hang on its way out."""

    def open(self) -> None:
        """Starts the child."""
        self._closed.clear()
        self._count = 0
        if self._stuck is not None and self._stuck.poll() is None:
            raise SourceMissingError(
                f"{self.name} is held by process {self._stuck.pid}, which cannot be ended: its driver hangs; unplug "
                "the camera, or restart the board"
            )
        needs = self._program.needs
        if needs is not None and not needs.exists():
            raise SourceMissingError(f"there is no {needs}: {self._program.absent}")
        self._start()

    def read(self) -> Picture:
        """The next frame."""
        pixels = np.empty((self._height, self._width, 3), np.uint8)
        while True:
            started, complete = self._fill(pixels)
            if complete:
                self._count += 1
                return Picture(pixels=pixels, capture_ms=(time.monotonic() - started) * 1e3)
            self._over()

    def close(self) -> None:
        """Ends the child."""
        self._closed.set()
        with self._lock:
            self._end()

    # --- the child ---------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self._said.clear()
        self._doomed = math.inf
        frames, write_end = os.pipe()
        chatter, chatter_end = os.pipe()
        stdin: int = subprocess.DEVNULL
        try:
            with contextlib.suppress(OSError):  # fewer turns of reading a frame; a kernel that refuses is fine
                fcntl.fcntl(write_end, getattr(fcntl, "F_SETPIPE_SZ", 1031), _PIPE_BYTES)
            if self._program.stdin is not None:
                stdin = _opened(self._program.stdin)
            child = subprocess.Popen(
                self._program.argv(write_end),
                stdin=stdin,
                stdout=chatter_end,
                stderr=chatter_end,
                pass_fds=(write_end,),
                start_new_session=True,  # Ctrl-C is ours to pass on, and its own children end with it
            )
        except OSError as error:
            os.close(frames)
            os.close(chatter)
            what = self._program.install if isinstance(error, FileNotFoundError) else str(error)
            raise SourceMissingError(f"{self.kind} cannot be started: {what}") from None
        except BaseException:
            os.close(frames)
            os.close(chatter)
            raise
        finally:
            os.close(write_end)
            os.close(chatter_end)
            if stdin >= 0:
                os.close(stdin)
        with self._lock:
            self._child, self._frames, self._chatter = child, frames, chatter
            if self._closed.is_set():  # closed while we started it
                self._end()

    def _end(self) -> None:
        """Ends the child and closes what we hold of it. The caller holds the lock."""
        child, self._child = self._child, None
        if child is None:
            return
        for how in (signal.SIGINT, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, how)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(timeout=_POLITE)
                break
        else:  # a driver that hangs holds it in the kernel, where nothing ends it; we must not hang with it
            self._stuck = child
        for descriptor in (self._frames, self._chatter):
            if descriptor >= 0:
                os.close(descriptor)
        self._frames = self._chatter = -1

    # --- the pipe ----------------------------------------------------------------------------------------------

    def _fill(self, pixels: Pixels) -> tuple[float, bool]:
        """Reads one frame; returns when its first bytes came, and whether it came to its end."""
        view = memoryview(pixels.data).cast("B")
        done, started = 0, 0.0
        deadline = time.monotonic() + (self._following if self._count else self._first)
        while done < len(view):
            ready = self._wait(deadline)
            if "frames" in ready:
                started = started or time.monotonic()
                with self._lock:
                    got = os.readv(self._frames, [view[done:]]) if self._child is not None else 0
                if got == 0:
                    return started, False
                done += got
            if not ready:
                raise self._hung()
        return started, True

    def _wait(self, deadline: float) -> set[str]:
        """Which pipes have something; empty when the time is over. What the child says is taken in here."""
        while True:
            if self._closed.is_set() or self._child is None:
                raise SourceLostError(f"{self.name} was stopped")
            frames, chatter = self._frames, self._chatter
            left = min(deadline, self._doomed) - time.monotonic()
            watched = [frames, chatter] if chatter >= 0 else [frames]
            try:
                ready, _, _ = select.select(watched, [], [], max(0.0, min(left, 0.5)))
            except (OSError, ValueError):  # closed by another thread between two lines
                continue
            if chatter in ready:
                self._listen()
            if frames in ready:
                return {"frames"}
            if left <= 0:
                return set()

    def _listen(self) -> None:
        with self._lock:
            if self._chatter < 0:
                return
            data = os.read(self._chatter, 4096)
            if not data:
                os.close(self._chatter)
                self._chatter = -1
        lines = [line for part in data.decode(errors="replace").splitlines() if (line := part.strip())]
        if self._doomed == math.inf and any(line.startswith("ERROR") for line in lines):
            self._doomed = time.monotonic() + _POLITE
        self._said.extend(lines)

    # --- what went wrong ---------------------------------------------------------------------------------------

    def _over(self) -> None:
        """The child has closed its pipe: starts a video over, or says what happened."""
        with self._lock:
            child = self._child
        if child is None:
            raise SourceLostError(f"{self.name} was stopped")
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=_POLITE)
        while self._chatter >= 0 and select.select([self._chatter], [], [], 0)[0]:
            self._listen()
        finished = self._program.ends and child.returncode == 0 and self._count > 0
        with self._lock:
            self._end()
        if finished and not self._program.loop:
            raise SourceEndedError(f"{self.name} is over")
        if finished:
            self._count = 0  # a video that gives no frame the second time is missing, not an endless loop
            self._start()
            return
        raise self._stopped(self._reason() or f"it ended with exit code {child.returncode}")

    def _stopped(self, reason: str) -> Exception:
        if self._count and self._program.ends and not self._program.loop:  # damaged in the middle: not once more
            return SourceEndedError(f"{self.name} stopped: {reason}")
        if self._count:
            return SourceLostError(f"{self.name} stopped: {reason}")
        return SourceMissingError(f"{self.name} gives no picture: {reason} ({self._program.advice})")

    def _hung(self) -> Exception:
        if self._doomed < math.inf:
            return self._stopped(self._reason())
        if self._count:
            return SourceLostError(f"{self.name} has given no picture for {self._following:.0f} s")
        return SourceMissingError(
            f"{self.name} has given no picture within {self._first:.0f} s ({self._program.advice})"
        )

    def _reason(self) -> str:
        """What the child said first about its end: what comes after it follows from it."""
        said = [line for line in self._said if line.startswith(("ERROR", "WARNING: erroneous"))] or list(self._said)[
            -1:
        ]
        if not said:
            return ""
        where = "ERROR: from element "
        text = said[0].split(": ", 2)[-1] if said[0].startswith(where) else said[0].split(": ", 1)[-1]
        for secret in self._program.secrets:
            text = text.replace(secret, "…")
        return text[:200].rstrip(".")


def _opened(path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a named pipe must not hold us up
    except OSError as error:
        raise SourceMissingError(f"{path.name} cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise SourceMissingError(f"{path.name} is no file")
    return descriptor
