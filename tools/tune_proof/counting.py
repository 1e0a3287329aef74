"""What measuring took: files that were written, pictures that went through files, and turns of files."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
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
    _answered: dict[str, int] = field(default_factory=dict)

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

    def kept(self) -> dict[str, int]:
        """As it is written."""
        return {"files": self.files, "pictures": self.pictures, "turns": self.turns}


@contextlib.contextmanager
def counted() -> Iterator[Counts]:
    """Counts what is asked of ``edgecvx`` while it lasts."""
    counts = Counts()
    takes = {"export": counts.wrote, "validate": counts.validated, "benchmark": counts.timed}

    def counting(what: str) -> Any:
        asked_for = getattr(edgecvx, what)

        def call(*args: Any, **kwargs: Any) -> Any:
            found = asked_for(*args, **kwargs)
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
