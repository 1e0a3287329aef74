"""How a race ends, and in which words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from edgecvx.results.accuracy import Interval
from edgecvx.results.figures import counted, milliseconds, percent, points, span, times
from edgecvx.results.intervals import paired_interval
from edgecvx.results.statistics import hodges_lehmann
from edgecvx.tune.race.claims import Claim, Evidence, log_ratios, side_by_side
from edgecvx.tune.race.limits import BETTER, FASTER, LimitKind, Limits, in_words
from edgecvx.tune.race.measured import Standing
from edgecvx.tune.race.significance import times_more
from edgecvx.tune.race.verdict import Decided, Drawn, Impossible, Undecided, Verdict

MOST = 1e4
"""Times as much data as there was: nobody waits for more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What more would cost."""

    per_turn: float
    """Seconds that a file's turn takes."""
    per_picture: float
    """Seconds that a picture takes through a file."""
    level: float
    """The p that settles a claim."""
    pictures: int
    """That were answered."""
    first: float = 0.0
    """Seconds that the first look was expected to take."""


def verdict(
    standings: Sequence[Standing],
    limits: Limits,
    settled: frozenset[Claim],
    leader: Standing | None,
    open_claims: Sequence[Evidence],
    *,
    costs: Costs,
) -> Verdict:
    """What is known at the end."""
    if all(s.error is None and not s.rounds for s in standings):
        return _unmeasured(costs)
    if not limits.decides:
        return _drawn(standings)
    broken = {c.of for c in settled if c.kind == "breaks"}
    if all(s.error is not None or s.name in broken for s in standings):
        return _impossible(standings, limits, settled)
    if open_claims or leader is None:
        return _undecided(standings, limits, leader, open_claims, costs)
    return _decided(standings, limits, broken, leader)


# Decided


def _decided(standings: Sequence[Standing], limits: Limits, broken: set[str], leader: Standing) -> Decided:
    others = [s for s in standings if s is not leader and s.error is None and s.name not in broken]
    tied = tuple(s.name for s in others if _is_tied(s, leader, limits))
    out = [s for s in standings if s.name in broken]
    parts = [f"Ship {leader.name}: {figures(leader, limits)}"]
    if others:
        what = "faster" if limits.objective == "fastest" else "more often right"
        least = percent(FASTER, 0) if limits.objective == "fastest" else f"{points(BETTER)[1:]} points"
        parts.append(f"none of {counted(len(others), 'other file')} is {what} by {least} or more")
    if out:
        parts.append(f"{counted(len(out), 'file')} {'breaks' if len(out) == 1 else 'break'} a limit")
    if tied:
        parts.append(f"tied with it: {', '.join(tied)}")
    return Decided(winner=leader.name, tied=tied, sentence="; ".join(parts) + ".")


def _is_tied(rival: Standing, leader: Standing, limits: Limits) -> bool:
    if limits.objective == "fastest":
        times = side_by_side([leader, rival])
        return rival.name in times and times[rival.name] <= times[leader.name] * (1 + FASTER)
    return rival.top1 is not None and leader.top1 is not None and rival.top1 >= leader.top1 - BETTER


def figures(standing: Standing, limits: Limits) -> str:
    """A file's figures with their 95% intervals, as the limits ask for them."""
    parts = []
    if standing.ms is not None:
        parts.append(milliseconds(standing.ms, interval_of_ms(standing)))
    if standing.answers is not None and standing.top1 is not None:
        n = len(standing.answers.right)
        parts.append(f"{percent(standing.top1)} right over {counted(n, 'picture')}")
        if limits.max_drop is not None and (sure := interval_of_change(standing)) is not None:
            parts.append(f"{points(-(standing.drop or 0.0))} points {span(sure)} against FP32")
    return ", ".join(parts) or "nothing was measured"


def interval_of_ms(standing: Standing) -> Interval | None:
    """The 95% interval of a file's time, over its turns; its median lies in it.

    Where turns are of two kinds, as on a machine that had a neighbour for a while, what Hodges and Lehmann estimate
    lies between them, and the median is one of them.
    """
    found = hodges_lehmann(np.log(list(standing.rounds.values()))) if standing.rounds else None
    if found is None or standing.ms is None:
        return None
    _, low, high = np.exp(found).tolist()
    return Interval(low=min(low, standing.ms), high=max(high, standing.ms))


