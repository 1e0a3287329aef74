"""What a race has to settle: whether each file keeps each limit, and whether anything beats the one in front.

A rival need not be beaten. It is enough that it is not better by what anybody would change the file for
(``limits.FASTER``, ``limits.BETTER``), so two files that are equal end as tied, and not in a race without an end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgecvx.tune.race.limits import BETTER, FASTER, LimitKind, Limits, in_words
from edgecvx.tune.race.measured import Standing
from edgecvx.tune.race.significance import below_zero, drop_at_most, right_at_least

ClaimKind = Literal["holds", "breaks", "not better"]
By = Literal["pictures", "rounds", "fact"]
"""What more of would settle it; a fact is settled already."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One sentence that can be settled."""

    kind: ClaimKind
    of: str
    """A file."""
    limit: LimitKind | None = None
    """Where it is about a limit."""
    than: str | None = None
    """Where it is about a rival: the one in front."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """How far a claim is."""

    claim: Claim
    p: float
    by: By


def of_limits(standing: Standing, limits: Limits) -> Iterator[Evidence]:
    """Both claims of each limit of a file."""
    for kind, limit in limits.named.items():
        if limit is not None:
            holds, breaks, by = _of_limit(standing, kind, limit)
            yield Evidence(claim=Claim("holds", standing.name, limit=kind), p=holds, by=by)
            yield Evidence(claim=Claim("breaks", standing.name, limit=kind), p=breaks, by=by)


def _of_limit(standing: Standing, kind: LimitKind, limit: float) -> tuple[float, float, By]:
    if kind == "max_mb":
        return _fact(standing.entrant.bytes <= limit * 1e6)
    if kind == "max_memory":
        known = standing.peak_bytes
        return (1.0, 1.0, "rounds") if known is None else _fact(known <= limit * 1e6)
    if kind == "max_p50":
        if standing.emulated is not None or not standing.rounds:
            return 1.0, 1.0, "rounds"
        # Kept by the medians, and broken only by the fastest runs too: what else was going on is not the file's fault.
        over, least = (np.log(list(turns.values())) - np.log(limit) for turns in (standing.rounds, standing.least))
        return below_zero(over), below_zero(-least), "rounds"
    if standing.answers is None:
        return 1.0, 1.0, "pictures"
    if kind == "min_top1":
        return *right_at_least(standing.answers.right, limit / 100), "pictures"
    return *drop_at_most(standing.answers.reference, standing.answers.right, limit / 100), "pictures"


def _fact(holds: bool) -> tuple[float, float, By]:
    return (0.0, 1.0, "fact") if holds else (1.0, 0.0, "fact")


def of_rival(rival: Standing, leader: Standing, limits: Limits) -> Evidence:
    """The claim that a rival is not better than the one in front, in what the race is about."""
    claim = Claim("not better", rival.name, than=leader.name)
    if limits.objective == "fastest":
        logs = log_ratios(leader, rival)
        return Evidence(claim=claim, p=below_zero(logs - np.log1p(FASTER)), by="rounds")
    if rival.answers is None or leader.answers is None:
        return Evidence(claim=claim, p=1.0, by="pictures")
    n = min(len(rival.answers.right), len(leader.answers.right))
    p, _ = drop_at_most(rival.answers.right[:n], leader.answers.right[:n], BETTER)
    return Evidence(claim=claim, p=p, by="pictures")


def log_ratios(of: Standing, against: Standing) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """How long one takes against another, in logarithms, over the rounds in which both had a turn."""
    shared = sorted(of.rounds.keys() & against.rounds.keys())
    return np.log([of.rounds[r] / against.rounds[r] for r in shared])


def side_by_side(standings: Sequence[Standing]) -> dict[str, float]:
    """The time of each file, as the one that had most turns is in their shared rounds: times its ratio to that.

    Files that stood aside for a while have rounds of their own; what the machine did meanwhile is in no ratio.
    """
    known = [s for s in standings if s.ms is not None]
    if not known:
        return {}
    reference = max(known, key=lambda s: (len(s.rounds), s.name))
    found = {}
    for s in known:
        logs = log_ratios(s, reference)
        own, whole = s.ms or 0.0, reference.ms or 0.0
        found[s.name] = whole * float(np.exp(np.median(logs))) if len(logs) else own
    return found


def leader_of(standings: Sequence[Standing], limits: Limits) -> Standing | None:
    """The one to beat: the best, and of those that are as good by less than half of what counts the other way best."""
    known = [s for s in standings if s.ms is not None and s.top1 is not None]
    if not known:
        return None
    times = side_by_side(known)
    if limits.objective == "fastest":
        best = min(times.values())
        near = [s for s in known if times[s.name] <= best * (1 + FASTER / 2)]
        return max(near, key=lambda s: (s.top1 or 0.0, -times[s.name], s.name))
    most = max(s.top1 or 0.0 for s in known)
    near = [s for s in known if (s.top1 or 0.0) >= most - BETTER / 2]
    return min(near, key=lambda s: (times[s.name], -(s.top1 or 0.0), s.name))


def words_of(claim: Claim, limits: Limits) -> str:
    """The claim as a sentence."""
    if claim.limit is not None:
        limit = limits.named[claim.limit] or 0.0
        return f"{claim.of} {claim.kind} the limit ({in_words(claim.limit, limit)})"
    return f"{claim.of} is not better than {claim.than}"
