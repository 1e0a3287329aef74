"""What measuring took: files that were written, pictures that went through files, turns, and the seconds of each."""

from __future__ import annotations

import contextlib
import functools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import edgecvx
from edgecvx.data import demo

KEPT = 8192
"""Drawn pictures that are kept: drawing one takes longer than most files take to answer it."""


@dataclass(slots=True)
class Counts:
    """Of everything that was asked of ``edgecvx`` meanwhile."""

    files: int = 0
    pictures: int = 0
    """Of every file together."""
    turns: int = 0
    """Likewise."""
    seconds: dict[str, float] = field(default_factory=dict)
    _answered: dict[str, int] = field(default_factory=dict)

    @property
    def all_seconds(self) -> float:
        """Of writing, answering and timing together."""
        return sum(self.seconds.values())

    def wrote(self, found: Any, asked: dict[str, Any]) -> None:
        """Takes an export."""
        self.files += len(found.artifacts)

    def validated(self, found: Any, asked: dict[str, Any]) -> None:
        """Takes a validation: a picture that a file answered before costs nothing."""
        for outcome in found.artifacts:
            before = self._answered.get(outcome.identity.sha256, 0)
            self._answered[outcome.identity.sha256] = max(before, outcome.pictures)
            self.pictures += max(0, outcome.pictures - before)

    def timed(self, found: Any, asked: dict[str, Any]) -> None:
        """Takes a benchmark."""
        self.turns += asked["rounds"] * sum(len(device.measured) for device in found.devices)

    def add(self, other: Counts) -> None:
        """Takes what somebody else counted."""
        self.files, self.pictures, self.turns = (
            self.files + other.files,
            self.pictures + other.pictures,
            self.turns + other.turns,
        )
        for what, seconds in other.seconds.items():
            self.seconds[what] = self.seconds.get(what, 0.0) + seconds

    def save(self, path: Path) -> None:
        """Adds it to what is in a file."""
        total = load(path)
        total.add(self)
        kept = {"files": total.files, "pictures": total.pictures, "turns": total.turns, "seconds": total.seconds}
        path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def load(path: Path) -> Counts:
    """What is in a file; nothing where there is none."""
    return Counts(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else Counts()


@contextlib.contextmanager
def counted() -> Iterator[Counts]:
    """Counts what is asked of ``edgecvx`` while it lasts."""
    counts = Counts()
    takes = {"export": counts.wrote, "validate": counts.validated, "benchmark": counts.timed}

    def counting(what: str) -> Any:
        asked_for = getattr(edgecvx, what)

        def call(*args: Any, **kwargs: Any) -> Any:
            began = time.monotonic()
            found = asked_for(*args, **kwargs)
            counts.seconds[what] = counts.seconds.get(what, 0.0) + time.monotonic() - began
            takes[what](found, kwargs)
            return found

        return call

    with contextlib.ExitStack() as stack:
        for what in takes:
            stack.enter_context(patch.object(edgecvx, what, counting(what)))
        yield counts


@contextlib.contextmanager
def drawn_once() -> Iterator[None]:
    """While this lasts, what was drawn lately is not drawn again for the next file."""
    with patch.object(demo, "picture", functools.lru_cache(maxsize=KEPT)(demo.picture)):
        yield
