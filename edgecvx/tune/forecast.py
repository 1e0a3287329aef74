"""What is to be expected of files that nobody measured, from those that somebody did.

Time grows with the multiply-accumulates, along a line for each target, precision and number of threads, or where one
file alone was timed as it does in another precision; what a size costs in answers is that of the network in FP32 at
that size. Whatever is measured later mends both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgecvx.spec import Precision
from edgecvx.tune.race.limits import BETTER, FASTER, Limits
from edgecvx.tune.space import Candidate

Kind = tuple[str, Precision, int | None]
"""Target, precision, threads."""
SLOWER = 0.15
"""Of a predicted time: nearer to its limit than this, a file is measured rather than left out."""
WORSE = 2.0
"""Standard errors of a predicted drop, likewise."""


@dataclass(slots=True, kw_only=True)
class Forecast:
    """Predictions that get better."""

    macs: Mapping[tuple[str, int], int]
    """(model, size) -> multiply-accumulates."""
    rights: Mapping[tuple[str, int], NDArray[np.bool_]]
    """(model, size) -> who is right in FP32, on the search's pictures."""
    own_sizes: Mapping[str, int]
    times: dict[str, float] = field(default_factory=dict)
    """Candidate's key -> milliseconds: measured, or from a model of its blocks."""
    drops: dict[str, float] = field(default_factory=dict)
    """Candidate's key -> what rounding costs of its answers, where something is known."""
    top1s: dict[str, float] = field(default_factory=dict)
    """Candidate's key -> what was measured in a race."""
    seen: list[Candidate] = field(default_factory=list)
    """Whose time was measured."""

    def timed(self, candidate: Candidate, ms: float) -> None:
        """Takes a measured time."""
        if candidate.key not in self.times or candidate not in self.seen:
            self.seen.append(candidate)
        self.times[candidate.key] = ms

    def ms(self, candidate: Candidate) -> float | None:
        """The time of a candidate; None where no file of its kind was timed."""
        if candidate.key in self.times:
            return self.times[candidate.key]
        if candidate.decisions:
            return None
        points, macs = self._points(kind_of(candidate)), self.macs[candidate.model, candidate.size]
        if len(points) == 1 and (shape := self._shape(kind_of(candidate))):
            (known, ms) = points[0]
            there, here = along(shape, macs), along(shape, known)
            return ms * there / here if there and here else None
        return along(points, macs)

    def _points(self, kind: Kind) -> list[tuple[int, float]]:
        """Multiply-accumulates and times of the files of a kind that were timed."""
        like = [c for c in self.seen if kind_of(c) == kind and not c.decisions]
        return sorted({(self.macs[c.model, c.size], self.times[c.key]) for c in like})

    def _shape(self, kind: Kind) -> list[tuple[int, float]]:
        """The same of another precision, of which more than one was timed: for one target times grow alike."""
        others = dict.fromkeys(kind_of(c) for c in self.seen if kind_of(c)[::2] == kind[::2])
        points = max((self._points(other) for other in others), key=len, default=[])
        return points if len(points) > 1 else []

    def top1(self, candidate: Candidate) -> float | None:
        """The part it gets right."""
        if candidate.key in self.top1s:
            return self.top1s[candidate.key]
        rights = self.rights.get((candidate.model, candidate.size))
        return None if rights is None else float(rights.mean()) - self.drops.get(candidate.key, 0.0)

    def drop(self, candidate: Candidate) -> tuple[float, float] | None:
        """What it loses against its model at its own size, and the standard error of that."""
        own = self.rights.get((candidate.model, self.own_sizes[candidate.model]))
        rights = self.rights.get((candidate.model, candidate.size))
        if own is None or rights is None:
            return None
        differences = own.astype(float) - rights.astype(float)
        error = float(np.sqrt((differences.var() + 1 / len(differences)) / len(differences)))
        return float(differences.mean()) + self.drops.get(candidate.key, 0.0), error

    def may_keep(self, candidate: Candidate, limits: Limits, ms: float | None) -> str | None:
        """Why a candidate will hardly keep the limits; None where it may."""
        if limits.max_p50 is not None and ms is not None and ms > limits.max_p50 * (1 + SLOWER):
            return f"about {ms:.3g} ms were predicted, {limits.max_p50:g} are allowed"
        if limits.max_drop is not None and (found := self.drop(candidate)) is not None:
            drop, error = found
            if drop - WORSE * error > limits.max_drop / 100:
                return f"a loss of about {100 * drop:.1f} points was predicted, {limits.max_drop:g} are allowed"
        if limits.min_top1 is not None and (top1 := self.top1(candidate)) is not None:
            rights = self.rights[candidate.model, candidate.size]
            error = float(np.sqrt(max(top1 * (1 - top1), 1 / len(rights)) / len(rights)))
            if top1 + WORSE * error < limits.min_top1 / 100:
                return f"about {100 * top1:.1f}% right were predicted, {limits.min_top1:g}% are asked for"
        return None


