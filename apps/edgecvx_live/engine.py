"""Camera to answers: one thread captures, one infers, and whoever watches reads the newest of both.

Three rhythms that never wait for each other. Capture puts each frame into a mailbox of one place; inference takes the
newest when it is ready for one and puts its result into another; servers and terminals read that. A model that is
slower than the camera skips frames and works on a picture of now, not on a queue of the past.

The runtimes live in processes of their own, so a crash in native code, and most of the memory, is theirs. A file that
is not chosen is closed: on a board its memory is worth more than the second that opening it takes.
"""

from __future__ import annotations

import collections
import contextlib
import io
import itertools
import os
import statistics
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

import edgecvx
from edgecvx.errors import UsageError, one_of
from edgecvx.manifest import Manifest, locate, read_manifest
from edgecvx.spec import Task
from edgecvx.targets import TARGETS, get_target
from edgecvx_live import __version__
from edgecvx_live.capture import Capture
from edgecvx_live.lane import Lane, Load, Prepared
from edgecvx_live.machine import celsius, memory_bytes
from edgecvx_live.mailbox import Newest
from edgecvx_live.smoothing import CutDetector
from edgecvx_live.sources.base import Source
from edgecvx_live.values import Frame, Model, Reading, Result, SourceState, Status

SMOOTHING = 0.4
"""Time constant of the averages in seconds, where nothing is said."""
SIDE_BY_SIDE = 2
QUALITY = 80
_KEPT = 4
"""Frames of the last results that can still be shown; a page asks for one when it has got the result."""
_ENCODED = 16
"""Pictures that are kept encoded, for viewers who ask for the same ones."""
_RATE_WINDOW = 2.0
_MEMORY_AGE = 2.0
_REST = 0.25
"""Seconds without a newer frame after which a late one is answered, and other wishes are looked after."""
_PAST = 1.0
"""Seconds after which a frame is never started, or two inferences, if they take longer."""
_FRESH = 0.02
"""Seconds a frame may always have waited: what a busy system takes to wake a thread."""
_RECENT, _SKIPS = 15, 3
"""Frames by which their cost is known; frames skipped in a row for being late, before one is taken as it is."""
_CHEAPER = 0.8
"""What the next frame may cost of the cheapest recent one: how long a frame may wait is decided before its cost is."""
_HUNG = 30.0
"""Seconds on one frame from which it is told: a slow board takes two or three."""


