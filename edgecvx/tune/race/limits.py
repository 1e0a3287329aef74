"""What the file has to keep to, and by what the best of those that do is chosen."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from edgecvx.errors import UsageError

LimitKind = Literal["max_drop", "min_top1", "max_p50", "max_mb", "max_memory"]
Objective = Literal["fastest", "most right"]

FASTER, BETTER = 0.02, 0.005
"""Differences below which nobody changes the file: a fiftieth of the time, half a point of top-1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a user can live with; None for no limit."""

    max_drop: float | None = None
    """Percentage points of top-1 below the same model in FP32 PyTorch, at the size it was trained for."""
    min_top1: float | None = None
    """Percent of the pictures that have to be right."""
    max_p50: float | None = None
    """Milliseconds of the model alone."""
    max_mb: float | None = None
    """Of the file."""
    max_memory: float | None = None
    """MB that a process which opens and runs the file may ever hold."""

    def __post_init__(self) -> None:
        if self.max_drop is not None and self.min_top1 is not None:
            raise UsageError(
                "--max-drop and --min-top1 exclude each other: one says what may be lost, one what is left"
            )
        if self.max_drop is not None and not 0 <= self.max_drop <= 100:
            raise UsageError(f"--max-drop {self.max_drop:g} does not work: it is in percentage points, from 0 to 100")
        if self.min_top1 is not None and not 0 < self.min_top1 <= 100:
            raise UsageError(f"--min-top1 {self.min_top1:g} does not work: it is in percent, above 0 and at most 100")
        for name in ("max_p50", "max_mb", "max_memory"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise UsageError(f"--{name.replace('_', '-')} {value:g} does not work: it must be positive")

    @property
    def objective(self) -> Objective:
        """Time that was granted is used: within it the most right file wins. Where only a loss was, the fastest."""
        asks_for_accuracy = self.max_drop is not None or self.min_top1 is not None
        return "fastest" if asks_for_accuracy and self.max_p50 is None else "most right"

    @property
    def decides(self) -> bool:
        """Whether there is anything to decide; without a limit the whole front is drawn."""
        return any(value is not None for value in self.named.values())

    @property
    def named(self) -> dict[LimitKind, float | None]:
        """Each limit by its name."""
        return {
            "max_drop": self.max_drop,
            "min_top1": self.min_top1,
            "max_p50": self.max_p50,
            "max_mb": self.max_mb,
            "max_memory": self.max_memory,
        }

    def only(self, kind: LimitKind) -> Limits:
        """This one limit."""
        return replace(Limits(), **{kind: self.named[kind]})

    def without(self, kind: LimitKind) -> Limits:
        """All the others."""
        return replace(self, **{kind: None})


def in_words(kind: LimitKind, limit: float) -> str:
    """A limit, as a sentence says it."""
    forms: dict[LimitKind, str] = {
        "max_drop": "at most {:g} " + ("point" if limit == 1 else "points") + " of top-1 lost",
        "min_top1": "at least {:g}% right",
        "max_p50": "p50 of at most {:g} ms",
        "max_mb": "a file of at most {:g} MB",
        "max_memory": "at most {:g} MB of memory",
    }
    return forms[kind].format(limit)
