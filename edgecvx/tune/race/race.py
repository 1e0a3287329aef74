"""The best files, measured in turns until the answer is safe.

A look measures what is open and nothing else: a file that certainly breaks a limit, or that is certainly not better
than the one in front, stands aside. Every look spends its part of the 5% (``significance``), so looking often is
not paid for with wrong answers. What was predicted and what was measured stand side by side after each look, and
whoever predicts may send new files into the race then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from edgecvx.tune.race import ends
from edgecvx.tune.race.claims import Claim, Evidence, leader_of, of_limits, of_rival, words_of
from edgecvx.tune.race.limits import Limits
from edgecvx.tune.race.measured import Entrant, Measurer, Standing
from edgecvx.tune.race.significance import ALPHA, holm
from edgecvx.tune.race.verdict import Verdict

FIRST_PICTURES, FIRST_ROUNDS = 128, 10
LOOKS = 6
"""At most; each takes as much as all before it together."""
FRONT_LOOKS = 3
"""Where there is no limit, and so no question whose answer could be safe earlier."""
HOPELESS = 0.5
"""A claim with a larger p points the other way, and more of the same would not settle it."""

Revise = Callable[[Sequence[Standing]], Sequence[Entrant]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One round of measuring and judging: a line of the race's table."""

    number: int
    pictures: int
    """That each file which needed them has answered by now."""
    rounds: int
    """Turns that each file which needed them had in this look."""
    validated: tuple[str, ...]
    timed: tuple[str, ...]
    seconds: float
    leader: str | None
    settled: tuple[str, ...]
    """Sentences that this look settled."""
    open: int
    """Claims that it left open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """How it ended, and everything that was seen."""

    verdict: Verdict
    standings: tuple[Standing, ...]
    settled: frozenset[Claim]
    looks: tuple[Look, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceProgress:
    """Where a race is."""

    look: int
    doing: Literal["timing", "validating"]
    name: str
    index: int
    of: int


def race(
    entrants: Sequence[Entrant],
    limits: Limits,
    measure: Measurer,
    *,
    looks: int = LOOKS,
    may_go_on: Callable[[float], bool] = lambda seconds: True,
    first: float = 0.0,
    revise: Revise | None = None,
    tell: Callable[[RaceProgress], None] = lambda at: None,
    clock: Callable[[], float] = time.monotonic,
) -> Race:
    """Measures files on one device until the answer is safe, or nothing more can be had.

    Args:
        entrants: The files.
        limits: What they have to keep to.
        measure: Who runs and times them.
        looks: How often the answer is looked at, at most.
        may_go_on: Whether there is time for another look, told about how many seconds that takes.
        first: How many the first look is expected to take.
        revise: Asked after each look for files that look better now.
        tell: Called before each measurement.
        clock: Seconds.
    """
    run = _Run(limits=limits, measure=measure, looks=looks, tell=tell, clock=clock, first=first)
    run.admit(entrants)
    for number in range(1, looks + 1):
        if not may_go_on(2 * run.history[-1].seconds if run.history else first):
            break
        if not run.look(number):
            break
        newcomers = [] if revise is None else run.admit(revise(run.standings))
        if run.is_over and not newcomers:
            break
    return Race(
        verdict=run.verdict(),
        standings=tuple(run.standings),
        settled=frozenset(run.settled),
        looks=tuple(run.history),
    )


@dataclass(slots=True, kw_only=True)
class _Run:
    """A race that goes on."""

    limits: Limits
    measure: Measurer
    looks: int
    tell: Callable[[RaceProgress], None]
    clock: Callable[[], float]
    first: float
    standings: list[Standing] = field(default_factory=list)
    settled: set[Claim] = field(default_factory=set)
    history: list[Look] = field(default_factory=list)
    open: list[Evidence] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: {"timing": 0.0, "validating": 0.0})
    counts: dict[str, int] = field(default_factory=lambda: {"timing": 0, "validating": 0})
    """Turns and pictures that the seconds were spent on."""
    pictures: int = 0

    def admit(self, entrants: Iterable[Entrant]) -> list[Standing]:
        known = {s.name for s in self.standings}
        new = [Standing(entrant=e) for e in {e.name: e for e in entrants}.values() if e.name not in known]
        self.standings += new
        return new

    def look(self, number: int) -> bool:
        """Measures what is open and judges it; False where nothing more can be had of it."""
        timed, validated = self._needed()
        target = min(FIRST_PICTURES << (number - 1), self.measure.most_pictures)
        validated = [s for s in validated if self._answered(s) < target]
        if not timed and not validated:
            return False
        began, rounds = self.clock(), FIRST_ROUNDS << max(0, number - 2)
        self._time(number, timed, rounds)
        self._validate(number, validated, target)
        before = frozenset(self.settled)
        self.judge()
        self.history.append(
            Look(
                number=number,
                pictures=self.pictures,
                rounds=rounds if timed else 0,
                validated=tuple(s.name for s in validated),
                timed=tuple(s.name for s in timed),
                seconds=self.clock() - began,
                leader=self.leader.name if self.leader else None,
                settled=tuple(words_of(c, self.limits) for c in sorted(self.settled - before, key=str)),
                open=len(self.open),
            )
        )
        return True

    def _answered(self, standing: Standing) -> int:
        return 0 if standing.answers is None else len(standing.answers.right)

    def _needed(self) -> tuple[list[Standing], list[Standing]]:
        """Who has to be timed, and who to answer pictures; newcomers both, and with them whom they are held against."""
        wanted = {"rounds": set[str](), "pictures": set[str]()}
        for evidence in self.open:
            if evidence.by in wanted and not (evidence.claim.than and evidence.p >= HOPELESS):
                wanted[evidence.by] |= {evidence.claim.of, evidence.claim.than or evidence.claim.of}
        new = {s.name for s in self._running if not s.rounds or s.answers is None or not self.limits.decides}
        if new and self.leader is not None:
            new |= {self.leader.name}
        running = [s for s in self._running if s.name in new | wanted["rounds"]]
        return running, [s for s in self._running if s.name in new | wanted["pictures"]]

    def _time(self, number: int, timed: Sequence[Standing], rounds: int) -> None:
        if not timed:
            return
        names = [s.name for s in timed]
        self.tell(RaceProgress(look=number, doing="timing", name=", ".join(names), index=0, of=len(names)))
        began = self.clock()
        timings = self.measure.bench(names, rounds)
        self._spent("timing", began, rounds * len(names))
        for standing in timed:
            standing.add(timings[standing.name])

    def _validate(self, number: int, validated: Sequence[Standing], pictures: int) -> None:
        for index, standing in enumerate(validated):
            if standing.error is None:
                at = RaceProgress(look=number, doing="validating", name=standing.name, index=index, of=len(validated))
                self.tell(at)
                began, known = self.clock(), self._answered(standing)
                standing.take(self.measure.validate(standing.name, pictures))
                self._spent("validating", began, self._answered(standing) - known)
                self.pictures = max(self.pictures, self._answered(standing))

    def _spent(self, what: str, began: float, count: int) -> None:
        self.seconds[what] += self.clock() - began
        self.counts[what] += count

    def judge(self) -> None:
        """Settles what this look's part of the 5% settles; what is needed and stays open is kept."""
        facts = (evidence for s in self._running for evidence in self._of_limits(s) if evidence.by == "fact")
        self.settled |= {evidence.claim for evidence in facts if not evidence.p}
        part = ALPHA / self.looks if self.limits.decides else 0.0
        self.settled |= holm({e.claim: e.p for e in self._unsettled()}, part)
        # Asked again: another may be in front by now, of whom nothing had to be known behind the one before.
        self.open = self._unsettled()

    def _unsettled(self) -> list[Evidence]:
        """What is known of each claim that is needed, with the file that is in front."""
        found = [e for s in self._running for e in self._of_limits(s) if e.by != "fact"]
        if (leader := self.leader) is not None:
            found += [of_rival(s, leader, self.limits) for s in self._running if s is not leader]
        return [e for e in found if not self._is_needless(e.claim)]

    def _of_limits(self, standing: Standing) -> list[Evidence]:
        """For each limit the likelier of its two claims, with a two-sided p: one of them alone can be wrong."""
        claims = list(of_limits(standing, self.limits))
        pairs = zip(claims[::2], claims[1::2], strict=True)
        likelier = (min(pair, key=lambda e: e.p) for pair in pairs)
        return [Evidence(claim=e.claim, p=min(1.0, 2 * e.p), by=e.by) for e in likelier]

    def _is_needless(self, claim: Claim) -> bool:
        """Whether a claim is settled, or about a file of which enough is known."""
        if claim in self.settled or self._breaks(claim.of):
            return True
        opposite = "breaks" if claim.kind == "holds" else "holds"
        if claim.limit is not None and Claim(opposite, claim.of, limit=claim.limit) in self.settled:  # type: ignore[arg-type]
            return True
        leader = self.leader
        return leader is not None and Claim("not better", claim.of, than=leader.name) in self.settled

    @property
    def _running(self) -> list[Standing]:
        """Files without an error that break no limit for certain."""
        return [s for s in self.standings if s.error is None and not self._breaks(s.name)]

    def _breaks(self, name: str) -> bool:
        return any(c.kind == "breaks" and c.of == name for c in self.settled)

    @property
    def leader(self) -> Standing | None:
        """The best of those that keep all limits by what is known; where none does, of those that may."""
        running = self._running
        likely = [s for s in running if all(e.claim.kind == "holds" for e in self._of_limits(s) if e.by != "fact")]
        return leader_of(likely, self.limits) or leader_of(running, self.limits)

    @property
    def is_over(self) -> bool:
        """Whether all that matters is settled."""
        return not self.open or (not self.limits.decides and len(self.history) >= FRONT_LOOKS)

    def verdict(self) -> Verdict:
        return ends.verdict(
            self.standings,
            self.limits,
            frozenset(self.settled),
            self.leader,
            self.open,
            costs=ends.Costs(
                per_turn=self.seconds["timing"] / max(1, self.counts["timing"]),
                per_picture=self.seconds["validating"] / max(1, self.counts["validating"]),
                level=ALPHA / self.looks / max(1, len(self.open)),
                pictures=self.pictures,
                first=self.first,
            ),
        )
