"""A cluster in use: calls go out, and come back though workers die, hang, fill their disks, or the scheduler restarts.

Dask gives a call of a dead worker to another by itself. The rest is here: who holds no copy of a file is sent one, who
is silent for too long is started again, and what the scheduler forgot is asked for once more.
"""

from __future__ import annotations

import contextlib
import queue
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecvx.cluster import parcels
from edgecvx.cluster.calls import Call, folder_of, name_of, perform
from edgecvx.cluster.facts import Facts, check_alike, check_same, described
from edgecvx.cluster.parcels import Parcel
from edgecvx.cluster.refusals import ClusterError, DiskFullError, ParcelMissingError, RefusalError, UnlikeError

if TYPE_CHECKING:
    from distributed import Client, Future

TRIES = 3
"""Of one call, where workers hang on it or refuse it, beside what Dask tries itself when they die."""
PATIENCE = 90.0
"""Seconds for a scheduler to come back, or for a first worker to show up."""
_TICK = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """What a worker last said of a call: so many of so many parts are done."""

    worker: str
    key: str
    done: int
    of: int


@dataclass(eq=False, slots=True, kw_only=True)
class Pending:
    """A call that was handed out; ``result`` once ``as_completed`` or ``settled`` gave it back."""

    call: Call
    resources: Mapping[str, float]
    limit: float | None
    only: tuple[str, ...] = ()
    tries: int = 0
    cancelled: bool = False
    _future: Future | None = None
    _value: Any = None
    _error: BaseException | None = None

    @property
    def key(self) -> str:
        """As it was submitted under."""
        return self.call.key

    def result(self) -> Any:
        """What the function returned.

        Raises:
            ClusterError: No worker could do it.
            Exception: What the function raised.
        """
        if self._error is not None:
            raise self._error
        return self._value


