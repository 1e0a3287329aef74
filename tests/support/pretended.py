"""An engine that only pretends: frames and answers as a test wants them, for the server and its page."""

from __future__ import annotations

import io
import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from PIL import Image
from waiting import PATIENCE

from edgecvx.errors import UsageError
from edgecvx_live.broadcast import Engine as Shown
from edgecvx_live.mailbox import Newest
from edgecvx_live.server import Server
from edgecvx_live.values import Frame, Model, Pixels, Ranked, Reading, Result, SourceState, Status

LABELS = ("red star", "blue ring", "green disc", "yellow cross", "red square", "blue star", "green ring")


class Pretended:
    """What a server needs of an engine; frames come when ``step`` is called, or by themselves."""

    def __init__(self, *, labels: Sequence[str] = LABELS, size: tuple[int, int] = (240, 320)) -> None:
        self.frames: Newest[Frame] = Newest()
        self.results: Newest[Result] = Newest()
        self.labels = tuple(labels)
        self.size = size
        self.said: list[tuple[str, object]] = []
        """What viewers asked for."""
        self.paused = False
        self.active: tuple[str, ...] = ("fp32",)
        self.source = SourceState(kind="demo", name="drawn pictures", state="running", sentence="", frames=0, dropped=0)
        self.error: str | None = None
        self.halted = False
        """Whether no more frames come by themselves, as of a file that fails."""
        self.models = tuple(_model(name) for name in ("fp32", "int8"))
        self._number = 0
        self._ended = threading.Event()
        self._clock = threading.Thread(target=self._tick, daemon=True)

    def pause(self, paused: bool) -> None:
        self.said.append(("pause", paused))
        self.paused = paused

    def select(self, ids: Sequence[str]) -> None:
        self.said.append(("select", tuple(ids)))
        known = {model.id for model in self.models}
        if not set(ids) <= known:
            raise UsageError(f"unknown model {ids!r}")
        self.active = tuple(ids)

    def status(self) -> Status:
        return Status(
            source=replace(self.source, frames=self._number),
            models=self.models,
            active=self.active,
            paused=self.paused,
            error=self.error,
            celsius=51.4,
            memory_bytes=158_000_000,
            uptime_s=1.0,
            version="0.1.0",
        )

    def picture(self, result: Result | None = None, width: int | None = None) -> bytes | None:
        frame = self.frames.latest()
        if frame is None:
            return None
        content = io.BytesIO()
        Image.fromarray(frame.pixels).save(content, "JPEG")
        return content.getvalue()

    def step(self) -> Result:
        """One frame, and what is seen on it."""
        self._number += 1
        now = time.monotonic()
        frame = Frame(number=self._number, captured=now, capture_ms=4.0, pixels=_stripes(self.size, self._number))
        result = Result(
            frame=frame.number,
            capture_ms=4.0,
            waited_ms=1.0,
            age_ms=30.0,
            end_to_end_ms=34.0,
            fps=25.0,
            readings=tuple(self._reading(name) for name in self.active),
        )
        self.frames.put(frame)
        self.results.put(result)
        return result

    @contextmanager
    def running(self) -> Iterator[Pretended]:
        """Frames by themselves, until the end."""
        self._clock.start()
        try:
            yield self
        finally:
            self._ended.set()
            self._clock.join()

    def _tick(self) -> None:
        while not self._ended.wait(0.04):
            if not self.paused and not self.halted and self.source.state == "running":
                self.step()

    def _reading(self, model: str) -> Reading:
        first = (self._number // 25) % len(self.labels)
        order = [(first + i) % len(self.labels) for i in range(min(5, len(self.labels)))]
        shares = (0.5 + 0.4 * abs(math.sin(self._number / 10)), 0.06, 0.03, 0.02, 0.001)
        top = [
            Ranked(index=i, label=self.labels[i], probability=shares[rank], logit=0.0) for rank, i in enumerate(order)
        ]
        infer_ms = 20.0 if model == "int8" else 50.0
        return Reading(model=model, precision=model, top=tuple(top), prepare_ms=2.0, infer_ms=infer_ms)


def _model(name: str) -> Model:
    return Model(
        id=name,
        file=f"femto-{name}.tflite",
        precision=name,
        target="tflite",
        runtime="tflite",
        bytes=5_300_000,
        labels_count=len(LABELS),
    )


def _stripes(size: tuple[int, int], number: int) -> Pixels:
    """A picture that tells one frame from the next."""
    row = (np.arange(size[1]) * 2 + number * 8).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(np.stack([row, row[::-1], row // 2], axis=-1), (*size, 3)))


@contextmanager
def served(engine: Shown, *, port: int = 0, token: str | None = None, viewers: int = 32) -> Iterator[Server]:
    """The real server in front of an engine, on a free port of this machine."""
    server = Server(engine, port=port, token=token, viewers=viewers)
    thread = threading.Thread(target=server.run, name="server")
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join(PATIENCE)
        assert not thread.is_alive(), "the server does not end"