class Engine:
    """Everything but the showing."""

    def __init__(
        self,
        artifacts: Sequence[Path | str],
        source: Source,
        *,
        threads: int | None = None,
        smoothing: float = SMOOTHING,
        load: Load | None = None,
    ) -> None:
        """Reads the manifests; opens nothing yet.

        Args:
            artifacts: Files ``edgecvx export`` wrote; the first one is active at the start.
            source: Where frames come from, see ``edgecvx_live.sources.open_source``.
            threads: Threads of each runtime; None for what the file's target recommends, or the runtime's own choice.
            smoothing: Time constant of the averages in seconds; 0 shows each frame's own answer.
            load: How a file is opened; ``edgecvx.load`` in a process of its own, if not said.

        Raises:
            ArtifactError: A file or its manifest is missing or damaged.
            UsageError: No artifact, or one that is no classifier.
        """
        if not artifacts:
            raise UsageError("name at least one file that edgecvx export wrote")
        opener: Load = load or (lambda path: edgecvx.load(path, threads=threads or recommended_threads(path)))
        self._lanes = {lane.model.id: lane for lane in _lanes(artifacts, opener, smoothing)}
        self._source = source
        self.frames: Newest[Frame] = Newest()
        """Every frame, as it is captured."""
        self.results: Newest[Result] = Newest()
        """What is said about them."""
        self._capture = Capture(source, self.frames)
        self._cuts = CutDetector()
        self._lock = threading.Condition()
        self._chosen: tuple[str, ...] = (next(iter(self._lanes)),)
        self._arranged: tuple[str, ...] = self._chosen
        self._paused = self._stopping = False
        self._taken = 0
        self._busy_since: float | None = None
        self._costs: collections.deque[float] = collections.deque(maxlen=_RECENT)
        self._skipped = 0
        self._shown: collections.deque[Frame] = collections.deque(maxlen=_KEPT)
        self._encoded: dict[tuple[int, int], bytes] = {}
        self._memory = (float("-inf"), 0)
        self._finished: collections.deque[float] = collections.deque()
        self._started = time.monotonic()
        self._thread = threading.Thread(target=self._infer, name="inference", daemon=True)

    # --- what a program does with it ---------------------------------------------------------------------------

    def start(self) -> None:
        """Starts capturing and inferring; returns at once."""
        self._started = time.monotonic()
        self._capture.start()
        self._thread.start()

    def stop(self) -> None:
        """Stops both and leaves no process behind; may be called twice."""
        with self._lock:
            self._stopping = True
            self._lock.notify_all()
        self.frames.close()
        self.results.close()
        self._capture.stop()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        if self._thread.is_alive():
            _end_runtimes()  # native code that hangs; its answer is the end of its process
            self._thread.join(timeout=5)

    def __enter__(self) -> Engine:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # --- what a user does --------------------------------------------------------------------------------------

    def pause(self, paused: bool) -> None:
        """Stops inferring, or goes on; frames keep coming."""
        with self._lock:
            self._paused = paused
            self._lock.notify_all()

    def select(self, ids: Sequence[str]) -> None:
        """Chooses the artifacts that look at the frames: one, or two side by side on the same frames.

        Raises:
            UsageError: An id is unknown or named twice, or there are none or more than two.
        """
        for name in ids:
            if name not in self._lanes:
                raise one_of("model", name, tuple(self._lanes))
        if not 1 <= len(ids) <= SIDE_BY_SIDE or len(set(ids)) != len(ids):
            raise UsageError(f"choose one model, or two different ones to see side by side, not {len(ids)}")
        with self._lock:
            self._chosen = tuple(ids)
            for name in ids:
                self._lanes[name].forgive()
            self._lock.notify_all()

    # --- what is shown -----------------------------------------------------------------------------------------

    def status(self) -> Status:
        """How everything is doing; cheap enough to ask once a second for each of many viewers."""
        with self._lock:
            chosen, paused = self._chosen, self._paused
        return Status(
            source=self.source_state(),
            models=tuple(lane.model for lane in self._lanes.values()),
            active=chosen,
            paused=paused,
            error=self.error(),
            celsius=celsius(),
            memory_bytes=self._memory_bytes(),
            uptime_s=time.monotonic() - self._started,
            version=__version__,
        )

    def source_state(self) -> SourceState:
        """How the source is doing."""
        state, sentence = self._capture.condition
        frames = self._capture.frames
        return SourceState(
            kind=self._source.kind,
            name=self._source.name,
            state=state,
            sentence=sentence,
            frames=frames,
            dropped=max(0, frames - self._taken),
        )

    def error(self) -> str | None:
        """What is wrong with the chosen models, in one sentence."""
        with self._lock:
            chosen = self._chosen
        told = [sentence for name in chosen if (sentence := self._lanes[name].sentence) is not None]
        since = self._busy_since
        if since is not None and time.monotonic() - since > _HUNG:
            told.append(f"the model has been at one frame for more than {_HUNG:.0f} s")
        return "; ".join(told) or None

    def picture(self, result: Result | None = None, width: int | None = None) -> bytes | None:
        """A frame as JPEG.

        Args:
            result: Whose frame; None for the newest there is. Only the last few results' frames are still here,
                for an older one it is the newest.
            width: Its width in pixels, never more than the frame's own; None for the frame's own.

        Returns:
            The file's content; None before the first frame.
        """
        frame = self.frames.latest()
        if result is not None:
            frame = next((kept for kept in tuple(self._shown) if kept.number == result.frame), frame)
        if frame is None:
            return None
        full = frame.pixels.shape[1]
        key = (frame.number, full if width is None else max(1, min(width, full)))
        encoded = self._encoded.get(key)
        if encoded is None:
            # Twenty viewers of the same frame share one encoding. Two that come at once may both make it: no harm.
            encoded = _jpeg(frame, key[1])
            recent = itertools.islice(reversed(self._encoded.items()), _ENCODED - 1)
            self._encoded = {**dict(reversed(list(recent))), key: encoded}
        return encoded

    # --- the inference thread ----------------------------------------------------------------------------------

    def _infer(self) -> None:
        serial, late = 0, None
        try:
            while self._may_go_on():
                self._arrange()
                got = self.frames.wait(serial, timeout=_REST)
                if self._interrupted():
                    continue
                if got is not None:
                    serial, frame = got
                    late = frame if self._is_late(frame) else None
                elif late is None:
                    continue
                else:  # no newer one came: a late answer is better than none
                    frame, late = late, None
                if late is not None:
                    self._skipped += 1
                elif not self._is_past(frame):
                    self._skipped = 0
                    self._look(frame)
        finally:
            for lane in self._lanes.values():
                lane.close()

    def _may_go_on(self) -> bool:
        """Waits while there is a pause; False at the end."""
        with self._lock:
            self._lock.wait_for(lambda: self._stopping or not self._paused)
            return not self._stopping

    def _interrupted(self) -> bool:
        with self._lock:
            return self._stopping or self._paused

    def _arrange(self) -> None:
        """Opens what is chosen, then closes what is not."""
        with self._lock:
            chosen = self._chosen
        if chosen != self._arranged:
            self._arranged = chosen
            self._costs.clear()
        for name in chosen:
            self._lanes[name].open()
        for name, lane in self._lanes.items():
            if name not in chosen:
                lane.close()

    def _is_late(self, frame: Frame) -> bool:
        """Whether a frame is better left for the next, which is about to come.

        One that has waited for longer than it takes would be older than two inferences when it is answered. Where
        frames are late time after time, one is taken all the same.
        """
        cheapest = min(self._costs, default=_PAST)
        return self._skipped < _SKIPS and time.monotonic() - frame.captured > max(_FRESH, _CHEAPER * cheapest)

    def _is_past(self, frame: Frame) -> bool:
        """Whether a frame is no picture of now any more: the camera has stopped."""
        return time.monotonic() - frame.captured > max(_PAST, 2 * self._usual())

    def _usual(self) -> float:
        """Seconds a frame takes."""
        return statistics.median(self._costs) if self._costs else _PAST

    def _look(self, frame: Frame) -> None:
        """One frame through every chosen artifact."""
        with self._lock:
            lanes = [self._lanes[name] for name in self._chosen]
        began = self._busy_since = time.monotonic()
        self._taken += 1
        cut, prepared = self._cuts.cut(frame.pixels), Prepared(frame)
        readings = [reading for lane in lanes if (reading := lane.read(prepared, cut=cut)) is not None]
        ended = time.monotonic()
        self._busy_since = None
        if readings:
            self._costs.append(ended - began)
            self._shown.append(frame)
            self.results.put(self._result(frame, began, ended, tuple(readings)))

    def _result(self, frame: Frame, began: float, ended: float, readings: tuple[Reading, ...]) -> Result:
        age_ms = (ended - frame.captured) * 1e3
        return Result(
            frame=frame.number,
            capture_ms=frame.capture_ms,
            waited_ms=(began - frame.captured) * 1e3,
            age_ms=age_ms,
            end_to_end_ms=frame.capture_ms + age_ms,
            fps=self._rate(ended),
            readings=readings,
        )

    def _rate(self, now: float) -> float:
        times = self._finished
        times.append(now)
        while len(times) > 2 and now - times[0] > _RATE_WINDOW:
            times.popleft()
        return (len(times) - 1) / (now - times[0]) if now > times[0] else 0.0

    def _memory_bytes(self) -> int:
        now = time.monotonic()
        if now - self._memory[0] > _MEMORY_AGE:
            self._memory = (now, memory_bytes())
        return self._memory[1]