def interval_of_change(standing: Standing) -> Interval | None:
    """The 95% interval of a file's change against its reference."""
    if standing.answers is None or not len(standing.answers.right):
        return None
    right, reference = standing.answers.right, standing.answers.reference
    lost, gained = int((reference & ~right).sum()), int((~reference & right).sum())
    return paired_interval(lost, gained, len(right))


def ratio_in_words(of: Standing, against: Standing) -> str:
    """How long one takes against another."""
    found = hodges_lehmann(log_ratios(of, against))
    if found is None:
        return "no ratio"
    value, low, high = np.exp(found).tolist()
    return times(value, Interval(low=low, high=high))


# Impossible


def _impossible(standings: Sequence[Standing], limits: Limits, settled: frozenset[Claim]) -> Impossible:
    breaks = {s.name: {c.limit for c in settled if c.kind == "breaks" and c.of == s.name} for s in standings}
    ran = [s for s in standings if s.error is None]
    if not ran:
        errors = "; ".join(f"{s.name}: {s.error}" for s in standings)
        return Impossible(closest=None, binding=(), sentence=f"No file could be measured: {errors}.")
    closest = min(ran, key=lambda s: (len(breaks[s.name]), excess(s, limits), s.name))
    binding = tuple(
        k for k, value in limits.named.items() if value is not None and any(breaks[s.name] == {k} for s in ran)
    )
    sentence = f"No file of {len(ran)} keeps all limits; {closest.name} comes closest: {figures(closest, limits)}"
    sentence += (
        f", and breaks {_and(in_words(k, limits.named[k] or 0.0) for k in limits.named if k in breaks[closest.name])}"
    )
    if binding:
        sentence += f". Without {_or(in_words(k, limits.named[k] or 0.0) for k in binding)} there would be one"
    return Impossible(closest=closest.name, binding=binding, sentence=sentence + ".")


def excess(standing: Standing, limits: Limits) -> float:
    """By what part of its limit a file is beyond it, where that is most."""
    known: dict[LimitKind, float | None] = {
        "max_p50": standing.ms,
        "max_mb": standing.entrant.bytes / 1e6,
        "max_memory": None if standing.peak_bytes is None else standing.peak_bytes / 1e6,
        "max_drop": None if standing.drop is None else 100 * standing.drop,
    }
    parts = [
        value / max(limit, 1e-3) - 1 for k, value in known.items() if value is not None and (limit := limits.named[k])
    ]
    if limits.min_top1 is not None and standing.top1 is not None:
        parts.append(1 - 100 * standing.top1 / limits.min_top1)
    return max(parts, default=0.0)


def _and(words: object) -> str:
    return " and ".join(words)  # type: ignore[arg-type]


def _or(words: object) -> str:
    return " or ".join(words)  # type: ignore[arg-type]


# Undecided


def _unmeasured(costs: Costs) -> Undecided:
    minutes = costs.first / 60
    return Undecided(
        leader=None,
        between=(),
        pictures=None,
        minutes=minutes,
        sentence=(
            f"Undecided: the time was used up before the race, whose first look takes about {_minutes(minutes)}. "
            "The same search with a longer budget goes on from here."
        ),
    )