def kind_of(candidate: Candidate) -> Kind:
    """What files have in common whose times lie on a line."""
    return candidate.target, candidate.precision, candidate.threads


def along(points: Sequence[tuple[int, float]], macs: int) -> float | None:
    """The time at so many multiply-accumulates, along a line through what was timed; it never falls as they grow."""
    if not points:
        return None
    x, y = np.array([p[0] for p in points], float), np.array([p[1] for p in points], float)
    if len(points) == 1 or np.ptp(x) == 0:
        return float(y.mean() * macs / x.mean())
    slope, start = np.polyfit(x, y, 1)
    if slope <= 0 or start + slope * macs <= 0:
        return float(y.mean() * macs / x.mean())
    return float(start + slope * macs)


def choose(
    candidates: Sequence[Candidate], forecast: Forecast, limits: Limits, most: int
) -> tuple[list[Candidate], dict[str, str]]:
    """Who races, the likeliest winner first, and why the others do not.

    Where nobody is likely to keep the limits, those race that come closest: an end that says "impossible" is measured
    too.
    """
    out: dict[str, str] = {}
    likely, hardly = [], []
    for candidate in candidates:
        ms = forecast.ms(candidate)
        why = "no file of its kind could be timed" if ms is None else forecast.may_keep(candidate, limits, ms)
        if why is None:
            likely.append(candidate)
        else:
            out[candidate.key] = why
            hardly += [candidate] if ms is not None else []
    chosen = _spread(likely, forecast, limits, most) if likely else _closest(hardly, forecast, min(4, most))
    kept = {c.key for c in chosen}
    for candidate in candidates:
        if candidate.key in kept:
            out.pop(candidate.key, None)
        elif candidate.key not in out:
            out[candidate.key] = "others were predicted to do better"
    return chosen, out


def _spread(likely: Sequence[Candidate], forecast: Forecast, limits: Limits, most: int) -> list[Candidate]:
    """The best by the objective; where answers count, of each network the fastest two, so that none is left out."""
    by_time = sorted(likely, key=lambda c: (forecast.ms(c) or 0.0, c.key))
    if limits.objective == "fastest" and limits.decides:
        return by_time[:most]
    seen: dict[tuple[str, int], int] = {}
    first = []
    for candidate in by_time:
        network = candidate.model, candidate.size
        seen[network] = seen.get(network, 0) + 1
        if seen[network] <= 2:
            first.append(candidate)
    first.sort(key=lambda c: (-round((forecast.top1(c) or 0.0) / BETTER), forecast.ms(c) or 0.0, c.key))
    return first[:most]


def _closest(hardly: Sequence[Candidate], forecast: Forecast, most: int) -> list[Candidate]:
    """What is fastest, and what is most often right."""
    by_time = sorted(hardly, key=lambda c: (forecast.ms(c) or 0.0, c.key))
    by_answers = sorted(hardly, key=lambda c: (-(forecast.top1(c) or 0.0), forecast.ms(c) or 0.0, c.key))
    both = [c for pair in zip(by_time, by_answers, strict=True) for c in pair]
    return list({c.key: c for c in both}.values())[:most]


def now_better(candidate: Candidate, leader: Candidate, forecast: Forecast, limits: Limits) -> bool:
    """Whether a file that did not race is expected to beat the one in front, by more than nobody minds."""
    ms, best = forecast.ms(candidate), forecast.ms(leader)
    if ms is None or best is None or forecast.may_keep(candidate, limits, ms * (1 + SLOWER)) is not None:
        return False
    if limits.objective == "fastest":
        return ms < best * (1 - FASTER)
    return (forecast.top1(candidate) or 0.0) > (forecast.top1(leader) or 0.0) + BETTER
