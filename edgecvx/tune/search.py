"""The stages of a search, one after the other, within a budget.

Each with what it costs: bounds that need no measuring; what the sizes of each model get right; the times of a few
files, from which those of all are predicted; block by block the best of them; and the race, in which the answer is
measured. What was made and measured lies below ``OUT/work`` by content, so that a search that was stopped goes on.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from edgecvx import __version__
from edgecvx.cluster.connect import connect
from edgecvx.cluster.handle import Cluster
from edgecvx.errors import EdgecvxError
from edgecvx.spec import Precision
from edgecvx.targets import get_target
from edgecvx.tune import tables
from edgecvx.tune.field import Field
from edgecvx.tune.forecast import Forecast, Kind, choose, kind_of, now_better
from edgecvx.tune.outcome import device_result, ship
from edgecvx.tune.pictures import Pictures, open_pictures
from edgecvx.tune.race.limits import Limits
from edgecvx.tune.race.measured import Entrant, Prediction, Standing, Timing
from edgecvx.tune.race.race import FIRST_PICTURES, Race, RaceProgress, race
from edgecvx.tune.references import rights_of
from edgecvx.tune.refine import Refinement, refine
from edgecvx.tune.report.page import write_reports
from edgecvx.tune.report.values import DeviceResult, StageCost, Tuned
from edgecvx.tune.request import Model, Request, read_models
from edgecvx.tune.space import Candidate, space
from edgecvx.tune.space.bounds import Dropped, bound_of, hopeless, none_left
from edgecvx.tune.workshop import Workshop

RACERS = 8
"""Files in a race on one device: more would leave each too few turns."""
FEWEST_RACERS = 3
NEWCOMERS = 2
"""Files that a mended model may send into a race after each look."""
FIRST_TURNS = 10
"""Of each file from whose times all others are predicted."""
REFINED = 3
"""Networks that are looked at block by block, each for another target: where there is time for so many."""
MIXING_GAINS = 0.3
"""Of the time of the INT8 file by the precision's own rules, at most."""
LEAST_ROOM = 0.1
"""Points of top-1: what the size loses was measured on few pictures, and may be less."""
BEFORE_TIMES = 0.3
"""Of the budget: beyond it, only files without which nothing could be predicted are written."""
BEFORE_RACE = 0.6
"""Of the budget: what comes before the race may take that part of it."""
STAGES = ("bounds", "answers", "times", "blocks", "race")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a search is: shown, never acted upon."""

    stage: str
    index: int
    of: int
    doing: str
    part: float
    """Of what is being done, 0 to 1."""
    spent: float
    """Seconds since the search began."""
    left: float
    """Seconds of the budget."""


@dataclass(slots=True)
class Search:
    """One call."""

    request: Request
    tell: Callable[[Progress], None]
    began: float = field(default_factory=time.monotonic)
    stages: list[StageCost] = field(default_factory=list)
    stage: str = STAGES[0]
    stage_began: float = field(default_factory=time.monotonic)
    seconds_a_file: float = 5.0
    """That writing and timing one took, as far as is known."""
    seconds_of_turns: float = 2.0
    """That timing one took alone."""
    seconds_a_picture: float = 0.0
    """That FP32 took for one."""
    _late: bool = False

    # What it all comes to

    def run(self) -> Tuned:
        """Everything, on every device."""
        asked = self.request.cluster
        if asked is None or isinstance(asked, Cluster):
            return self._searched(asked)
        with connect(asked) as cluster:
            return self._searched(cluster)

    def _searched(self, cluster: Cluster | None) -> Tuned:
        request = self.request
        self.say("reading the models")
        models, warnings = read_models(request)
        pictures = open_pictures(request, models)
        candidates, dropped = self.bounded(models)
        workshop = Workshop(request=request, models={m.name: m for m in models})
        forecast = self.answers(models, pictures, candidates, workshop)
        groups = (request.devices,) if request.one_file else tuple((d,) for d in request.devices)
        results = []
        for devices in groups:
            own = replace(forecast, times={}, drops=dict(forecast.drops), top1s={}, seen=[])
            where = Field(workshop=workshop, pictures=pictures, devices=devices, cluster=cluster, on_part=self.say)
            results.append(self.on_devices(where, candidates, dropped, own))
        tuned = Tuned(
            edgecvx=__version__,
            models=tuple(m.name for m in models),
            targets=request.targets,
            sizes=request.sizes,
            limits={k: v for k, v in request.limits.named.items() if v is not None},
            objective=request.limits.objective,
            data=str(request.data) if request.demo else Path(request.data).resolve().name,
            pictures=pictures.count,
            candidates=len(candidates) + len(dropped),
            devices=tuple(results),
            stages=tuple(self.stages),
            warnings=warnings,
        )
        write_reports(request.out, tuned)
        return tuned

    # (a) what needs no measuring

    def bounded(self, models: Sequence[Model]) -> tuple[list[Candidate], list[Dropped]]:
        """What could be written, and what of it cannot keep a limit by its weights alone."""
        self.begin("bounds")
        candidates, dropped = list[Candidate](), list[Dropped]()
        rows = []
        for model in models:
            for name in self.request.targets:
                found = space(get_target(name), model.spec.arch)
                for candidate in found.candidates(model.name, self.request.sizes, self.request.threads):
                    bound = bound_of(model.spec.arch, model.spec.num_classes, candidate)
                    why = hopeless(candidate, bound, self.request.limits)
                    rows.append((candidate.title, bound.bytes, bound.macs, bound.memory, why.sentence if why else ""))
                    if why is None:
                        candidates.append(candidate)
                    else:
                        dropped.append(why)
        tables.write(self.request.out, "bounds", ("file", "bytes", "macs", "memory", "dropped"), rows)
        self.end(f"{len(rows)} files could be written, {len(dropped)} of them cannot keep a limit")
        return candidates, dropped

    # (b) what sizes cost in answers

    def answers(
        self, models: Sequence[Model], pictures: Pictures, candidates: Sequence[Candidate], workshop: Workshop
    ) -> Forecast:
        """Who is right in FP32 at every size."""
        self.begin("answers")
        wanted = list(dict.fromkeys([(c.model, c.size) for c in candidates] + [(m.name, m.own_size) for m in models]))
        rights = {}
        for index, (name, size) in enumerate(wanted):
            self.say(f"{name} at {size} px in FP32", index / len(wanted))
            found = rights_of(workshop, pictures.search, workshop.models[name], size)
            rights[name, size] = np.array([found.get(s.name, False) for s in pictures.search])
        rows = [(f"{name} {size}", len(right), f"{right.mean():.4f}") for (name, size), right in rights.items()]
        tables.write(self.request.out, "answers", ("network", "pictures", "top1"), rows)
        count = len(wanted) * len(pictures.search)
        self.seconds_a_picture = (time.monotonic() - self.stage_began) / max(1, count)
        self.end(f"{len(wanted)} networks in FP32 on {len(pictures.search)} pictures that no race uses")
        macs = {(c.model, c.size): self._bound(workshop, c) for c in candidates}
        return Forecast(macs=macs, rights=rights, own_sizes={m.name: m.own_size for m in models})

    def _bound(self, workshop: Workshop, candidate: Candidate) -> int:
        spec = workshop.models[candidate.model].spec
        return bound_of(spec.arch, spec.num_classes, candidate).macs

    # One device

    def on_devices(
        self,
        where: Field,
        candidates: Sequence[Candidate],
        dropped: Sequence[Dropped],
        forecast: Forecast,
    ) -> DeviceResult:
        """The search on one device, or on several of which the worst counts."""
        if not candidates:
            none = Race(verdict=none_left(dropped, self.request.limits), standings=(), settled=frozenset(), looks=())
            return device_result(where, none, [], dropped, {}, forecast, [], self.request.limits)
        self.times(where, candidates, forecast)
        refined = self.blocks(where, candidates, forecast)
        mixed = self._mixed(refined, forecast)
        chosen, left_out = choose([*candidates, *mixed], forecast, self.request.limits, self._racers)
        run = self.race(where, chosen, [*candidates, *mixed], forecast, refined)
        result = device_result(
            where, run, [*candidates, *mixed], dropped, left_out, forecast, refined, self.request.limits
        )
        alone = len(self.request.devices) == 1 or len(where.devices) > 1
        return ship(where, run, result, self.request.out, alone=alone)

    # (c) times

    def times(self, where: Field, candidates: Sequence[Candidate], forecast: Forecast) -> None:
        """Times a few files; those of all others lie on lines between."""
        self.begin("times")
        timed = self._written(where, probes(candidates, forecast))
        names = {c.title: c for c in timed}
        where.candidates.update(names)
        self.say(f"timing {len(names)} files in turns")
        began = time.monotonic()
        found = where.bench(list(names), FIRST_TURNS) if names else {}
        if names:
            self.seconds_of_turns = (time.monotonic() - began) / len(names)
        self.seconds_a_file += self.seconds_of_turns
        rows = []
        for name, ms in side_by_side(found).items():
            if ms is not None:
                forecast.timed(names[name], ms)
            figure = "" if ms is None else f"{ms:.4f}"
            rows.append((name, len(found[name].rounds), figure, found[name].error or ""))
        rows += [
            (c.title, 0, f"{ms:.4f}", "predicted along the line")
            for c in candidates
            if c.title not in names and (ms := forecast.ms(c)) is not None
        ]
        tables.write(self.request.out, f"times {'+'.join(where.devices)}", ("file", "turns", "ms", "note"), rows)
        self.end(f"{len(timed)} files timed, the times of {len(candidates) - len(timed)} predicted from them")

    def _written(self, where: Field, wanted: Sequence[tuple[Candidate, bool]]) -> list[Candidate]:
        """Writes the files to time; those that can be done without only while there is much time."""
        found, took = list[Candidate](), list[float]()
        for index, (candidate, needed) in enumerate(wanted):
            if self.spent < (BEFORE_RACE if needed else BEFORE_TIMES) * 60 * self.request.budget:
                self.say(f"writing {candidate.title}", index / len(wanted))
                began = time.monotonic()
                where.workshop.write([candidate])
                took.append(time.monotonic() - began)
                found.append(candidate)
        if took:
            self.seconds_a_file = sorted(took)[len(took) // 2]  # the first INT8 file of a network also calibrates
        return found

    # (b, c, d) block by block

    def blocks(self, where: Field, candidates: Sequence[Candidate], forecast: Forecast) -> list[Refinement]:
        """Looks at the likeliest networks block by block, where there is time."""
        self.begin("blocks")
        refined, failed = list[Refinement](), list[str]()
        for plain in refinable(candidates, forecast, self.request.limits):
            if len(refined) == REFINED or self._late:
                break
            if any(r.plain.target == plain.target for r in refined):
                continue
            try:
                found = refine(where, plain, tell=self.say, may_take=self._may_take)
            except EdgecvxError as error:
                failed.append(f"{plain.title} was not: {error}")
                continue
            if found is not None:
                refined.append(found)
        files = sum(r.files for r in refined)
        names = ", ".join(r.plain.title for r in refined) or "no network"
        for r in refined:
            tables.write_blocks(self.request.out, r)
        late = " (there was no time for it)" if not refined and self._late else ""
        self.end("; ".join([f"{names} looked at block by block, from {files} whole files{late}", *failed]))
        return refined

    def _may_take(self, files: int) -> bool:
        """Whether there is time to write and time so many more files before the race."""
        self._late = self.spent + files * self.seconds_a_file > BEFORE_RACE * 60 * self.request.budget
        return not self._late

    def _mixed(self, refined: Sequence[Refinement], forecast: Forecast) -> list[Candidate]:
        found = []
        for refinement in refined:
            room = self._room(refinement.plain, forecast)
            for candidate, ms, tried in refinement.front(room, self.request.limits.max_mb):
                if candidate not in forecast.seen:
                    forecast.times[candidate.key] = ms
                forecast.drops[candidate.key] = tried.drop / 100
                found.append(candidate)
        return found

    def _room(self, plain: Candidate, forecast: Forecast) -> float | None:
        """Points that rounding may lose, beside what the size loses already."""
        limit, by_size = self.request.limits.max_drop, forecast.drop(plain)
        if limit is None:
            return None
        return limit if by_size is None else min(limit, max(limit - 100 * by_size[0], LEAST_ROOM))

    @property
    def _racers(self) -> int:
        """How many files may race: as many as one look at takes half of what is left; a few where it takes all."""
        at_most = int(max(0.0, self.left) / (self.seconds_a_file + self._seconds_a_look))
        return max(0, min(RACERS, at_most, max(FEWEST_RACERS, at_most // 2)))

    @property
    def _seconds_a_look(self) -> float:
        """What a file that is written costs at the first look: its turns, and the first pictures beside FP32."""
        return self.seconds_of_turns + FIRST_PICTURES * self.seconds_a_picture

    # (e, f) the race

    def race(
        self,
        where: Field,
        chosen: Sequence[Candidate],
        every: list[Candidate],
        forecast: Forecast,
        refined: Sequence[Refinement],
    ) -> Race:
        """Measures the likeliest files until the answer is safe."""
        self.begin("race")
        where.workshop.write(chosen, lambda name, done, of: self.say(f"writing {name}", done / of))
        entrants = [e for c in chosen if (e := self._entrant(where, c, forecast)) is not None]

        def revise(standings: Sequence[Standing]) -> list[Entrant]:
            return self._revised(where, standings, every, forecast, refined)

        def told(at: RaceProgress) -> None:
            self.say(f"look {at.look}: {at.doing} {at.name}", at.index / max(1, at.of))

        run = race(
            entrants,
            self.request.limits,
            where,
            may_go_on=lambda seconds: self.left > seconds,
            first=self._seconds_a_look * max(1, len(entrants)),
            revise=revise,
            tell=told,
        )
        tables.write_race(self.request.out, "+".join(where.devices), run)
        pictures = max((look.pictures for look in run.looks), default=0)
        self.end(f"{len(run.standings)} files, {len(run.looks)} looks, up to {pictures} pictures: {run.verdict.kind}")
        return run

    def _entrant(self, where: Field, candidate: Candidate, forecast: Forecast) -> Entrant | None:
        name = tables.short_name(candidate, where.candidates)
        where.candidates[name] = candidate
        try:
            size = where.workshop.file(candidate).bytes
        except EdgecvxError:
            return None
        found = forecast.drop(candidate)
        predicted = Prediction(ms=forecast.ms(candidate), drop=None if found is None else found[0])
        return Entrant(name=name, bytes=size, predicted=predicted)

    def _revised(
        self,
        where: Field,
        standings: Sequence[Standing],
        every: list[Candidate],
        forecast: Forecast,
        refined: Sequence[Refinement],
    ) -> list[Entrant]:
        """Mends the predictions with what was measured; files that look better than the best now join."""
        for standing in standings:
            candidate = where.candidates[standing.name]
            if standing.ms is not None:
                forecast.timed(candidate, standing.ms)
            if standing.top1 is not None:
                forecast.top1s[candidate.key] = standing.top1
        for refinement in refined:
            mixed = {n: c for n, c in where.candidates.items() if c.decisions and c in every and refinement.is_of(c)}
            refinement.raced.update(mixed)
            if refinement.mend(standings):
                every += [c for c in self._mixed([refinement], forecast) if c not in every]
        racing = {where.candidates[s.name].key for s in standings}
        leaders = [s for s in standings if s.error is None and s.top1 is not None and s.ms is not None]
        keeping = [s for s in leaders if forecast.may_keep(where.candidates[s.name], self.request.limits, s.ms) is None]
        if not keeping or self.left <= 0:
            return []
        limits = self.request.limits
        best = (min if limits.objective == "fastest" else max)(
            keeping, key=lambda s: (s.ms or 0.0) if limits.objective == "fastest" else (s.top1 or 0.0)
        )
        leader = where.candidates[best.name]
        new = [c for c in every if c.key not in racing and now_better(c, leader, forecast, limits)][:NEWCOMERS]
        where.workshop.write(new)
        return [e for c in new if (e := self._entrant(where, c, forecast)) is not None]

    # Progress and costs

    @property
    def spent(self) -> float:
        """Seconds since the search began."""
        return time.monotonic() - self.began

    @property
    def left(self) -> float:
        """Seconds of the budget."""
        return 60 * self.request.budget - self.spent

    def begin(self, stage: str) -> None:
        """A stage begins."""
        self.stage, self.stage_began = stage, time.monotonic()

    def end(self, what: str) -> None:
        """A stage ends, and leaves its cost."""
        seconds = time.monotonic() - self.stage_began
        self.stages.append(StageCost(name=self.stage, what=what, seconds=round(seconds, 1)))
        self.say(what, 1.0)

    def say(self, doing: str, part: float = 0.0) -> None:
        """Tells whoever watches."""
        self.tell(
            Progress(
                stage=self.stage,
                index=STAGES.index(self.stage),
                of=len(STAGES),
                doing=doing,
                part=part,
                spent=self.spent,
                left=max(0.0, self.left),
            )
        )


def side_by_side(timings: Mapping[str, Timing]) -> dict[str, float | None]:
    """The time of each file, as its ratio to the first in the rounds they share, times the first one's.

    Many files take their turns in groups, minutes apart; what the machine did meanwhile is in the ratios of none.
    """
    reference = next((timing.rounds for timing in timings.values()), {})
    whole = statistics.median(reference.values()) if reference else None
    found: dict[str, float | None] = {}
    for name, timing in timings.items():
        ratios = [ms / reference[r] for r, ms in timing.rounds.items() if r in reference]
        own = statistics.median(timing.rounds.values()) if timing.rounds else None
        found[name] = whole * statistics.median(ratios) if ratios and whole is not None else own
    return found


def probes(candidates: Sequence[Candidate], forecast: Forecast) -> list[tuple[Candidate, bool]]:
    """The files to time: of each target, precision and number of threads the smallest network; then a few largest.

    Of each target the largest is that in the precision which most likely wins: it tells how times grow in all others.

    Returns:
        Each with whether it is needed: from one file times go with the multiply-accumulates, from two along a line.
    """
    kinds: dict[Kind, list[Candidate]] = {}
    for candidate in candidates:
        kinds.setdefault(kind_of(candidate), []).append(candidate)
    for group in kinds.values():
        group.sort(key=lambda c: (forecast.macs[c.model, c.size], c.key))
    largest: dict[tuple[str, int | None], Candidate] = {}
    for group in sorted(kinds.values(), key=lambda g: (g[0].precision.bits, not g[0].precision.calibrated)):
        if len(group) > 1:
            largest.setdefault((group[0].target, group[0].threads), group[-1])
    return [(group[0], True) for group in kinds.values()] + [(candidate, False) for candidate in largest.values()]


def refinable(candidates: Sequence[Candidate], forecast: Forecast, limits: Limits) -> list[Candidate]:
    """Calibrated INT8 files that may win once their blocks are mixed, the likeliest first."""
    known = [c for c in candidates if (ms := forecast.ms(c)) is not None and forecast.may_keep(c, limits, ms) is None]
    least = min((forecast.ms(c) or 0.0 for c in known), default=0.0)
    near = [c for c in known if limits.objective != "fastest" or (forecast.ms(c) or 0.0) * (1 - MIXING_GAINS) <= least]
    calibrated = [c for c in near if c.precision is Precision.INT8]
    return choose(calibrated, forecast, limits, len(calibrated))[0] if calibrated else []
