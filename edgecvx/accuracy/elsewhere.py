"""A validation on a cluster: pictures in shards to its workers, their rows into the store of this machine.

All artifacts are measured at once, so that a worker decodes a picture once and asks the reference once for all of them.
A report is made here of the rows alone, as ``here`` makes it: which worker had which picture leaves no trace in it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecvx.accuracy.cache import RowStore, claimed, picture_key
from edgecvx.accuracy.candidates import Candidate, Measured, what_rows_depend_on
from edgecvx.accuracy.delivery import Delivery
from edgecvx.accuracy.inputpath import PICTURES
from edgecvx.accuracy.runtime_used import note_on_runtime, runtime_used
from edgecvx.accuracy.shard import (
    OPEN_FILES,
    OPEN_NETWORKS,
    Described,
    Entry,
    Examined,
    Shard,
    ShardRows,
    described,
    examined,
    load_references,
    measured,
    open_files,
)
from edgecvx.cluster.handle import Cluster, Pending
from edgecvx.data.dataset import Dataset, Sample
from edgecvx.errors import EdgecvxError, ImageError
from edgecvx.files import verify_files
from edgecvx.results.accuracy import ArtifactIdentity, Finding
from edgecvx.runtimes import NO_OPTIONS
from edgecvx.runtimes.engine import engine_of
from edgecvx.runtimes.proof import Recheck

Array = NDArray[Any]
Told = Callable[[int, int, int], None]
"""Of an artifact, by its number: pictures done, and of these known from before."""

SHARD = 64
"""The most pictures of one: a worker that is lost loses seconds of work, and the scheduler has little to do."""
_SHARDS_LEFT = 2
"""For each worker, of what is left at any time; the last are of one batch, so that all end at about the same time."""
AHEAD = 2
"""Shards for each worker that are under way or wait for it."""
LIMIT = 400.0
"""Seconds without a word after which a worker counts as hung; a runtime in its child is given 300."""
_LOOK = 1.0


@dataclass(slots=True)
class _Of:
    """One artifact, while it is measured."""

    candidate: Candidate
    entry: Entry | None = None
    reference: _Reference | None = None
    finding: Finding | None = None
    recheck: Recheck | None = None
    error: tuple[int, str] | None = None
    """In which shard, and what: of several the first is told, as one machine would have met it."""
    pending: dict[str, Sample] = field(default_factory=dict)
    known: int = 0
    done: int = 0

    def fail(self, place: int, sentence: str) -> None:
        if self.error is None or place < self.error[0]:
            self.error = place, sentence

    @property
    def alive(self) -> bool:
        return self.error is None and self.finding is None


@dataclass(slots=True)
class _Reference:
    """One reference, while its artifacts are measured."""

    described: Described
    what: Mapping[str, Any]
    first: Sequence[Sample]
    warnings: list[str]
    store: RowStore | None = None
    before: set[str] = field(default_factory=set)
    """Names of the pictures whose answers are known, or would be by now on one machine."""


@dataclass(slots=True, kw_only=True)
class Elsewhere:
    """Where the answers of artifacts and references come from: the workers of a cluster."""

    cluster: Cluster
    data: Dataset
    batch: int
    cache: Path
    checkpoints: Sequence[Path]
    told: Told
    """Called as rows arrive."""
    say: Callable[[str], None]
    """Called with what a user should know while nothing arrives."""
    unreadable: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    _found: dict[str, Measured | EdgecvxError] = field(default_factory=dict)
    _said: int = 0
    _warned: dict[str, list[str]] = field(default_factory=dict)

    @property
    def versions(self) -> Mapping[str, str]:
        """Of the runtimes on the workers, which are the same on all."""
        return self.cluster.workers[0].versions

    def identity(self, candidate: Candidate) -> ArtifactIdentity:
        """Who an artifact is, in the runtime of the workers."""
        return candidate.identity(self.versions)

    def stood_in(self, candidate: Candidate) -> str | None:
        """What a reader has to know where another runtime than its own runs an artifact."""
        return note_on_runtime(candidate.manifest, candidate.name, self.versions)

    def measured(self, candidate: Candidate, _: Callable[[int, int], None]) -> Measured:
        """What ``measure`` found of an artifact.

        Raises:
            EdgecvxError: It could not be run to the end.
        """
        self.warnings += self._warned.pop(candidate.name, [])
        found = self._found[candidate.name]
        if isinstance(found, EdgecvxError):
            raise found
        return found

    def close(self) -> None:
        """Nothing stays open."""

    def measure(self, candidates: Sequence[Candidate]) -> None:
        """Measures all artifacts.

        Raises:
            ClusterError: The cluster is gone; rows that arrived are kept.
        """
        self.warnings += self.cluster.differences
        all_of = [_Of(candidate) for candidate in candidates]
        delivery = Delivery(self.cluster, self.data.samples)
        for index, of in enumerate(all_of):
            self._send(index, of)
        self._describe(all_of, delivery)
        with contextlib.ExitStack() as stack:
            stores = self._opened(all_of, stack)
            for index, of in enumerate(all_of):
                self._look_up(of, stores)
                self.told(index, of.done, of.known)
            try:
                self._everywhere(open_files, [of for of in all_of if of.alive and of.pending][:OPEN_FILES])
                self._examine(
                    [of for of in all_of if of.alive and (of.pending or self._arises(of.candidate))], delivery
                )
                self._run(all_of, stores, delivery)
            finally:
                self.cluster.cancel(self.cluster.under_way)
            for of in all_of:
                self._found[of.candidate.name] = self._result(of, stores)
        self._warn(all_of)

    # --- what has to be known first ---

    def _send(self, index: int, of: _Of) -> None:
        candidate = of.candidate
        try:
            verify_files(candidate.manifest, candidate.path.parent)
            artifact = self.cluster.send(candidate.path, candidate.beside)
            checkpoints = tuple(self.cluster.send(path) for path in self.checkpoints)
        except EdgecvxError as error:
            of.fail(-1, str(error))
            return
        of.entry = Entry(
            index=index,
            artifact=artifact,
            checkpoints=checkpoints,
            reference=hashlib.sha256(candidate.reference_key.encode()).hexdigest()[:16],
            batch=self.batch,
        )

    def _describe(self, all_of: Sequence[_Of], delivery: Delivery) -> None:
        """Loads each reference once, on some worker."""
        wanted: dict[str, list[_Of]] = {}
        for of in all_of:
            if of.entry is not None:
                wanted.setdefault(of.entry.reference, []).append(of)
        self._everywhere(load_references, [those[0] for those in wanted.values()][:OPEN_NETWORKS])
        for number, those in enumerate(wanted.values()):
            try:
                found = self._described(f"reference-{number}", those[0].entry, delivery)
            except EdgecvxError as error:
                for of in those:
                    of.fail(-1, str(error))
                continue
            names = {sample.name: sample for sample in self.data.samples}
            what = {**found.what, "processor": self._processor()}
            reference = _Reference(found, what, [names[name] for name in found.first], list(found.warnings))
            for of in those:
                of.reference = reference

    def _everywhere(self, make_ready: Callable[[Sequence[Entry]], None], those: Sequence[_Of]) -> None:
        """Has all workers get ready while some of them answer what has to be known first; nobody waits for it."""
        entries = tuple(of.entry for of in those if of.entry is not None)
        for facts in self.cluster.workers if entries else ():
            self.cluster.submit(make_ready, entries, limit=LIMIT, only=[facts.worker])

    def _described(self, key: str, entry: Entry | None, delivery: Delivery) -> Described:
        """With as many pictures as it takes to have enough that can be read."""
        count = PICTURES
        while True:
            some = delivery.packed(self.data.samples[:count])
            found: Described = self._one(described, key, entry, some)
            lost = delivery.lost(found.unreadable)
            self.unreadable |= lost
            if delivery.again:
                delivery.again.clear()  # those are sent with their content next time
            elif len(found.first) >= PICTURES or count >= len(self.data.samples):
                return found
            else:
                count *= 2

    def _processor(self) -> list[str | None]:
        kinds = sorted({(facts.machine, facts.processor) for facts in self.cluster.workers})
        return list(kinds[0]) if len(kinds) == 1 else ["several", *(" ".join(kind) for kind in kinds)]

    def _arises(self, candidate: Candidate) -> bool:
        """Whether the file was proved on another class of processors than some worker's, or in another runtime."""
        engine, proof = engine_of(runtime_used(candidate.manifest, self.versions)), candidate.manifest.proof
        return not all(proof.holds(facts.kind, engine, NO_OPTIONS) for facts in self.cluster.workers)

    def _opened(self, all_of: Sequence[_Of], stack: contextlib.ExitStack) -> dict[str, RowStore]:
        """The stores of all artifacts and references, ours alone while they are open."""
        live = [(of, of.reference) for of in all_of if of.reference is not None and of.error is None]
        kinds = {of.candidate.name: self._kind(of.candidate, reference) for of, reference in live}
        references = {id(reference): reference for _, reference in live}.values()
        kept = [(reference.what, row) for reference in references if (row := reference.described.row) is not None]
        stack.enter_context(claimed(self.cache, [*kinds.values(), *kept], self._wait))
        for reference in references:
            if reference.described.row is not None:
                reference.store = stack.enter_context(RowStore(self.cache, reference.what, reference.described.row))
                reference.before = {s.name for s in self.data.samples if picture_key(s.sha256) in reference.store}
        return {name: stack.enter_context(RowStore(self.cache, *kind)) for name, kind in kinds.items()}

    def _kind(self, candidate: Candidate, reference: _Reference) -> tuple[Mapping[str, Any], np.dtype[Any]]:
        return what_rows_depend_on(candidate, self.identity(candidate), reference.what), candidate.row

    def _wait(self) -> None:
        self.say("another validation of these files is running: waiting for its rows")
        time.sleep(_LOOK)

    def _look_up(self, of: _Of, stores: Mapping[str, RowStore]) -> None:
        if of.error is None:
            store, keys = stores[of.candidate.name], of.candidate.keys(self.data.samples)
            left = [s for s in self.data.samples if keys[s.name] not in store and s.name not in self.unreadable]
            of.pending = {sample.name: sample for sample in left}
            of.known = of.done = len(self.data.samples) - len(left)

    def _examine(self, those: Sequence[_Of], delivery: Delivery) -> None:
        """Opens each artifact on one worker of each class of processors, and looks at its first answers."""
        kinds: dict[tuple[str, str], list[str]] = {}
        for facts in self.cluster.workers:
            kinds.setdefault((facts.machine, facts.processor), []).append(facts.worker)
        asked = {}
        for of in those:
            for workers in kinds.values():
                some = delivery.packed(of.reference.first if of.reference is not None else ())
                key = f"{of.candidate.name} on the first pictures"
                pending = self.cluster.submit(examined, of.entry, some, key=key, limit=LIMIT, only=workers)
                asked[id(pending)] = of, pending
        for pending in self.cluster.as_completed([pending for _, pending in asked.values()]):
            of = asked[id(pending)][0]
            try:
                found: Examined = pending.result()
            except EdgecvxError as error:
                of.fail(-1, str(error))
                continue
            of.finding = found.finding or of.finding
            if found.recheck is not None and (of.recheck is None or _further(found.recheck, of.recheck)):
                of.recheck = found.recheck

    def _one(self, function: Callable[..., Any], key: str, *args: Any) -> Any:
        pending = self.cluster.submit(function, key, *args, key=key, limit=LIMIT)
        return next(self.cluster.as_completed([pending])).result()

    # --- shards ---

    def _run(self, all_of: Sequence[_Of], stores: Mapping[str, RowStore], delivery: Delivery) -> None:
        """Has every row computed that is missing; a few shards for each worker are under way at a time."""
        waiting = deque(self._shards(all_of))
        under_way: dict[int, tuple[int, Pending, Shard]] = {}
        number = 0
        while waiting or under_way:
            while waiting and len(under_way) < AHEAD * len(self.cluster.workers):
                samples, indices = waiting.popleft()
                shard = self._shard(number, delivery.packed(samples), [all_of[i] for i in indices])
                if shard is not None:
                    pending = self.cluster.submit(measured, shard, key=shard.key, limit=LIMIT)
                    under_way[id(pending)] = number, pending, shard
                number += 1
            ended = self.cluster.settled() if under_way else None
            while self._said < len(self.cluster.warnings):
                self.say(self.cluster.warnings[self._said])
                self._said += 1
            if ended is not None and id(ended) in under_way:
                place, _, shard = under_way.pop(id(ended))
                self._store(place, ended, shard, all_of, stores, delivery)
                if delivery.again:
                    indices = tuple(entry.index for entry in shard.entries)
                    waiting.appendleft((tuple(delivery.again), indices))
                    delivery.again.clear()

    def _shards(self, all_of: Sequence[_Of]) -> Iterator[tuple[Sequence[Sample], tuple[int, ...]]]:
        """Pictures in their order, those together that the same artifacts lack, of which each shard has a few."""
        lacking: dict[tuple[int, ...], list[Sample]] = {}
        for those in _together([i for i, of in enumerate(all_of) if of.alive]):
            for sample in self.data.samples:
                if some := tuple(i for i in those if sample.name in all_of[i].pending):
                    lacking.setdefault(some, []).append(sample)
        left = sum(map(len, lacking.values()))
        for those, samples in lacking.items():
            start = 0
            while start < len(samples):
                end = start + shard_size(left, self.batch, len(self.cluster.workers))
                yield samples[start:end], those
                left -= len(samples[start:end])
                start = end

    def _shard(self, number: int, samples: Sequence[Sample], those: Sequence[_Of]) -> Shard | None:
        those = [of for of in those if of.entry is not None and of.alive]
        entries = tuple(of.entry for of in those if of.entry is not None)
        if not entries:
            return None
        known = {}
        for of, entry in zip(those, entries, strict=True):
            reference = of.reference
            if reference is not None and reference.store is not None and entry.reference not in known:
                keys = {s.name: picture_key(s.sha256) for s in samples}
                names = tuple(name for name, key in keys.items() if key in reference.store)
                if names:
                    known[entry.reference] = names, reference.store.get([keys[name] for name in names])
        key = f"pictures {number + 1}"
        return Shard(key=key, samples=tuple(samples), entries=entries, known=known)

    def _store(
        self,
        place: int,
        ended: Pending,
        shard: Shard,
        all_of: Sequence[_Of],
        stores: Mapping[str, RowStore],
        delivery: Delivery,
    ) -> None:
        """Keeps what a worker made of a shard."""
        try:
            found: ShardRows = ended.result()
        except EdgecvxError as error:
            for entry in shard.entries:
                all_of[entry.index].fail(place, str(error))
            return
        self.unreadable |= delivery.lost(found.unreadable)
        samples = {sample.name: sample for sample in shard.samples}
        for reference in {id(of.reference): of.reference for of in all_of}.values():
            for entry in shard.entries:
                if reference is all_of[entry.index].reference and entry.reference in found.answers:
                    names, answers = found.answers.pop(entry.reference)
                    if reference is not None and reference.store is not None:
                        reference.store.add([picture_key(samples[name].sha256) for name in names], answers)
        for entry in shard.entries:
            of = all_of[entry.index]
            if entry.index in found.errors:
                of.fail(place, found.errors[entry.index])
            elif entry.index in found.rows:
                names, rows = found.rows[entry.index]
                keys = of.candidate.keys([samples[name] for name in names])
                stores[of.candidate.name].add([keys[name] for name in names], rows)
                of.done += len(names)
                self.told(entry.index, of.done, of.known)

    # --- what came of it ---

    def _result(self, of: _Of, stores: Mapping[str, RowStore]) -> Measured | EdgecvxError:
        if of.error is not None or of.reference is None:
            return EdgecvxError(of.error[1] if of.error is not None else "it was not measured")
        info, spec = of.reference.described.info, of.reference.described.info.preprocess
        if of.finding is not None:
            return Measured(reference=info, prepared=spec, finding=of.finding)
        store, keys = stores[of.candidate.name], of.candidate.keys(self.data.samples)
        samples = [s for s in self.data.samples if keys[s.name] in store]
        if not samples:
            return ImageError(f"none of the {len(self.data.samples)} pictures can be decoded")
        # As one machine would count it that has the artifacts one after the other.
        computed = {s.name for s in samples if s.name in of.pending and s.name not in of.reference.before}
        if of.reference.store is not None:
            of.reference.before |= computed
        return Measured(
            reference=dataclasses.replace(info, from_cache=len(samples) - len(computed)),
            prepared=spec,
            samples=samples,
            rows=store.get([keys[s.name] for s in samples]),
            recheck=of.recheck,
        )

    def _warn(self, all_of: Sequence[_Of]) -> None:
        """Puts what is to be told of a reference where one machine would tell it: with its first artifact."""
        for of in all_of:
            warned = self._warned.setdefault(of.candidate.name, [])
            if of.reference is not None:
                warned += of.reference.warnings
                of.reference.warnings.clear()


def shard_size(left: int, batch: int, workers: int) -> int:
    """How many of the pictures that are left the next shard has: whole batches, fewer towards the end."""
    return batch * max(1, min(SHARD, left // (_SHARDS_LEFT * workers)) // batch)


def _together(artifacts: Sequence[int]) -> Iterator[Sequence[int]]:
    """Artifacts, as many at a time as a worker keeps open."""
    yield from (artifacts[start : start + OPEN_FILES] for start in range(0, len(artifacts), OPEN_FILES))


def _further(one: Recheck, other: Recheck) -> bool:
    return (one.error or 0.0) > (other.error or 0.0)
