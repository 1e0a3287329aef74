"""What passes between capture, inference and whoever watches; plain JSON by ``edgecvx.spec.to_json``.

Times are told in milliseconds, the moments behind them are ``time.monotonic``'s: a board without a clock of its own
sets its time while we run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgecvx.runtimes.artifact import Ranked

__all__ = ["Frame", "Model", "Pixels", "Ranked", "Reading", "Result", "SourceState", "State", "Status"]

Pixels = NDArray[np.uint8]
"""Height x width x RGB."""

State = Literal["starting", "running", "missing", "lost", "ended"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """One picture of the source. Has no JSON form."""

    number: int
    """Counts from 0 over the whole run, also over a camera that went and came back."""
    captured: float
    """``time.monotonic`` when the last of it had arrived."""
    capture_ms: float
    """From its first byte to its last, or what drawing or decoding it took."""
    pixels: Pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one artifact says about one frame."""

    model: str
    """A ``Model.id``."""
    precision: str
    top: tuple[Ranked, ...]
    """The five most likely classes, smoothed over time; each ``logit`` is this frame's own."""
    prepare_ms: float
    infer_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What is said about one frame: one reading, or two of the same frame side by side."""

    frame: int
    """``Frame.number``."""
    capture_ms: float
    """``Frame.capture_ms``."""
    waited_ms: float
    """From the frame's arrival to the moment inference took it up."""
    age_ms: float
    """From the frame's arrival to this result."""
    end_to_end_ms: float
    """From the frame's first byte to this result."""
    fps: float
    """Results per second, over the last two seconds or so; 0 for the first one."""
    readings: tuple[Reading, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceState:
    """How the camera, or whatever stands in for it, is doing."""

    kind: str
    """``v4l2``, ``picamera2``, ``demo``, …"""
    name: str
    """For people; holds no password."""
    state: State
    """``missing`` and ``lost`` are tried again by themselves, for ever; ``ended`` is not."""
    sentence: str
    """What is wrong and what to do; empty while all is well."""
    frames: int
    """How many arrived."""
    dropped: int
    """How many of them no model looked at, because a newer one was there: not a fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """An artifact that can be chosen. Every text in here comes from a file and may hold anything."""

    id: str
    file: str
    precision: str
    target: str
    runtime: str
    bytes: int
    labels_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Everything but the results."""

    source: SourceState
    models: tuple[Model, ...]
    active: tuple[str, ...]
    """The ids that were chosen: one, or two side by side. A chosen one that cannot run is named in ``error``."""
    paused: bool
    error: str | None
    """What is wrong with a chosen model, in one sentence; the source has its own."""
    celsius: float | None
    """The processor's temperature; None where there is no sensor."""
    memory_bytes: int
    """Of the whole process tree, pages that are shared counted once."""
    uptime_s: float
    version: str


def as_json(value: Result | Status) -> dict[str, Any]:
    """The plain JSON values that the page and ``--json-lines`` show."""
    from edgecvx.spec import to_json

    data: dict[str, Any] = to_json(value)
    return data