@dataclass(slots=True, kw_only=True)
class Cluster:
    """Workers, and what was asked of them; made by ``connect``."""

    client: Client
    address: str
    again: Callable[[], Client] | None
    """Connects anew to a scheduler that was restarted; None where the connection is somebody else's."""
    on_word: Callable[[Word], None] | None = None
    """Called, from a thread of Dask's, with each word of a worker."""
    differences: tuple[str, ...] = ()
    """What a report made here has to say of its workers, in sentences: that they are of several kinds."""
    warnings: list[str] = field(default_factory=list)
    """Sentences for whoever looks on: workers that get no more work, and why. No report depends on them."""
    _topic: str = field(default_factory=lambda: f"edgecvx-{secrets.token_hex(8)}")
    _facts: dict[str, Facts] = field(default_factory=dict)
    _alike: tuple[str, ...] = ()
    _shunned: dict[str, str] = field(default_factory=dict)
    _places: dict[str, Path] = field(default_factory=dict)
    _under_way: dict[int, Pending] = field(default_factory=dict)
    _looked: float = 0.0
    _keys: Counter[str] = field(default_factory=Counter)
    """Of the calls under way."""
    _heard: dict[str, tuple[float, Word]] = field(default_factory=dict)
    _arrived: queue.SimpleQueue[tuple[Pending, int]] = field(default_factory=queue.SimpleQueue)

    def meet(self) -> None:
        """Asks every worker what it is, and refuses those that cannot work together.

        Raises:
            ClusterError: No worker shows up, one lacks edgecvx, or their versions differ.
        """
        self._wait_for_workers()
        self._facts = self._asked()
        check_same(list(self._facts.values()), self.address)
        self.differences = check_alike(list(self._facts.values()))
        self._alike = tuple(sorted({facts.digest for facts in self._facts.values()}))
        self.client.subscribe_topic(self._topic, self._hear)

    @property
    def workers(self) -> tuple[Facts, ...]:
        """The workers that were met, by their addresses."""
        return tuple(self._facts[address] for address in sorted(self._facts))

    @property
    def words(self) -> Mapping[str, Word]:
        """The last word of each call under way, by its key."""
        return {key: word for key, (_, word) in self._heard.items()}

    @property
    def under_way(self) -> tuple[Pending, ...]:
        """Calls that were handed out and have not come back."""
        return tuple(self._under_way.values())

    def submit(
        self,
        function: Callable[..., Any],
        *args: Any,
        key: str | None = None,
        resources: Mapping[str, float] | None = None,
        limit: float | None = None,
        only: Sequence[str] = (),
    ) -> Pending:
        """Hands out a call.

        Args:
            function: At the top of a module of edgecvx; it is sent by name.
            *args: Plain values, arrays, parcels, and other dataclasses of edgecvx.
            key: What tells the call apart; made up where nothing is said.
            resources: Of Dask, that its worker must have: ``{"board:kitchen": 1}``.
            limit: Seconds without a word (see ``calls.tell``) after which its worker is started again, and the
                call given to another.
            only: The workers that may do it; any where none is named.
        """
        name = name_of(function)
        call = Call(
            function=name,
            args=args,
            key=key or f"{function.__name__}-{secrets.token_hex(4)}",
            topic=self._topic,
            watched=limit is not None,
            alike=self._alike,
        )
        pending = Pending(call=call, resources=resources or {}, limit=limit, only=tuple(only))
        self._start(pending)
        return pending

    def as_completed(self, futures: Iterable[Pending]) -> Iterator[Pending]:
        """These calls, each as it is done or failed; more may be submitted meanwhile, and come from ``settled``.

        Raises:
            ClusterError: The scheduler is gone, or all workers are.
        """
        wanted = {id(pending) for pending in futures}
        others: list[tuple[Pending, int]] = []
        while wanted:
            pending = self.settled()
            if pending is not None and id(pending) in wanted:
                wanted.remove(id(pending))
                yield pending
            elif pending is None:  # they came back before
                break
            else:
                others.append((pending, pending.tries))
        for other in others:
            self._arrived.put(other)

    def settled(self, timeout: float | None = None) -> Pending | None:
        """The next call that is done or failed; None where none is within ``timeout`` seconds, or none is under way.

        Raises:
            ClusterError: The scheduler is gone, or all workers are.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            if time.monotonic() > self._looked + _TICK:
                self._looked = time.monotonic()
                self._look_after()
            try:
                pending, tries = self._arrived.get(timeout=_TICK)
            except queue.Empty:
                pass
            else:
                if not pending.cancelled and tries == pending.tries and self._taken(pending):
                    return pending
                continue
            if not self._under_way or (deadline is not None and time.monotonic() > deadline):
                return None

    def cancel(self, futures: Iterable[Pending]) -> None:
        """Takes calls back; one that runs is left to its worker, and nobody waits for it."""
        for pending in futures:
            pending.cancelled = True
            self._end(pending)
            if pending._future is not None:
                pending._future.cancel()

    def ask_all(self, function: Callable[..., Any], *args: Any) -> Mapping[str, Any]:
        """What each worker says at once, of a question that is answered quickly; an exception is what one says, too."""
        name_of(function)
        answers: Mapping[str, Any] = self.client.run(function, *args, on_error="return")
        return {worker: answer for worker, answer in answers.items() if worker not in self._shunned}

    def send(self, path: Path, beside: Sequence[str] = ()) -> Parcel:
        """Brings a file or folder, and what it needs ``beside`` it, to every worker that does not hold it yet.

        Returns:
            What a call is given for it; ``parcels.fetch`` makes a path of it on the worker.
        """
        parcel, places = parcels.packed(path, beside)
        self._places |= places
        self._deliver(tuple(places), None)
        return parcel

    # --- what happens to calls ---

    def _start(self, pending: Pending) -> None:
        pending.tries += 1
        tries = pending.tries
        if id(pending) not in self._under_way:
            self._under_way[id(pending)] = pending
            self._keys[pending.key] += 1
        self._heard.pop(pending.key, None)
        only = self._allowed(pending)
        future = self.client.submit(
            perform,
            pending.call,
            key=f"{pending.key}-{secrets.token_hex(4)}",
            pure=False,
            workers=only,
            resources=dict(pending.resources) or None,
        )
        pending._future = future
        future.add_done_callback(lambda _: self._arrived.put((pending, tries)))

    def _allowed(self, pending: Pending) -> list[str] | None:
        """The workers that may do a call; None for all."""
        if not (self._shunned or pending.only):
            return None
        fit = [a for a in self._known() if a not in self._shunned]
        if not fit:
            raise ClusterError(f"no worker of {self.address} is left: {'; '.join(self._shunned.values())}")
        # Where those that were named are gone, others of their kind do it.
        return [a for a in fit if a in pending.only] or fit

    def _taken(self, pending: Pending) -> bool:
        """Whether a call came to its end; where it did not, it is under way again."""
        future = pending._future
        if future is None:  # it hung too often, and ``_rescue`` said so
            self._end(pending)
            return True
        try:
            if future.status in ("cancelled", "lost"):
                self._reconnect()
                self._start(pending)
                return False
            pending._error = _translated(pending, future.exception())
            if isinstance(pending._error, RefusalError) and pending.tries < TRIES + len(self._facts):
                self._answer(pending._error)
                self._start(pending)
                return False
            if pending._error is None:
                pending._value = future.result()
        except _lost() as error:
            if pending.tries > TRIES + len(self._facts):
                raise ClusterError(
                    f"{self.address} is gone ({error}): start it, and the same command goes on"
                ) from error
            self._reconnect()
            self._start(pending)
            return False
        pending._future = None
        self._end(pending)
        return True

    def _end(self, pending: Pending) -> None:
        if self._under_way.pop(id(pending), None) is not None:
            self._heard.pop(pending.key, None)
            self._keys[pending.key] -= 1
            if not self._keys[pending.key]:
                del self._keys[pending.key]

    def _answer(self, refusal: RefusalError) -> None:
        """Gives a worker what it lacks, or its work to others."""
        if isinstance(refusal, ParcelMissingError):
            self._deliver(tuple(self._places), [refusal.worker])
        elif isinstance(refusal, UnlikeError | DiskFullError):
            self._shun(refusal.worker, str(refusal))

    def _shun(self, worker: str, why: str) -> None:
        if worker not in self._shunned:
            self._shunned[worker] = why
            self.warnings.append(f"a worker gets no more work: {why}")

    def _look_after(self) -> None:
        """Starts workers again that are silent for too long, and says so where nobody is there any more."""
        if self.client.status not in ("running", "connecting"):
            self._reconnect()
        now = time.monotonic()
        for pending in list(self._under_way.values()):
            heard = self._heard.get(pending.key)
            if pending.limit is not None and heard is not None and now - heard[0] > pending.limit:
                self._rescue(pending, heard[1])
        if self._under_way and not self._known():
            self._wait_for_workers()

    def _rescue(self, pending: Pending, word: Word) -> None:
        """Takes a call from a worker that hangs on it."""
        if pending._future is not None:
            pending._future.cancel()
            pending._future = None
        if pending.tries >= TRIES:
            pending.tries += 1
            pending._error = ClusterError(
                f"{pending.key} hung on {TRIES} workers for {pending.limit:.0f} s, last on {word.worker}"
            )
            self._arrived.put((pending, pending.tries))
            return
        facts = self._facts.get(word.worker)
        if facts is not None and not facts.nanny:
            self._shun(word.worker, f"{word.worker} hangs, and nobody starts it again (start workers with --nanny)")
        elif word.worker in self._known():
            with contextlib.suppress(KeyError):  # that is how Dask says that it has gone meanwhile
                self.client.restart_workers([word.worker], timeout=30, raise_for_error=False)
        self._start(pending)

    # --- the scheduler and its workers ---

    def _hear(self, event: tuple[float, Any]) -> None:
        word = Word(**event[1])
        if word.key not in self._keys:
            return
        self._heard[word.key] = time.monotonic(), word
        if self.on_word is not None:
            self.on_word(word)

    def _known(self) -> list[str]:
        return sorted(self.client.scheduler_info(n_workers=-1)["workers"])

    def _asked(self) -> dict[str, Facts]:
        found: dict[str, Facts] = {}
        for address, answer in self.client.run(described, on_error="return").items():
            if not isinstance(answer, Facts):
                raise ClusterError(
                    f"the worker {address} does not know edgecvx as it is here ({type(answer).__name__}: {answer}): "
                    "install the same version there"
                )
            found[address] = answer
        return found

    def _wait_for_workers(self) -> None:
        try:
            self.client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError:
            raise ClusterError(
                f"{self.address} has no worker: start one with dask worker {self.address} --nthreads 1"
            ) from None

    def _reconnect(self) -> None:
        """Waits for a scheduler that was restarted.

        Raises:
            ClusterError: It does not come back.
        """
        deadline = time.monotonic() + PATIENCE
        while self.client.status == "connecting" and time.monotonic() < deadline:
            time.sleep(_TICK)
        while self.client.status != "running":
            if self.again is None or time.monotonic() > deadline:
                raise ClusterError(
                    f"{self.address} is gone: start it again, and the same command goes on where it stopped"
                )
            try:
                self.client = self.again()
            except OSError:
                time.sleep(_TICK)
        self.client.subscribe_topic(self._topic, self._hear)

    def _deliver(self, hashes: Sequence[str], workers: list[str] | None) -> None:
        """Sends contents, in pieces, to those workers that lack them."""
        found = self.client.run(_lacking, list(hashes), workers=workers, on_error="return")
        for sha256 in hashes:
            to = [worker for worker, lacks in found.items() if isinstance(lacks, list) and sha256 in lacks]
            to = [worker for worker in to if worker not in self._shunned]
            size = self._places[sha256].stat().st_size
            for place, block in parcels.pieces(self._places[sha256]):
                if to:
                    answers = self.client.run(_receive, sha256, place, block, size, workers=to, on_error="return")
                    to = [worker for worker in to if self._took(worker, answers.get(worker))]

    def _took(self, worker: str, answer: object) -> bool:
        if isinstance(answer, OSError) and answer.strerror:
            self._shun(worker, f"{worker} cannot take files: {answer.strerror}")
        return answer is None


def _lacking(hashes: list[str], dask_worker: Any) -> list[str]:
    return parcels.lacking(hashes, folder_of(dask_worker))


def _receive(sha256: str, place: int, block: bytes, size: int, dask_worker: Any) -> None:
    parcels.receive(sha256, place, block, size, folder_of(dask_worker))


def _translated(pending: Pending, error: BaseException | None) -> BaseException | None:
    """What Dask says of a call that kills its workers, as a sentence."""
    from distributed.scheduler import KilledWorker

    if isinstance(error, KilledWorker):
        return ClusterError(f"{pending.key} killed every worker that tried it, last {error.last_worker.address}")
    return error


def _lost() -> tuple[type[BaseException], ...]:
    """What Dask raises where a result was forgotten on the way."""
    from concurrent.futures import CancelledError

    from distributed.comm import CommClosedError

    return CancelledError, CommClosedError
