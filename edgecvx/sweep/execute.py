"""Carries out a plan: what can be done is done, in lanes that do not disturb each other.

Machines compute in one lane; each device has a lane of its own, since it is timed over a wire that costs next to
nothing. A device that is this machine, or one of those that compute, is timed while nothing else of the sweep runs.
What another sweep has under way in the same folder is left to it. A device that does not answer is looked for again,
after pauses that grow, and the rest goes on meanwhile.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from edgecvx.errors import EdgecvxError
from edgecvx.sweep.child import Stopped, in_child
from edgecvx.sweep.job import COMPUTING, Job
from edgecvx.sweep.plan import Plan
from edgecvx.sweep.store import Lock, Store
from edgecvx.sweep.work import Done, Failed, Outcome, Task, Tell

State = Literal["waiting", "running", "elsewhere", "done", "failed"]
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 300.0
"""Seconds until a device that did not answer is looked for again."""
_TICK = 0.5
_TURN = "turn"
"""Beside the keys of a batch's jobs: the right to compute, or to time what computes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """Jobs on their way."""

    name: str
    lane: str
    doing: str = ""
    done: int = 0
    of: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a sweep is."""

    counts: Mapping[tuple[str, State], int]
    """(kind, state) -> jobs."""
    running: tuple[Running, ...]
    workers: Mapping[str, str] = field(default_factory=dict)
    """Worker of a cluster -> what it does."""
    said: str | None = None
    """A sentence that is new: a job that failed, a device that is looked for again."""


class Hands(Protocol):
    """Who does the work of the computing lane."""

    def fitting(self, ready: Sequence[Job]) -> Sequence[Job]:
        """Which of the jobs that could be done are taken next, together."""

    def carry_out(
        self, jobs: Sequence[Job], inputs: Mapping[str, Path], folder: Path, tell: Tell, stop: threading.Event
    ) -> Iterator[Outcome]:
        """Does them; see ``work.carry_out``."""

    def device(
        self, job: Job, inputs: Mapping[str, Path], folder: Path, tell: Tell, stop: threading.Event
    ) -> Iterator[Outcome]:
        """Times files on a device."""

    def workers(self) -> Mapping[str, str]:
        """What each worker does, where there are any."""

    def shares(self, device: str) -> bool:
        """Whether a device is one of the machines that compute."""


class Child:
    """This machine: one process after the other."""

    def fitting(self, ready: Sequence[Job]) -> Sequence[Job]:
        """The first, and all that are best done with it."""
        return [job for job in ready if (job.kind, job.together) == (ready[0].kind, ready[0].together)]

    def carry_out(
        self, jobs: Sequence[Job], inputs: Mapping[str, Path], folder: Path, tell: Tell, stop: threading.Event
    ) -> Iterator[Outcome]:
        """In a process of its own."""
        return in_child(jobs[0].kind, tasks_of(jobs), inputs, folder, tell, stop)

    def device(
        self, job: Job, inputs: Mapping[str, Path], folder: Path, tell: Tell, stop: threading.Event
    ) -> Iterator[Outcome]:
        """In a process of its own, too."""
        return in_child(job.kind, tasks_of([job]), inputs, folder, tell, stop)

    def workers(self) -> Mapping[str, str]:
        """None."""
        return {}

    def shares(self, device: str) -> bool:
        """Whether it is this machine under another name."""
        from edgecvx.sweep.machines import is_here

        return is_here(device)


def tasks_of(jobs: Sequence[Job]) -> list[Task]:
    """Jobs as they travel to where they are carried out."""
    return [Task(key=job.key, name=job.name, call=job.call) for job in jobs]


@dataclass(slots=True)
class _Lane:
    """One queue of work that is done one after the other."""

    exclusive: bool = False
    """Whether nothing else may run meanwhile."""
    tries: int = 1
    tried: int = 0
    not_before: float = 0.0


@dataclass(slots=True)
class _Batch:
    """Jobs that a thread is at."""

    jobs: Sequence[Job]
    locks: dict[str, Lock]
    running: Running


class Execution:
    """One plan on its way."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        hands: Hands,
        *,
        tell: Callable[[Progress], None] | None = None,
        pause: float = FIRST_PAUSE,
    ) -> None:
        """Looks what is done already.

        Args:
            plan: What to do.
            store: Where results are, and go.
            hands: Who does it.
            tell: Called as it goes on, from this thread.
            pause: Seconds until a device that did not answer is looked for again, at first.
        """
        self._plan, self._store, self._hands, self._tell, self._pause = plan, store, hands, tell, pause
        self.state: dict[str, State] = {k: "done" if store.find(k) else "waiting" for k in plan.jobs}
        self.reasons: dict[str, str] = {}
        """Key of a failed job -> why, in a sentence."""
        self.computed: Counter[str] = Counter()
        """Kind -> jobs that were carried out here."""
        self._lanes = {COMPUTING: _Lane()}
        for d in plan.recipe.devices:
            self._lanes[d.name] = _Lane(exclusive=hands.shares(d.device), tries=d.tries)
        self._batches: dict[int, _Batch] = {}
        self._alone: set[str] = set()
        self._stop = threading.Event()
        self._news: queue.SimpleQueue[tuple[int, Outcome | BaseException | Running | None]] = queue.SimpleQueue()
        self._number = 0

    def run(self) -> None:
        """Does everything that can be done.

        Raises:
            KeyboardInterrupt: The user stopped it; what was done stays done.
            OSError: The disk does not take results any more.
        """
        try:
            while self._left():
                self._start()
                self._take()
        finally:
            self._stop.set()
            self._tell = None  # who looks on may be what ended this
            while self._batches:
                self._take()

    def _left(self) -> bool:
        return any(state not in ("done", "failed") for state in self.state.values())

    # Starting

    def _start(self) -> None:
        self._drop_hopeless()
        self._look_elsewhere()
        ready = [job for job in self._plan.jobs.values() if self._is_ready(job)]
        now = time.monotonic()
        ready = [job for job in ready if now >= self._lanes[job.lane].not_before]
        for name, lane in self._lanes.items():
            of_lane = [job for job in ready if job.lane == name]
            if of_lane and self._may_begin(name, lane, ready):
                jobs = [of_lane[0]] if of_lane[0].key in self._alone or name else list(self._hands.fitting(of_lane))
                self._begin([job for job in jobs if len(jobs) == 1 or job.key not in self._alone])

    def _is_ready(self, job: Job) -> bool:
        return self.state[job.key] == "waiting" and all(self.state[key] == "done" for key in job.before)

    def _may_begin(self, name: str, lane: _Lane, ready: Sequence[Job]) -> bool:
        running = [batch.running.lane for batch in self._batches.values()]
        if name in running or any(self._lanes[other].exclusive for other in running):
            return False
        # What wants the machine for itself comes when there is nothing else to do, and so holds nobody up for long.
        return not lane.exclusive or (not running and all(self._lanes[job.lane].exclusive for job in ready))

    def _drop_hopeless(self) -> None:
        """Fails jobs whose files were not made."""
        for job in self._plan.jobs.values():
            missing = [key for key in job.before if self.state[key] == "failed"]
            if self.state[job.key] == "waiting" and missing:
                self._fail(job, f"{self._plan.jobs[missing[0]].name} was not made")

    def _look_elsewhere(self) -> None:
        """Takes what another sweep has done meanwhile, and what it left behind."""
        for key, state in self.state.items():
            if state != "elsewhere":
                continue
            if self._store.find(key):
                self.state[key] = "done"
            elif (lock := self._store.lock(key)) is not None:
                lock.release()
                self.state[key] = "waiting"

    def _begin(self, jobs: Sequence[Job]) -> None:
        lane = self._lanes[jobs[0].lane]
        turn = self._store.turn(alone=lane.exclusive) if lane.exclusive or not jobs[0].lane else None
        if turn is None and (lane.exclusive or not jobs[0].lane):
            return  # another sweep in this folder computes, or times its machine: it is asked again in a moment
        locks: dict[str, Lock] = {} if turn is None else {_TURN: turn}
        for job in jobs:
            lock = self._store.lock(job.key)
            if lock is None:
                self.state[job.key] = "elsewhere"
                self._say(f"{job.name}: left to {self._store.owner(job.key)}, which is at it")
            elif self._store.find(job.key):  # it was done between our looking and our locking
                lock.release()
                self.state[job.key] = "done"
            else:
                locks[job.key] = lock
                self.state[job.key] = "running"
        mine = [job for job in jobs if job.key in locks]
        if not mine:
            for lock in locks.values():
                lock.release()
            return
        name = mine[0].name + (f" and {len(mine) - 1} more" if len(mine) > 1 else "")
        running = Running(name=f"{mine[0].kind} {name}", lane=mine[0].lane)
        self._number += 1
        self._batches[self._number] = _Batch(mine, locks, running)
        threading.Thread(target=self._work, args=(self._number, mine), name="edgecvx sweep", daemon=True).start()
        self._show()

    def _work(self, number: int, jobs: Sequence[Job]) -> None:
        """In a thread of its own: carries out jobs, and publishes what comes of each."""
        batch = self._batches[number]
        running = batch.running

        def tell(doing: str, done: int, of: int) -> None:
            told = Running(name=running.name, lane=running.lane, doing=doing, done=done, of=of)
            self._news.put((number, told))

        by_key = {job.key: job for job in jobs}
        try:
            inputs = {key: result.path for key in self._inputs(jobs) if (result := self._store.find(key))}
            with self._store.staging() as folder:
                for outcome in self._outcomes(jobs, inputs, folder, tell):
                    if isinstance(outcome, Done):
                        self._store.publish(
                            by_key[outcome.key],
                            folder / outcome.key,
                            main=outcome.main,
                            seconds=outcome.seconds,
                            warnings=outcome.warnings,
                        )
                    self._news.put((number, outcome))
        except Stopped:
            pass
        except EdgecvxError as error:  # a cluster that is gone, for one: it is nobody's fault but stops these
            for job in jobs:
                self._news.put((number, Failed(key=job.key, sentence=str(error))))
        except BaseException as error:  # noqa: BLE001  # raised again by the thread that waits for this one
            self._news.put((number, error))
        finally:
            for lock in batch.locks.values():
                lock.release()
            self._news.put((number, None))

    def _outcomes(self, jobs: Sequence[Job], inputs: Mapping[str, Path], folder: Path, tell: Tell) -> Iterator[Outcome]:
        if jobs[0].lane:
            return self._hands.device(jobs[0], inputs, folder, tell, self._stop)
        return self._hands.carry_out(jobs, inputs, folder, tell, self._stop)

    def _inputs(self, jobs: Sequence[Job]) -> list[str]:
        return list(dict.fromkeys(key for job in jobs for key in job.before))

    # Taking what comes

    def _take(self) -> None:
        """Waits for news, for a moment, and takes all there is."""
        try:
            news = [self._news.get(timeout=_TICK)]
        except queue.Empty:
            return
        while not self._news.empty():
            news.append(self._news.get())
        errors = []
        for number, what in news:
            if what is None:
                self._over(self._batches.pop(number))
            elif isinstance(what, Running):
                self._batches[number].running = what
            elif isinstance(what, Done):
                self._did(self._plan.jobs[what.key])
            elif isinstance(what, Failed):
                self._failed(self._plan.jobs[what.key], what)
            else:
                errors.append(what)
        self._show()
        if errors:
            raise errors[0]

    def _over(self, batch: _Batch) -> None:
        """What has no outcome, because it was stopped, waits again."""
        for job in batch.jobs:
            if self.state[job.key] == "running":
                self.state[job.key] = "waiting"

    def _did(self, job: Job) -> None:
        self.state[job.key] = "done"
        self.computed[job.kind] += 1
        self._lanes[job.lane].tried = 0

    def _failed(self, job: Job, outcome: Failed) -> None:
        """Fails a job for good, or lets it wait for another try."""
        if self.state[job.key] != "running":
            return
        lane = self._lanes[job.lane]
        if outcome.crashed and job.key not in self._alone:  # it may have been another one of its batch
            self._alone.add(job.key)
            self.state[job.key] = "waiting"
            return
        lane.tried += outcome.again
        if outcome.again and lane.tried < lane.tries:
            pause = min(self._pause * 2 ** (lane.tried - 1), LONGEST_PAUSE)
            lane.not_before = time.monotonic() + pause
            self.state[job.key] = "waiting"
            self._say(f"{job.name}: {outcome.sentence}; tried again in {pause:.0f} s")
            return
        self._fail(job, outcome.sentence)
        if outcome.again:
            for other in self._plan.jobs.values():
                if other.lane == job.lane and self.state[other.key] == "waiting":
                    self._fail(other, f"given up: {outcome.sentence}")

    def _fail(self, job: Job, why: str) -> None:
        self.state[job.key] = "failed"
        self.reasons[job.key] = why
        self._say(f"{job.kind} {job.name}: {why}")

    def _say(self, sentence: str) -> None:
        self._show(sentence)

    def _show(self, said: str | None = None) -> None:
        if self._tell is None:
            return
        counts: Counter[tuple[str, State]] = Counter(
            (job.kind, self.state[key]) for key, job in self._plan.jobs.items()
        )
        running = tuple(batch.running for batch in self._batches.values())
        self._tell(Progress(counts=counts, running=running, workers=self._hands.workers(), said=said))
