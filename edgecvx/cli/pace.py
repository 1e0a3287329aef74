"""How fast a validation was: for the terminal alone, since a report of the same pictures is the same on any day."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgecvx.results.figures import counted

if TYPE_CHECKING:
    from edgecvx.accuracy.validate import Progress


@dataclass(slots=True)
class Pace:
    """Counts the pictures that were run, not those that were known, and the time from the first word on."""

    clock: Callable[[], float] = time.perf_counter
    _ran: dict[int, int] = field(default_factory=dict)
    _begun: float | None = None
    _ended: float = 0.0

    def note(self, at: Progress) -> None:
        """Takes a word of a validation."""
        self._ended = self.clock()
        self._begun = self._ended if self._begun is None else self._begun
        self._ran[at.index] = at.done - at.known

    @property
    def sentence(self) -> str | None:
        """What a user is told; None where nothing had to be run."""
        ran, files = sum(self._ran.values()), sum(n > 0 for n in self._ran.values())
        seconds = self._ended - (self._begun or 0.0)
        if ran <= 0 or seconds <= 0:
            return None
        through = f" through {files} files" if files > 1 else ""
        return f"{counted(ran, 'picture', 'pictures')}{through} in {seconds:.1f} s: {ran / seconds:.3g} a second"
