"""Puts together what a device tells, event by event; and after a cut, what is left to ask for.

Events come from another machine: each is checked key by key, and what does not fit is an error that names the device.
So is what was not asked for: a turn twice, more runs than were ordered.
Nothing that was measured is thrown away, with one exception: a sustained run that was cut in two is no sustained run,
and is made again from its beginning. So is a round; the turns it already had stay among the samples.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from edgecvx.board import PROTOCOL
from edgecvx.board.proof import Proof
from edgecvx.board.runner.order import SKIPPABLE
from edgecvx.errors import DeviceError, EdgecvxError
from edgecvx.latency.devices.job import Job
from edgecvx.results import statistics
from edgecvx.results.latency import (
    Conditions,
    DeviceBench,
    Fingerprint,
    Measured,
    Memory,
    Sustained,
    ToolTimings,
    Turn,
    WarmUp,
)
from edgecvx.results.untrusted import check_json
from edgecvx.runtimes.proof import Recheck
from edgecvx.spec import from_json

Reported = TypeVar("Reported", Fingerprint, Conditions)


@dataclass(frozen=True, slots=True, kw_only=True)
class At:
    """How far the benchmark on one device is."""

    device: str
    round: int
    """Rounds that are over."""
    of: int
    doing: str
    """In words: ``warming up femto.tflite``."""


@dataclass(slots=True)
class _Gathered:
    """What came of one artifact so far."""

    measured: Measured
    """With what came at once, and without what comes turn by turn."""
    opened: Mapping[str, Any] | None = None
    model: list[Turn] = field(default_factory=list)
    end_to_end: list[Turn] = field(default_factory=list)
    windows: list[Turn] = field(default_factory=list)
    sustained_over: bool = False

    def take(self, **values: Any) -> None:
        """Puts what came into ``measured``."""
        self.measured = dataclasses.replace(self.measured, **values)


class Collector:
    """The events of one device, gathered."""

    def __init__(
        self,
        job: Job,
        requested: Sequence[Measured],
        *,
        device: str,
        tell: Callable[[At], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Starts with nothing gathered.

        Args:
            job: What the device is asked for.
            requested: What the host knows of each artifact in the order, without any figures.
            device: As the user wrote it.
            tell: Called as the benchmark goes on.
            clock: Seconds; counts through interruptions, which the device's own clock does not.
        """
        self.device = device
        self._job, self._tell, self._clock = job, tell, clock
        self._gathered = {request.id: _Gathered(request) for request in requested}
        self._fingerprint: Fingerprint | None = None
        self._before: Conditions | None = None
        self._after: Conditions | None = None
        self._error: str | None = None
        self.done = False
        """Whether the device said that this was all."""
        self._rounds_over = int(job.order["first_round"])
        self.interruptions = 0
        """How often ``rest`` had something left."""
        self._hellos = 0
        self._events = 0
        """Since the runner began."""
        self._turns: set[tuple[str, str]] = set()
        """Artifact and kind of every turn in the round that is not over."""
        self._began: float | None = None
        self._offset = 0.0
        """Seconds from the first beginning to the latest one."""

    def add(self, event: Mapping[str, Any]) -> None:
        """Takes one event.

        Raises:
            DeviceError: It is none that a runner of this version sends.
        """
        handler = getattr(self, f"_on_{event.get('event')}", None)
        try:
            if handler is None:
                raise EdgecvxError("no runner of this version sends it")
            self._events += 1
            if self._events > self._most_events():
                raise EdgecvxError("it tells more than there is to tell, and would never end")
            handler(check_json(event))
        except KeyError as error:
            raise self._strange(event, f"{error} is missing") from None
        except (EdgecvxError, TypeError, ValueError, RecursionError) as error:
            if isinstance(error, DeviceError):
                raise
            raise self._strange(event, str(error)) from None

    def rest(self) -> Job | None:
        """What is left to measure after the connection was lost; None where nothing is.

        The same artifacts but those that failed, from the first round that is not over. Calling it says that there was
        an interruption.
        """
        order, found = self._job.order, self._gathered
        alive = [dict(a) for a in order["artifacts"] if found[a["id"]].measured.error is None]
        sustained = [a["id"] for a in alive if order["sustained_minutes"] and not found[a["id"]].sustained_over]
        if self.done or not alive or (self._rounds_over >= order["rounds"] and not sustained):
            return None
        self.interruptions += 1
        skip: dict[str, list[str]] = {}
        for a in alive:
            gathered = found[a["id"]]
            if gathered.measured.memory is not None:
                skip.setdefault(a["id"], []).append("memory")
            if a["id"] not in sustained:
                skip.setdefault(a["id"], []).append("sustained")
            else:
                gathered.windows.clear()
        return self._job.with_order(artifacts=alive, first_round=self._rounds_over, skip=skip)

    @property
    def progress(self) -> str:
        """How far it came, in words for a message."""
        return f"after {self._rounds_over} of {self._job.order['rounds']} rounds"

    def result(self, error: str | None = None) -> DeviceBench:
        """Everything that was measured, with the figures that follow from it.

        Args:
            error: Why the device was given up, if it was.
        """
        error = self._error if error is None else error
        measured = tuple(self._measured(g, whole=error is None) for g in self._gathered.values())
        turns = [turn for m in measured for turn in (*m.model, *m.end_to_end)]
        yardsticks = [(t.started, t.yardstick_ns) for t in turns if t.yardstick_ns is not None]
        return DeviceBench(
            fingerprint=self._fingerprint
            or _unreported(Fingerprint, id="unknown", name=self.device, machine="unknown", facts={}),
            before=self._before or _unreported(Conditions, at="unknown"),
            after=self._after,
            measured=measured,
            ratios=statistics.ratios(measured),
            noise=statistics.noise([ns for _, ns in sorted(yardsticks)]),
            interruptions=self.interruptions,
            error=error,
        )

    # What each event does: `_on_` and its name.

    def _on_hello(self, event: Mapping[str, Any]) -> None:
        if event["protocol"] != PROTOCOL:
            raise EdgecvxError(f"it speaks protocol {event['protocol']!r}, this edgecvx {PROTOCOL}")
        if self._hellos > self.interruptions:
            raise EdgecvxError("it began twice")
        self._hellos += 1
        self._events = 0
        self._turns.clear()
        now = self._clock()
        self._began = now if self._began is None else self._began
        self._offset = now - self._began

    def _on_fingerprint(self, event: Mapping[str, Any]) -> None:
        found = from_json(Fingerprint, {**_object(event["fingerprint"]), "name": self.device}, where="fingerprint")
        if self._fingerprint is not None and found.id != self._fingerprint.id:
            raise DeviceError(f"{self.device}: after an interruption another device answered under this name")
        self._fingerprint = found

    def _on_before(self, event: Mapping[str, Any]) -> None:
        conditions = from_json(Conditions, event["conditions"], where="conditions")
        self._before = self._before or conditions

    def _on_after(self, event: Mapping[str, Any]) -> None:
        self._after = from_json(Conditions, event["conditions"], where="conditions")

    def _on_memory(self, event: Mapping[str, Any]) -> None:
        gathered = self._of(event)
        memory = from_json(Memory, event["memory"], where="memory")
        if min(size for size in (memory.runtime, memory.model, memory.peak, 0) if size is not None) < 0:
            raise EdgecvxError("memory below zero cannot be")
        gathered.take(memory=memory)
        self._say(f"memory of {gathered.measured.identity.file}")

    def _on_compiling(self, event: Mapping[str, Any]) -> None:
        self._say(f"compiling {self._of(event).measured.identity.file}")

    def _on_opened(self, event: Mapping[str, Any]) -> None:
        gathered = self._of(event)
        for key in ("load_ns", "first_ns"):
            if from_json(int, event[key], where=key) <= 0:
                raise EdgecvxError(f"{key} is {event[key]}")
        for key in ("runtime_version", "backend", "arithmetic"):
            reported = from_json(_OptionalText, {"text": event[key]}, where=key).text
            if gathered.opened is not None and gathered.opened[key] != reported:
                raise DeviceError(
                    f"{self.device}: after an interruption, {gathered.measured.identity.file} was opened with {key} "
                    f"{reported!r} instead of {gathered.opened[key]!r}: these times do not belong together"
                )
        if event.get("threads") is not None and from_json(int, event["threads"], where="threads") < 1:
            raise EdgecvxError(f"threads is {event['threads']}")
        gathered.opened = gathered.opened or dict(event)
        gathered.take(recheck=self._rechecked(gathered.measured, event.get("recheck")))
        self._say(f"warming up {gathered.measured.identity.file}")

    def _rechecked(self, request: Measured, reported: object) -> Recheck | None:
        """What the device says of the file's proof, beside what it was held to."""
        if reported is None:
            return None
        (proved,) = [a.get("proved") for a in self._job.order["artifacts"] if a["id"] == request.id]
        found = from_json(_Rechecked, reported, where="recheck")
        if proved is None or (found.error is not None and not 0 <= found.error <= proved["limit"]):
            raise EdgecvxError(f"a file that is off by {found.error} was not to be measured")
        there = from_json(Proof, proved["proof"]).there(request.identity.runtime, request.options)
        return Recheck(proved=there, here=found.here, error=found.error, limit=proved["limit"])

    def _on_warm(self, event: Mapping[str, Any]) -> None:
        gathered = self._of(event)
        warm_up = from_json(WarmUp, {k: event[k] for k in ("samples_ns", "steady")}, where="warm-up")
        _check_samples(warm_up.samples_ns)
        most = self._job.order.get("warm_up", {}).get("max_runs")
        if most is not None and len(warm_up.samples_ns) > most:
            raise EdgecvxError(f"{len(warm_up.samples_ns)} runs of a warm-up were not asked for")
        gathered.take(warm_up=gathered.measured.warm_up or warm_up)

    def _on_turn(self, event: Mapping[str, Any]) -> None:
        gathered = self._of(event)
        turn = self._read_turn(event)
        kind = from_json(str, event["kind"], where="kind")
        if kind not in ("model", "end_to_end"):
            raise EdgecvxError(f"kind is {kind!r}")
        self._check_asked_for(gathered, kind, turn)
        (gathered.model if kind == "model" else gathered.end_to_end).append(turn)

    def _check_asked_for(self, gathered: _Gathered, kind: str, turn: Turn) -> None:
        order, this = self._job.order, (gathered.measured.id, kind)
        if turn.round != self._rounds_over or turn.round >= order["rounds"] or this in self._turns:
            raise EdgecvxError(f"this turn of round {turn.round} was not asked for")
        if order["runs"] is not None and len(turn.samples_ns) > -(-order["runs"] // order["rounds"]):
            raise EdgecvxError(f"{len(turn.samples_ns)} runs in one turn were not asked for")
        self._turns.add(this)

    def _on_told(self, event: Mapping[str, Any]) -> None:
        timings = from_json(ToolTimings, event["told"], where="told")
        if timings.runs < 1 or min((timings.mean, *timings.means)) <= 0:
            raise EdgecvxError(f"{timings.runs} runs of {timings.mean:g} ms cannot be")
        self._of(event).take(told=timings)

    def _on_note(self, event: Mapping[str, Any]) -> None:
        kind = from_json(str, event["kind"], where="kind")
        if kind not in SKIPPABLE:  # what can be left out is what a note can be about
            raise EdgecvxError(f"kind is {kind!r}")
        gathered, sentence = self._of(event), from_json(str, event["sentence"], where="sentence")
        if kind == "end_to_end":
            gathered.take(end_to_end_note=sentence)

    def _on_round(self, event: Mapping[str, Any]) -> None:
        over = from_json(int, event["round"], where="round")  # of so many, so many are over
        if over != self._rounds_over + 1 or over > self._job.order["rounds"]:
            raise EdgecvxError(f"{over} rounds cannot be over after {self._rounds_over}")
        self._rounds_over = over
        self._turns.clear()
        self._say("rounds")

    def _on_window(self, event: Mapping[str, Any]) -> None:
        gathered = self._of(event)
        for other in self._gathered.values():  # one after the other: whoever has windows and is not at it is over
            other.sustained_over = other.sustained_over or (other is not gathered and bool(other.windows))
        window = self._read_turn(event)
        if window.round != len(gathered.windows) or window.round >= 60 * self._job.order["sustained_minutes"]:
            raise EdgecvxError(f"a window {window.round} was not asked for")
        gathered.windows.append(window)
        self._say(f"sustained run of {gathered.measured.identity.file}")

    def _on_error(self, event: Mapping[str, Any]) -> None:
        sentence = from_json(str, event["sentence"], where="sentence") or "it gave no reason"
        if event["id"] is None:
            self._error = sentence
        else:
            self._of(event).take(error=sentence)

    def _on_done(self, _: Mapping[str, Any]) -> None:
        self.done = True
        self._say("done")

    # What they share.

    def _of(self, event: Mapping[str, Any]) -> _Gathered:
        known = self._gathered.get(str(event["id"]))
        if known is None:
            raise EdgecvxError(f"there is no artifact {event['id']!r}")
        return known

    def _read_turn(self, event: Mapping[str, Any]) -> Turn:
        turn = from_json(Turn, event["turn"], where="turn")
        _check_samples(turn.samples_ns)
        for name, part in turn.parts_ns.items():
            if len(part) != len(turn.samples_ns):
                raise EdgecvxError(f"{len(part)} times of {name} for {len(turn.samples_ns)} runs")
        # Nothing, by a clock that steps by milliseconds; never less.
        if (least := min((turn.started, *turn.settle_ns, *(ns for part in turn.parts_ns.values() for ns in part)))) < 0:
            raise EdgecvxError(f"a time of {least:g} cannot be")
        if turn.yardstick_ns is not None:
            _check_samples((turn.yardstick_ns,))
        return dataclasses.replace(turn, started=turn.started + self._offset)

    def _say(self, doing: str) -> None:
        if self._tell is not None:
            rounds = int(self._job.order["rounds"])
            self._tell(At(device=self.device, round=min(self._rounds_over, rounds), of=rounds, doing=doing))

    def _most_events(self) -> int:
        """A few for each artifact, its turns and windows; a few for the device, and its rounds."""
        rounds, windows, few = int(self._job.order["rounds"]), 60 * float(self._job.order["sustained_minutes"]), 20
        return few + rounds + (few + 2 * rounds + math.ceil(windows)) * len(self._gathered)

    def _strange(self, event: Mapping[str, Any], why: str) -> DeviceError:
        return DeviceError(f"{self.device}: its runner sent a strange event {str(event.get('event'))[:40]!r}: {why}")

    def _measured(self, gathered: _Gathered, *, whole: bool) -> Measured:
        """One artifact with all that came of it; where the device has no error, one without times is one."""
        known, opened, error = gathered.measured, gathered.opened or {}, gathered.measured.error
        if error is None and whole and not gathered.model and known.told is None:
            error = "the device printed no times of it, nor why"
        identity = dataclasses.replace(known.identity, runtime_version=opened.get("runtime_version"))
        return dataclasses.replace(
            known,
            identity=identity,
            backend=opened.get("backend"),
            arithmetic=opened.get("arithmetic"),
            threads_told=opened.get("threads"),
            load_ns=opened.get("load_ns"),
            first_ns=opened.get("first_ns"),
            error=error,
            model=tuple(gathered.model),
            end_to_end=tuple(gathered.end_to_end),
            model_summary=statistics.summary(gathered.model, batch=known.batch),
            end_to_end_summary=statistics.summary(gathered.end_to_end, batch=known.batch),
            sustained=_sustained(gathered.windows),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _OptionalText:
    text: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rechecked:
    here: str
    error: float | None


def _object(data: object) -> Mapping[str, Any]:
    if not isinstance(data, dict):
        raise EdgecvxError("expected an object")
    return data


def _check_samples(samples: Sequence[int]) -> None:
    if not samples:
        raise EdgecvxError("it holds no run")
    if any(ns <= 0 for ns in samples):
        raise EdgecvxError(f"a run of {min(samples)} ns cannot be")


def _sustained(windows: Sequence[Turn]) -> Sustained | None:
    if not windows:
        return None
    first, last = windows[0], windows[-1]
    found = statistics.slowdown(windows)
    return Sustained(
        seconds=last.started - first.started + sum(last.samples_ns) / 1e9,
        windows=tuple(windows),
        slowdown=None if found is None else found[1],
        slowdown_ratio=None if found is None else found[0],
    )


def _unreported(kind: type[Reported], **known: Any) -> Reported:
    """What is left of a device that never reported one: nothing but what is known without it."""
    return kind(**{**dict.fromkeys(field.name for field in dataclasses.fields(kind)), **known})
