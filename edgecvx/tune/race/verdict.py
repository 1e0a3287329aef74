"""The honest ends of a race: decided, undecided, impossible; each with its sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgecvx.tune.race.limits import LimitKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """One file keeps all limits, and nothing that may keep them is better."""

    kind: Literal["decided"] = "decided"
    winner: str
    tied: tuple[str, ...]
    """Files that keep the limits too and are neither better nor worse by what anybody would change the file for."""
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Undecided:
    """What was measured does not tell."""

    kind: Literal["undecided"] = "undecided"
    leader: str | None
    """The best by what is known."""
    between: tuple[str, ...]
    """The two files, or the file and the limit, between which it is open."""
    pictures: int | None
    """About how many more would decide, each through both; None where it does not take pictures, or none are enough."""
    minutes: float | None
    """About how many more would decide."""
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Impossible:
    """No file keeps all limits."""

    kind: Literal["impossible"] = "impossible"
    closest: str | None
    """What comes closest; None where not even that was measured."""
    binding: tuple[LimitKind, ...]
    """Limits without any one of which there would be a file."""
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """There was no limit: the front is what was asked for."""

    kind: Literal["front"] = "front"
    front: tuple[str, ...]
    """Files that nothing beats in one of time and answers without losing in the other, the fastest first."""
    sentence: str


Verdict = Decided | Undecided | Impossible | Drawn
