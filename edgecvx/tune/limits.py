"""What the user asks of the file: limits that are kept or not, never weighed against each other."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from edgecvx.errors import UsageError

_FLAGS = {
    "max_drop": "--max-drop",
    "min_top1": "--min-top1",
    "max_p50": "--max-p50",
    "max_mb": "--max-mb",
    "max_memory": "--max-memory",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a file has to keep; None where nothing is asked."""

    max_drop: float | None = None
    """Points of top-1, in percent, that it may lose against its own model in FP32."""
    min_top1: float | None = None
    """Percent of pictures whose first class has to be right: compares models with each other."""
    max_p50: float | None = None
    """Milliseconds of the model alone, the median."""
    max_mb: float | None = None
    """Of the artifact, in 10^6 bytes."""
    max_memory: float | None = None
    """Of a process that holds it, at its peak, in 10^6 bytes."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value, flag = getattr(self, field.name), _FLAGS[field.name]
            if value is not None and not (0 <= value < math.inf):
                raise UsageError(f"{flag} {value} does not work: it must be a finite number from 0 on")
        if self.max_drop is not None and self.min_top1 is not None:
            raise UsageError("--max-drop and --min-top1 exclude each other: one compares with FP32, the other does not")
        for name in ("max_drop", "min_top1"):
            if (value := getattr(self, name)) is not None and value > 100:
                raise UsageError(f"{_FLAGS[name]} {value:g} does not work: it must be from 0 to 100")

    @property
    def named(self) -> dict[str, float]:
        """Those that are asked for, by the name of their option."""
        found = {_FLAGS[field.name]: getattr(self, field.name) for field in fields(self)}
        return {flag: value for flag, value in found.items() if value is not None}