def _lanes(artifacts: Sequence[Path | str], load: Load, smoothing: float) -> list[Lane]:
    lanes: list[Lane] = []
    taken: set[str] = set()
    for given in artifacts:
        path, _ = locate(Path(given))
        manifest = read_manifest(path)
        if manifest.task is not Task.CLASSIFY:
            raise UsageError(f"{path.name} returns {manifest.task.value}, not classes; export it with --task classify")
        name, count = path.name, 1
        while name in taken:  # the same file name in two folders
            count += 1
            name = f"{path.name} ({count})"
        taken.add(name)
        lanes.append(Lane(_model(name, manifest), path, load, smoothing))
    return lanes


def recommended_threads(path: Path) -> int | None:
    """How many threads the device a file was made for should use, never more than there are here; None if none is told.

    A format is no device and recommends nothing, and neither does a target this version does not know.
    """
    name = read_manifest(path).target
    wanted = get_target(name).threads if name in TARGETS else None
    return None if wanted is None else min(wanted, os.cpu_count() or 1)


def _model(name: str, manifest: Manifest) -> Model:
    return Model(
        id=name,
        file=manifest.artifact_name,
        precision=manifest.precision.value,
        target=manifest.target,
        runtime=manifest.runtime,
        bytes=sum(entry.bytes for entry in manifest.files),
        labels_count=manifest.model.num_classes,
    )


def _jpeg(frame: Frame, width: int) -> bytes:
    image = Image.fromarray(frame.pixels)
    if width != image.width:
        height = max(1, round(image.height * width / image.width))
        image = image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
    content = io.BytesIO()
    image.save(content, "JPEG", quality=QUALITY)
    return content.getvalue()


def _end_runtimes() -> None:
    """Kills the processes of runtimes that do not answer."""
    import psutil

    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            if any("edgecvx.runtimes.worker" in word for word in child.cmdline()):
                child.kill()
