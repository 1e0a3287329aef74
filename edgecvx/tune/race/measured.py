"""What a race measures, and who measures it: the seam at which tests plant times and answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Rights = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What the model of stages b to d says of a file; None where it says nothing."""

    ms: float | None = None
    drop: float | None = None
    """A fraction of the pictures; positive is a loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """A file that races."""

    name: str
    """Unique within a race."""
    bytes: int
    predicted: Prediction = field(default_factory=Prediction)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Turns of one file."""

    rounds: Mapping[int, float]
    """Round -> the median of its turn, in milliseconds. Rounds that two files share lay side by side, and no number
    comes twice in a race."""
    least: Mapping[int, float] = field(default_factory=dict)
    """Round -> the fastest run of its turn: what something else on the machine took from the others is not in it."""
    peak_bytes: int | None = None
    """The most a process held that did nothing but open and run it."""
    error: str | None = None
    emulated: str | None = None
    """The emulator it ran in: its times say nothing about a device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Which pictures were got right, from the first on."""

    right: Rights
    """By the file."""
    reference: Rights
    """By the same model in FP32 PyTorch, at the size it was trained for, on the same pictures."""
    error: str | None = None


class Measurer(Protocol):
    """Who bakes the files, runs them and times them."""

    @property
    def most_pictures(self) -> int:
        """How many pictures there are that no earlier stage saw."""

    def bench(self, names: Sequence[str], rounds: int) -> Mapping[str, Timing]:
        """So many more rounds, all of these files in turn."""

    def validate(self, name: str, pictures: int) -> Answers:
        """The answers on the first so many pictures; every file gets the same ones."""


@dataclass(slots=True, kw_only=True)
class Standing:
    """A file, and all that is known of it by now."""

    entrant: Entrant
    rounds: dict[int, float] = field(default_factory=dict)
    least: dict[int, float] = field(default_factory=dict)
    peak_bytes: int | None = None
    answers: Answers | None = None
    emulated: str | None = None
    error: str | None = None

    @property
    def name(self) -> str:
        """Of the file."""
        return self.entrant.name

    @property
    def ms(self) -> float | None:
        """The median of its turns."""
        return float(np.median(list(self.rounds.values()))) if self.rounds else None

    @property
    def top1(self) -> float | None:
        """The part it got right."""
        return float(self.answers.right.mean()) if self.answers is not None and len(self.answers.right) else None

    @property
    def drop(self) -> float | None:
        """The part lost against its reference."""
        if self.answers is None or not len(self.answers.right):
            return None
        return float(self.answers.reference.mean() - self.answers.right.mean())

    def add(self, timing: Timing) -> None:
        """Takes what a bench gave."""
        self.rounds.update(timing.rounds)
        self.least.update(timing.least or timing.rounds)
        self.peak_bytes = max(filter(None, (self.peak_bytes, timing.peak_bytes)), default=None)
        self.emulated, self.error = timing.emulated or self.emulated, timing.error or self.error

    def take(self, answers: Answers) -> None:
        """Takes what a validation gave."""
        self.answers, self.error = answers, answers.error or self.error
