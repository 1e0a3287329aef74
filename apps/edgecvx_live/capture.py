"""The capture thread: opens the source, passes on every frame, and when it is lost opens it again, for ever.

A camera on a loose plug, a network camera that is restarted, a board that boots faster than its camera: all of them
end as a state and a sentence for whoever looks, and as pictures again when the camera is back.
"""

from __future__ import annotations

import threading
import time

from edgecvx.errors import EdgecvxError
from edgecvx_live.mailbox import Newest
from edgecvx_live.sources.base import Source, SourceEndedError, SourceMissingError
from edgecvx_live.values import Frame, State

PAUSES = (0.5, 1.0, 2.0, 5.0)
"""Seconds before each further attempt; the last one for all after it."""


class Capture:
    """Moves frames from a source into a mailbox until it is stopped."""

    def __init__(self, source: Source, frames: Newest[Frame], *, pauses: tuple[float, ...] = PAUSES) -> None:
        self._source, self._mailbox, self._pauses = source, frames, pauses
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
        self._condition: tuple[State, str] = ("starting", "")
        self._frames = 0

    @property
    def condition(self) -> tuple[State, str]:
        """The state, and what is wrong and what to do."""
        return self._condition

    @property
    def frames(self) -> int:
        """How many arrived."""
        return self._frames

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stops the source and the thread."""
        self._stopping.set()
        self._source.close()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            before = self._frames
            try:
                self._source.open()
                while not self._stopping.is_set():
                    self._pass_on()
            except SourceEndedError as error:
                self._condition = ("ended", str(error))
                break
            except (EdgecvxError, OSError) as error:
                state: State = "missing" if isinstance(error, SourceMissingError) else "lost"
                self._condition = (state, " ".join(str(error).split()))
            finally:
                self._source.close()
            failures = 0 if self._frames > before else failures + 1
            self._stopping.wait(self._pauses[min(failures, len(self._pauses) - 1)])

    def _pass_on(self) -> None:
        picture = self._source.read()
        frame = Frame(
            number=self._frames, captured=time.monotonic(), capture_ms=picture.capture_ms, pixels=picture.pixels
        )
        self._frames += 1
        self._condition = ("running", "")
        self._mailbox.put(frame)
