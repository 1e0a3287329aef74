"""One artifact, kept running: opened when it is chosen, opened again when its native code dies.

The runtime lives in a process of its own (``edgecvx.runtimes.isolated``), so what dies is that process. It is opened
again at once, and nobody needs to know. When it happens again soon, it is told and tried with growing pauses, and
after ``GIVE_UP`` deaths left alone until somebody chooses it anew: a file that crashes its runtime each time would
otherwise keep the board busy with opening it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgecvx.data.preprocess import prepare
from edgecvx.errors import EdgecvxError, RuntimeFailedError
from edgecvx.manifest import Manifest
from edgecvx.runtimes.artifact import ranked, softmax
from edgecvx.runtimes.logits import logits_of
from edgecvx.spec import PreprocessSpec, TensorSpec
from edgecvx_live.smoothing import Smoother
from edgecvx_live.values import Frame, Model, Reading

TOP = 5
GIVE_UP = 5
"""Deaths, less than ``STEADY`` readings apart, after which a file is left alone."""
STEADY = 20
"""Readings after which earlier deaths are forgotten."""
_LONGEST_PAUSE = 30.0


class Opened(Protocol):
    """What is needed of ``edgecvx.runtimes.artifact.Artifact``."""

    @property
    def manifest(self) -> Manifest:
        """What the file takes and returns."""
        ...

    def run(self, batch: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
        """Runs one batch."""
        ...

    def close(self) -> None:
        """Frees everything."""
        ...


Load = Callable[[Path], Opened]


class Prepared:
    """A frame as the files want it; two that want the same share the work."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self._made: dict[tuple[PreprocessSpec, TensorSpec], tuple[NDArray[Any], float]] = {}

    def batch(self, manifest: Manifest) -> tuple[NDArray[Any], float]:
        """The batch, and the milliseconds that making it took."""
        key = (manifest.model.preprocess, manifest.input)
        if key not in self._made:
            started = time.perf_counter()
            one = prepare(self.frame.pixels, *key)
            batch = np.repeat(one, manifest.input.shape[0], axis=0) if manifest.input.shape[0] > 1 else one
            self._made[key] = batch, (time.perf_counter() - started) * 1e3
        return self._made[key]


class Lane:
    """One artifact and its smoothed answers; used by the inference thread alone, but for ``sentence``."""

    def __init__(self, model: Model, path: Path, load: Load, smoothing: float) -> None:
        self.model = model
        self.sentence: str | None = None
        """What is wrong, for people; None while it works."""
        self._path, self._load = path, load
        self._smoother = Smoother(smoothing)
        self._opened: Opened | None = None
        self._deaths = self._good = 0
        self._not_before = 0.0

    @property
    def is_open(self) -> bool:
        """Whether it holds a runtime."""
        return self._opened is not None

    def open(self) -> bool:
        """Opens the file unless it is open or must wait; returns whether it is open."""
        if self._opened is None and time.monotonic() >= self._not_before:
            try:
                self._opened = self._load(self._path)
            except EdgecvxError as error:
                self._failed(str(error))
        return self.is_open

    def read(self, prepared: Prepared, *, cut: bool) -> Reading | None:
        """What the file says about a frame; None when it could not be asked."""
        if self._opened is None:
            return None
        manifest = self._opened.manifest
        try:
            batch, prepare_ms = prepared.batch(manifest)
            started = time.perf_counter()
            (logits,) = logits_of(manifest, self._opened.run(batch))
        except RuntimeFailedError as error:
            self.close()
            self._failed(str(error))
            return None
        except EdgecvxError as error:  # this picture cannot be prepared; the next one may
            self.sentence = str(error)
            return None
        infer_ms = (time.perf_counter() - started) * 1e3
        if not np.isfinite(logits).all():  # one NaN would stay in the average, and an answer of NaN is none
            self.sentence = f"{self.model.id} answers NaN or infinity: its numbers overflow here; try another precision"
            return None
        self._worked()
        if cut:
            self._smoother.reset()
        average = self._smoother.update(softmax(logits), prepared.frame.captured)
        return Reading(
            model=self.model.id,
            precision=self.model.precision,
            top=ranked(np.argsort(-average, kind="stable")[:TOP], average, logits, manifest.model.labels),
            prepare_ms=prepare_ms,
            infer_ms=infer_ms,
        )

    def close(self) -> None:
        """Frees the runtime."""
        opened, self._opened = self._opened, None
        self._smoother.reset()
        if opened is not None:
            opened.close()

    def forgive(self) -> None:
        """Forgets earlier deaths: somebody wants it tried."""
        self._deaths, self._not_before, self.sentence = 0, 0.0, None

    def _worked(self) -> None:
        self._good += 1
        if self._deaths and self._good >= STEADY:
            self._deaths = 0
        if self._deaths < 2:
            self.sentence = None

    def _failed(self, why: str) -> None:
        self._deaths, self._good = self._deaths + 1, 0
        if self._deaths == 1:
            return
        pause = min(_LONGEST_PAUSE, 2.0 ** (self._deaths - 2))
        what = f"it is opened again in {pause:.0f} s"
        if self._deaths >= GIVE_UP:
            pause, what = float("inf"), "it is left alone now; choose it again to try once more"
        self._not_before = time.monotonic() + pause
        self.sentence = f"{self.model.id}: {' '.join(why.split())} ({self._deaths} times in a row; {what})"
