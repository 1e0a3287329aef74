"""Stage (a): what is known of a file before anything is measured."""

from __future__ import annotations

from dataclasses import dataclass

from edgecvx.spec import ArchSpec
from edgecvx.tune.race.limits import Limits
from edgecvx.tune.space import Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """What a file takes at least."""

    bytes: int
    macs: int
    memory: int
    """Bytes of a process: the file, and the largest two tensors that have to be there at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A candidate that needs no measuring, and why."""

    candidate: Candidate
    limit: str
    """``--max-mb``, ``--max-memory``, ``--max-p50``."""
    sentence: str


def bound_of(arch: ArchSpec, classes: int, candidate: Candidate) -> Bound:
    """Of a candidate of a model with this architecture."""
    raise NotImplementedError


def hopeless(candidate: Candidate, bound: Bound, limits: Limits, *, macs_per_ms: float = 0.0) -> Dropped | None:
    """Why a candidate cannot keep a limit; None where it might.

    Args:
        candidate: The candidate.
        bound: What it takes at least.
        limits: What is asked.
        macs_per_ms: The most its device does with its threads; 0 where nobody knows.
    """
    raise NotImplementedError
