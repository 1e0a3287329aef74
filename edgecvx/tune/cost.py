"""Stage (c): milliseconds per decision, fitted from whole files that were timed in turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgecvx.results.accuracy import Interval
from edgecvx.tune.space import Decision

Features = Mapping[str, float]
"""Term of the model -> how often a file has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One whole file, timed in turns with the reference file."""

    decisions: Mapping[str, str]
    ratios: tuple[float, ...]
    """Per round: its median over the reference's in the same round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One coefficient: what a file gains or loses each time it has this."""

    name: str
    ms: float
    interval: Interval | None
    """95%; None where the files leave nothing to estimate it from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """A file's time before it was measured."""

    ms: float
    interval: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CostModel:
    """Milliseconds as a sum of terms."""

    decisions: tuple[Decision, ...]
    reference: Mapping[str, str]
    """The decisions of the file all ratios are taken to."""
    reference_ms: float
    observations: tuple[Observation, ...]
    terms: tuple[Term, ...]

    def predict(self, decisions: Mapping[str, str]) -> Predicted:
        """Of any file of this model, size, target and threads."""
        raise NotImplementedError


def design(decisions: Sequence[Decision], *, spare: int = 3, seed: int = 0) -> tuple[Mapping[str, str], ...]:
    """The whole files to export and time: as few as tell all terms apart, and some to see how well that holds.

    The first is the reference.
    """
    raise NotImplementedError


def fit(
    decisions: Sequence[Decision],
    reference: Mapping[str, str],
    reference_ms: float,
    observations: Sequence[Observation],
) -> CostModel:
    """The model of what was timed; called again with more of it, a mended one."""
    raise NotImplementedError
