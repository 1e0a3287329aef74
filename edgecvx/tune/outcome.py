"""What a race means for whoever ships: rows, accounts, what the next limit would buy, and the files laid out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from edgecvx.errors import EdgecvxError
from edgecvx.manifest import manifest_path
from edgecvx.results.figures import counted, megabytes, milliseconds, percent, points
from edgecvx.sweep.store import place_copy
from edgecvx.tune.field import Field, hash_of_file
from edgecvx.tune.forecast import Forecast
from edgecvx.tune.race.ends import excess, interval_of_change, interval_of_ms
from edgecvx.tune.race.limits import Limits, in_words
from edgecvx.tune.race.measured import Standing
from edgecvx.tune.race.race import Race
from edgecvx.tune.race.verdict import Decided, Drawn, Impossible, Undecided, Verdict
from edgecvx.tune.refine import OFF, Refinement
from edgecvx.tune.report.values import Account, DeviceResult, Ending, Miss, NextLimit, Part, Row, State
from edgecvx.tune.space import Candidate
from edgecvx.tune.space.bounds import Dropped

RUNNERS_UP = 3


def device_result(
    where: Field,
    run: Race,
    every: Sequence[Candidate],
    dropped: Sequence[Dropped],
    left_out: Mapping[str, str],
    forecast: Forecast,
    refined: Sequence[Refinement],
    limits: Limits,
) -> DeviceResult:
    """Everything that is known of one device."""
    ending = ending_of(run.verdict)
    raced = [_raced(where, s, run, ending, limits) for s in run.standings]
    names = {where.candidates[s.name].key for s in run.standings}
    others = [_predicted(c, forecast, left_out) for c in every if c.key not in names]
    gone = [_dropped(d) for d in dropped]
    unmeasured = len(others) + len(gone)
    if raced and unmeasured and ending.kind in ("decided", "impossible"):
        more = f" {counted(unmeasured, 'other file')} did not race: they were predicted to do worse."
        ending = replace(ending, sentence=ending.sentence + more)
    return DeviceResult(
        device=" and ".join(where.devices),
        what=" ".join(where.facts.values()),
        ending=ending,
        shipped=None,
        rows=(*raced, *others, *gone),
        misses=tuple(_misses(run)),
        accounts=tuple(_account(r, run, where) for r in refined),
        next_limits=tuple(next_limits(run, ending, limits)),
    )


def ending_of(verdict: Verdict) -> Ending:
    """A verdict as a program reads it."""
    if isinstance(verdict, Decided):
        return Ending(kind=verdict.kind, sentence=verdict.sentence, file=verdict.winner, tied=verdict.tied)
    if isinstance(verdict, Undecided):
        return Ending(
            kind=verdict.kind,
            sentence=verdict.sentence,
            file=verdict.leader,
            between=verdict.between,
            pictures=verdict.pictures,
            minutes=None if verdict.minutes is None else round(verdict.minutes, 2),
        )
    if isinstance(verdict, Impossible):
        return Ending(kind=verdict.kind, sentence=verdict.sentence, file=verdict.closest, binding=verdict.binding)
    first = verdict.front[0] if isinstance(verdict, Drawn) and verdict.front else None
    return Ending(kind=verdict.kind, sentence=verdict.sentence, file=first, front=verdict.front)


# Rows


def _raced(where: Field, standing: Standing, run: Race, ending: Ending, limits: Limits) -> Row:
    candidate = where.candidates[standing.name]
    state, why = _state(standing, run, ending, limits)
    rounds = len(standing.rounds)
    answers = standing.answers
    file = None if standing.error else where.workshop.file(candidate)
    return replace(
        _row(candidate, name=standing.name, state=state, why=why),
        bytes=standing.entrant.bytes,
        predicted_ms=standing.entrant.predicted.ms,
        predicted_top1=None,
        ms=standing.ms,
        ms_interval=interval_of_ms(standing),
        top1=standing.top1,
        change=None if standing.drop is None else -standing.drop,
        change_interval=interval_of_change(standing),
        pictures=0 if answers is None else len(answers.right),
        rounds=rounds,
        peak_bytes=standing.peak_bytes,
        sha256=None if file is None else hash_of_file(file),
    )


def _state(standing: Standing, run: Race, ending: Ending, limits: Limits) -> tuple[State, str]:
    if standing.error is not None:
        return "error", standing.error
    broken = [c.limit for c in run.settled if c.kind == "breaks" and c.of == standing.name and c.limit is not None]
    if broken:
        return "breaks", "breaks " + " and ".join(in_words(k, limits.named[k] or 0.0) for k in sorted(broken))
    if ending.kind == "decided" and standing.name == ending.file:
        return "ship", "keeps every limit, and nothing is better"
    if standing.name in ending.tied:
        return "tied", f"as good as {ending.file}"
    if ending.kind == "front":
        return "kept", "on the front" if standing.name in ending.front else "something faster is about as often right"
    slower = [c.than for c in run.settled if c.kind == "not better" and c.of == standing.name]
    if slower:
        return "kept", f"not better than {slower[-1]}"
    return "open", "the best by what is known" if standing.name == ending.file else "it may be the one to ship"


def _predicted(candidate: Candidate, forecast: Forecast, left_out: Mapping[str, str]) -> Row:
    row = _row(candidate, name=candidate.title, state="predicted", why=left_out.get(candidate.key, "predicted only"))
    measured = candidate.key in forecast.times and not candidate.decisions
    ms = forecast.ms(candidate)
    return replace(row, predicted_ms=ms, predicted_top1=forecast.top1(candidate), ms=ms if measured else None)


def _dropped(dropped: Dropped) -> Row:
    return _row(dropped.candidate, name=dropped.candidate.title, state="dropped", why=dropped.sentence)


def _row(candidate: Candidate, *, name: str, state: State, why: str) -> Row:
    return Row(
        name=name,
        model=candidate.model,
        size=candidate.size,
        target=candidate.target,
        precision=candidate.precision.value,
        threads=candidate.threads,
        decisions=dict(candidate.decisions),
        state=state,
        why=why,
        bytes=None,
        predicted_ms=None,
        predicted_top1=None,
        ms=None,
        ms_interval=None,
        top1=None,
        change=None,
        change_interval=None,
        pictures=0,
        rounds=0,
        peak_bytes=None,
        sha256=None,
    )


# Why


def _misses(run: Race) -> list[Miss]:
    """Predictions beside measurements."""
    return [
        Miss(
            name=s.name,
            predicted_ms=predicted,
            ms=s.ms,
            off=s.ms / predicted - 1,
            mended=abs(s.ms / predicted - 1) > OFF,
        )
        for s in run.standings
        if s.ms is not None and (predicted := s.entrant.predicted.ms)
    ]


def _account(refinement: Refinement, run: Race, where: Field) -> Account:
    """What each decision costs, beside the file that was looked at last: the best of those that were mixed."""
    raced = [s for s in run.standings if refinement.is_of(where.candidates[s.name]) and s.ms is not None]
    mixed = [s for s in raced if where.candidates[s.name].decisions]
    best = min(mixed, key=lambda s: s.ms or 0.0, default=None)
    chosen = {} if best is None else dict(where.candidates[best.name].decisions)
    exact = {d.name: d.exact for d in refinement.decisions}
    base = refinement.cost.predict(exact).ms
    parts = [
        Part(
            decision=effect.decision,
            option=effect.option,
            ms=refinement.cost.predict({**exact, effect.decision: effect.option}).ms - base,
            energy=effect.energy,
            chosen=chosen.get(effect.decision) == effect.option,
        )
        for effect in refinement.loss.effects
    ]
    return Account(of=refinement.plain.title, parts=tuple(parts), base_ms=base)


def next_limits(run: Race, ending: Ending, limits: Limits) -> list[NextLimit]:
    """What a looser limit would buy: the nearest file beyond each limit that is better than the one in front.

    Where no file keeps the limits, the nearest is bought at all.
    """
    in_front = next((s for s in run.standings if s.name == ending.file and ending.kind != "impossible"), None)
    found = []
    for kind, limit in limits.named.items():
        if limit is None:
            continue
        only, others = limits.only(kind), limits.without(kind)
        timed = [s for s in run.standings if s.error is None and s.ms is not None and s is not in_front]
        beyond = [s for s in timed if excess(s, only) > 0 >= excess(s, others)]
        beyond = [s for s in beyond if in_front is None or _gains(s, in_front, limits)]
        if beyond:
            nearest = min(beyond, key=lambda s: (excess(s, only), s.name))
            value = _value(nearest, kind)
            sentence = _buys(kind, value, nearest, in_front)
            found.append(NextLimit(limit=kind, value=value, file=nearest.name, sentence=sentence))
    return found


def _gains(standing: Standing, front: Standing, limits: Limits) -> bool:
    if limits.objective == "fastest":
        return (standing.ms or 0.0) < (front.ms or 0.0)
    return (standing.top1 or 0.0) > (front.top1 or 0.0)


def _value(standing: Standing, kind: str) -> float:
    values = {
        "max_p50": standing.ms or 0.0,
        "max_mb": standing.entrant.bytes / 1e6,
        "max_memory": (standing.peak_bytes or 0) / 1e6,
        "max_drop": 100 * (standing.drop or 0.0),
        "min_top1": 100 * (standing.top1 or 0.0),
    }
    return round(values[kind], 4)


def _buys(kind: str, value: float, standing: Standing, in_front: Standing | None) -> str:
    words = {"max_p50": "{:.3g} ms", "max_mb": "{:.3g} MB", "max_memory": "{:.3g} MB of memory"}
    words |= {"max_drop": "{:.3g} points lost", "min_top1": "{:.4g}% right"}
    ms, right, size = standing.ms or 0.0, standing.top1 or 0.0, megabytes(standing.entrant.bytes)
    figures = f"{milliseconds(ms)}, {percent(right)} right, {size}"
    gain = ""
    if in_front is not None and in_front.top1 is not None and in_front.ms is not None:
        change = points(right - in_front.top1)
        gain = f": {change} points of top-1, {milliseconds(ms)} in place of {milliseconds(in_front.ms)}"
    return f"A limit of {words[kind].format(value)} would allow {standing.name} ({figures}){gain}."


# The files


def ship(where: Field, run: Race, result: DeviceResult, out: Path, *, alone: bool) -> DeviceResult:
    """Lays the file to ship, and the runners-up, where people find them."""
    folder = Path("ship") if alone else Path("ship") / _slug(result.device)
    shipped = None
    if result.ending.file is not None and result.ending.kind in ("decided", "undecided"):
        shipped = _lay(where, result.ending.file, out, folder)
    order = sorted(
        (s for s in run.standings if s.name != result.ending.file and s.error is None and s.ms is not None),
        key=lambda s: (sum(c.kind == "breaks" and c.of == s.name for c in run.settled), s.ms or 0.0),
    )
    for rank, standing in enumerate(order[:RUNNERS_UP], 1):
        _lay(where, standing.name, out, Path("runners-up") / (_slug(result.device) if not alone else "") / str(rank))
    return replace(result, shipped=shipped)


def _lay(where: Field, name: str, out: Path, folder: Path) -> str | None:
    try:
        file = where.workshop.file(where.candidates[name])
    except EdgecvxError:
        return None
    for entry in (*(e.path for e in file.manifest.files), manifest_path(file.path).name):
        place_copy(file.path.parent / entry, out / folder / entry)
    return (folder / file.path.name).as_posix()


def _slug(device: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in device).strip("-")