def _undecided(
    standings: Sequence[Standing],
    limits: Limits,
    leader: Standing | None,
    open_claims: Sequence[Evidence],
    costs: Costs,
) -> Undecided:
    by_name = {s.name: s for s in standings}
    if leader is None or not open_claims:
        return Undecided(
            leader=None, between=(), pictures=None, minutes=None, sentence="Undecided: too little was measured."
        )
    emulated = next((s.emulated for s in standings if s.emulated), None)
    if emulated and (limits.max_p50 is not None or limits.objective == "fastest"):
        return Undecided(
            leader=leader.name,
            between=(leader.name,),
            pictures=None,
            minutes=None,
            sentence=f"Undecided: the device was EMULATED ({emulated}), and its times say nothing; "
            "only answers and sizes were judged.",
        )
    worst, factor = _blocking(open_claims, leader, costs)
    claim = worst.claim
    limit = limits.named[claim.limit] if claim.limit is not None else None
    between = (claim.of, claim.than or in_words(claim.limit or "max_p50", limit or 0.0))
    more = "no number of them will tell" if factor is None else ""
    pictures, minutes = None, None
    if factor is not None:
        extra = max(0.0, factor - 1)
        if worst.by == "pictures":
            pictures = _rounded(extra * costs.pictures)
            minutes = pictures * costs.per_picture * len(set(between)) / 60
            more = f"about {counted(pictures, 'more picture')} ({_minutes(minutes)}) would decide"
        else:
            turns = extra * len(by_name[claim.of].rounds)
            minutes = turns * costs.per_turn * 2 / 60
            more = f"about {_minutes(minutes)} more of timing would decide"
    sentence = f"Undecided between {between[0]} and {between[1]}: {_state(by_name, claim, limits)}; {more}."
    sentence += f" The best by what is known is {leader.name}: {figures(leader, limits)}."
    return Undecided(leader=leader.name, between=between, pictures=pictures, minutes=minutes, sentence=sentence)


def _state(by_name: dict[str, Standing], claim: Claim, limits: Limits) -> str:
    """What is known of a claim that is open."""
    of = by_name[claim.of]
    if claim.than is None:
        return figures(of, limits)
    than = by_name[claim.than]
    if limits.objective == "fastest":
        return f"the first takes {ratio_in_words(of, than)} the time of the second"
    return f"{percent(of.top1 or 0.0)} and {percent(than.top1 or 0.0)} right"


def _blocking(open_claims: Sequence[Evidence], leader: Standing, costs: Costs) -> tuple[Evidence, float | None]:
    """The claim that takes most to settle, and how many times as much data it takes; None where none are enough.

    Of the one in front each claim is needed; of any other file the easiest: it may break a limit, or be no better.
    """
    by_file: dict[str, list[Evidence]] = {}
    for e in open_claims:
        by_file.setdefault(e.claim.of, []).append(e)
    own = by_file.pop(leader.name, [])
    needed = [*own, *(min(found, key=lambda e: _times(e, costs)) for found in by_file.values())]
    worst = max(needed, key=lambda e: _times(e, costs))
    times = _times(worst, costs)
    return worst, None if math.isinf(times) else times


def _times(evidence: Evidence, costs: Costs) -> float:
    """How many times as much data would settle a claim, if it goes on like that."""
    sides = 2 if evidence.claim.limit is not None else 1  # a limit is kept or broken: its p is of both
    found = times_more(evidence.p / sides, costs.level / sides)
    return math.inf if found is None or found > MOST else found


def _rounded(number: float) -> int:
    """Up, to two digits: it is an estimate."""
    whole = max(1, int(np.ceil(number)))
    unit = int(10 ** max(0, len(str(whole)) - 2))
    return -(-whole // unit) * unit


def _minutes(minutes: float) -> str:
    return f"{minutes:.0f} minutes" if minutes >= 2 else f"{max(1, 60 * minutes):.0f} s"


# No limit


def front_of(standings: Sequence[Standing]) -> tuple[str, ...]:
    """What is more often right than all that is faster, by as much as anybody waits for, the fastest first."""
    known = sorted(
        (s for s in standings if s.ms is not None and s.top1 is not None), key=lambda s: (s.ms, -(s.top1 or 0))
    )
    best, front = -1.0, []
    for s in known:
        if (s.top1 or 0.0) >= best + BETTER:
            best = s.top1 or 0.0
            front.append(s.name)
    return tuple(front)


def _drawn(standings: Sequence[Standing]) -> Drawn:
    front, by_name = front_of(standings), {s.name: s for s in standings}
    steps = [f"{counted(len(front), 'file')} of {len(standings)} on the front"]
    for a, b in pairwise(front):
        gain = (by_name[b].top1 or 0.0) - (by_name[a].top1 or 0.0)
        steps.append(f"{b} is {points(gain)} points for {ratio_in_words(by_name[b], by_name[a])} the time of {a}")
    return Drawn(front=front, sentence="; ".join(steps) + ".")
