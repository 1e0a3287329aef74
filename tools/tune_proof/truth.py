"""What measuring everything says of files, and what of that is certain: 95% intervals of times, of answers, of both.

A search is not wrong because a figure of another day differs by a hair. It is wrong where no value of an interval would
make it right.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from enumeration import Known
from numpy.typing import NDArray

from edgecvx.results.accuracy import Interval
from edgecvx.results.intervals import paired_interval
from edgecvx.results.statistics import hodges_lehmann
from edgecvx.tune.race.limits import BETTER, FASTER, LimitKind, Limits
from edgecvx.tune.race.measured import Answers
from edgecvx.tune.space import Candidate


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Everything that was measured, as figures with intervals."""

    known: Known

    @property
    def names(self) -> list[str]:
        """Of all files."""
        return list(self.known.candidates)

    def only(self, targets: Iterable[str]) -> Truth:
        """The files for some targets."""
        left = {n: c for n, c in self.known.candidates.items() if c.target in set(targets)}
        return Truth(known=replace(self.known, candidates=left))

    def on(self, pictures: NDArray[np.int64]) -> Truth:
        """The same, judged by some of the pictures."""
        answers = {
            n: Answers(right=a.right[pictures], reference=a.reference[pictures]) for n, a in self.known.answers.items()
        }
        return Truth(known=replace(self.known, answers=answers))

    def name(self, candidate: Candidate) -> str:
        """A candidate's name here; a mixture that comes to a plain file has that one's."""
        alone = replace(candidate, threads=None)
        if alone.key in self.known.same:
            return self.known.same[alone.key]
        return self._by_key[alone.key]

    @functools.cached_property
    def _by_key(self) -> dict[str, str]:
        return {replace(c, threads=None).key: n for n, c in self.known.candidates.items()}

    # Figures

    @property
    def pictures(self) -> int:
        """That every file answered."""
        return len(next(iter(self.known.answers.values())).right)

    def ms(self, name: str) -> float:
        """The median of its turns."""
        return float(np.median(list(self.known.timings[name].rounds.values())))

    def ms_interval(self, name: str) -> Interval:
        """95%, over its turns."""
        return _interval(np.log(list(self.known.timings[name].rounds.values())))

    def top1(self, name: str) -> float:
        """The part it gets right."""
        return float(self.known.answers[name].right.mean())

    def drop(self, name: str) -> float:
        """The part lost against FP32 at the network's own size."""
        answers = self.known.answers[name]
        return float(answers.reference.mean() - answers.right.mean())

    def change(self, name: str, against: str | None = None) -> Interval:
        """Of top-1 against another file, or against FP32 at the network's own size; 95%, negative is a loss."""
        answers = self.known.answers[name]
        other = answers.reference if against is None else self.known.answers[against].right
        lost, gained = int((other & ~answers.right).sum()), int((~other & answers.right).sum())
        return paired_interval(lost, gained, len(other))

    def ratio(self, of: str, against: str) -> Interval:
        """How long one takes against another; 95%. Each was timed beside the first file, turn by turn."""
        a, b = self._beside_first[of], self._beside_first[against]
        middle, half = a[0] - b[0], math.hypot(a[1], b[1]) if of != against else 0.0
        return Interval(low=math.exp(middle - half), high=math.exp(middle + half))

    @functools.cached_property
    def _beside_first(self) -> dict[str, tuple[float, float]]:
        first = next(iter(self.known.timings.values())).rounds
        found = {}
        for name, timing in self.known.timings.items():
            logs = np.log([ms / first[r] for r, ms in timing.rounds.items() if r in first])
            middle, low, high = _middle(logs)
            found[name] = middle, (high - low) / 2
        return found

    # What is certain

    def surely_beaten(self, name: str) -> str | None:
        """What is certainly faster than a file, and certainly more often right."""
        beats = (n for n in self.names if self.ratio(n, name).high < 1 and self.change(n, name).low > 0)
        return next(beats, None)

    def surely_missing(self, front: Sequence[str]) -> list[str]:
        """Files that are certainly better than every one of a front, by more than anybody minds."""
        return [n for n in self.names if all(self._offers_more(n, f) for f in front)]

    def _offers_more(self, name: str, than: str) -> bool:
        return self.ratio(name, than).high < 1 / (1 + FASTER) or self.change(name, than).low > BETTER

    def front(self) -> list[str]:
        """What nothing beats by the figures alone, the fastest first."""
        best, found = -1.0, []
        for name in sorted(self.names, key=lambda n: (self.ms(n), -self.top1(n))):
            if self.top1(name) > best:
                best = self.top1(name)
                found.append(name)
        return found

    def surely_breaks(self, name: str, limits: Limits) -> list[LimitKind]:
        """The limits that a file certainly does not keep."""
        asked = [(kind, limit) for kind, limit in limits.named.items() if limit is not None]
        return [kind for kind, limit in asked if self._is_beyond(name, kind, limit)]

    def surely_keeps(self, name: str, limits: Limits) -> bool:
        """Whether a file certainly keeps them all."""
        return all(self._is_within(name, k, limit) for k, limit in limits.named.items() if limit is not None)

    def _is_beyond(self, name: str, kind: LimitKind, limit: float) -> bool:
        if kind == "max_p50":
            return self.ms_interval(name).low > limit
        return self.known.bytes[name] > limit * 1e6 if kind == "max_mb" else self.change(name).high < -limit / 100

    def _is_within(self, name: str, kind: LimitKind, limit: float) -> bool:
        if kind == "max_p50":
            return self.ms_interval(name).high <= limit
        return self.known.bytes[name] <= limit * 1e6 if kind == "max_mb" else self.change(name).low >= -limit / 100

    def surely_better(self, name: str, limits: Limits) -> list[str]:
        """Files that certainly keep the limits, and are certainly better by what they are asked for."""
        keeping = [n for n in self.names if n != name and self.surely_keeps(n, limits)]
        if limits.objective == "fastest":
            return [n for n in keeping if self.ratio(n, name).high < 1 / (1 + FASTER)]
        return [n for n in keeping if self.change(n, name).low > BETTER]


def _middle(logs: NDArray[np.float64]) -> tuple[float, float, float]:
    found = hodges_lehmann(logs)
    if found is None:
        raise SystemExit(f"{len(logs)} turns have no interval: time all files longer")
    return found


def _interval(logs: NDArray[np.float64]) -> Interval:
    _, low, high = _middle(logs)
    return Interval(low=math.exp(low), high=math.exp(high))
