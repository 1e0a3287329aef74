"""What a worker of a cluster does of a validation: some pictures through the reference once, and through each artifact.

It keeps networks and files open from one shard to the next, and remembers nothing that matters: rows go back to whoever
asked, who alone stores them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgecvx.accuracy import rows as picture_rows
from edgecvx.accuracy.feeding import FedArtifact
from edgecvx.accuracy.inputpath import PICTURES, InputPath
from edgecvx.accuracy.reference import Reference, rebuild
from edgecvx.board.places import cache_folder
from edgecvx.cluster.calls import tell
from edgecvx.cluster.parcels import Parcel, fetch
from edgecvx.cluster.refusals import RefusalError
from edgecvx.data.dataset import Sample, decoded
from edgecvx.errors import EdgecvxError
from edgecvx.files import read_artifact
from edgecvx.results.accuracy import Finding, ReferenceInfo
from edgecvx.runtimes.proof import Recheck
from edgecvx.spec import Task

Array = NDArray[Any]


class _Open(Protocol):
    """What is open until it is closed."""

    def close(self) -> None:
        """Closes it."""


T = TypeVar("T", bound=_Open)

OPEN_FILES = 8
"""Artifacts that a worker keeps open, and the most of one shard: 60 would take the memory of as many processes."""
OPEN_NETWORKS = 2
"""The same of references."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An artifact as a worker is given it."""

    index: int
    artifact: Parcel
    checkpoints: tuple[Parcel, ...]
    reference: str
    """The same for those that share one."""
    batch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A reference, and what became of the pictures that the way to it is examined on."""

    info: ReferenceInfo
    what: Mapping[str, Any]
    """All that its answers depend on beside the picture."""
    row: np.dtype[Any] | None
    warnings: tuple[str, ...]
    first: tuple[str, ...]
    """The names of the first pictures that can be read."""
    unreadable: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What came of opening an artifact."""

    finding: Finding | None
    recheck: Recheck | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Some pictures, and who is asked about them."""

    key: str
    samples: tuple[Sample, ...]
    entries: tuple[Entry, ...]
    known: Mapping[str, tuple[tuple[str, ...], Array]]
    """Reference -> pictures whose answers were known before, by name, and those answers."""


@dataclass(slots=True, kw_only=True)
class ShardRows:
    """What came of a shard."""

    unreadable: dict[str, str] = field(default_factory=dict)
    rows: dict[int, tuple[list[str], Array]] = field(default_factory=dict)
    """Artifact -> pictures, and a row for each."""
    answers: dict[str, tuple[list[str], Array]] = field(default_factory=dict)
    """Reference -> pictures it was asked about, and what it said, where that is kept."""
    errors: dict[int, str] = field(default_factory=dict)
    """Artifact -> why it was not run to the end."""


@dataclass(slots=True)
class _Network:
    """A reference that is kept, and the way to it."""

    reference: Reference
    warnings: tuple[str, ...]
    """What the user should know of it."""
    input_path: InputPath | None = None
    """Kept too: 60 artifacts that are off ask the reference about the same mistakes."""

    def fed(self, first: Sequence[Sample]) -> InputPath:
        """The way to the reference, by the first pictures."""
        names = [sample.name for sample in first]
        if self.input_path is None or [sample.name for sample in self.input_path.samples] != names:
            self.input_path = InputPath(self.reference, first)
        return self.input_path

    def close(self) -> None:
        """Closes the files of its cache."""
        self.reference.close()


def load_references(entries: Sequence[Entry]) -> None:
    """Loads the references of artifacts, for which a first shard would wait."""
    for entry in entries:
        _network(entry)


def open_files(entries: Sequence[Entry]) -> None:
    """Opens artifacts, for which a first shard would wait."""
    for entry in entries:
        _artifact(entry)


def described(key: str, entry: Entry, samples: Sequence[Sample]) -> Described:
    """Loads an artifact's reference, and looks for the pictures that the way to it is examined on."""
    network = _network(entry)
    reference = network.reference
    unreadable: dict[str, str] = {}
    first: list[Sample] = []
    for chunk, _ in decoded(samples, (reference.preprocess,), entry.batch, unreadable):
        first += chunk
        tell(key, len(first), PICTURES)
        if len(first) >= PICTURES:
            break
    doubts = []
    _, manifest = read_artifact(fetch(entry.artifact))
    if manifest.task is Task.CLASSIFY and reference.spec.weights.brought:
        doubts = [doubt for doubt in [network.fed(first[:PICTURES]).doubt()] if doubt]
    return Described(
        info=reference.info(from_cache=0),
        what=reference.what,
        row=reference.row,
        warnings=(*network.warnings, *doubts),
        first=tuple(sample.name for sample in first[:PICTURES]),
        unreadable=unreadable,
    )


def examined(entry: Entry, first: Sequence[Sample]) -> Examined:
    """Opens an artifact, holds it to its proof, and looks whether a mistake explains its answers."""
    input_path = _network(entry).fed(first)
    artifact = _artifact(entry)
    return Examined(finding=artifact.explained(input_path), recheck=artifact.recheck)


def measured(shard: Shard) -> ShardRows:
    """The rows of a shard: each picture decoded once, answered once by each reference, and once by each artifact."""
    found = ShardRows()
    references = {entry.reference: _network(entry).reference for entry in shard.entries}
    prepared = [read_artifact(fetch(entry.artifact))[1].model.preprocess for entry in shard.entries]
    specs = [*(reference.preprocess for reference in references.values()), *prepared]
    by_name = {sample.name: sample for sample in shard.samples}
    for key, (those, answers) in shard.known.items():
        references[key].remember([by_name[name] for name in those], answers)
    done = 0
    rows: dict[int, list[Array]] = {entry.index: [] for entry in shard.entries}
    names: dict[int, list[str]] = {entry.index: [] for entry in shard.entries}
    for chunk, pixels in decoded(shard.samples, specs, shard.entries[0].batch, found.unreadable):
        asked = zip(references.items(), pixels, strict=False)
        expected = {key: reference.answer(chunk, seen) for (key, reference), seen in asked}
        for entry, seen in zip(shard.entries, pixels[len(references) :], strict=True):
            if entry.index not in found.errors:
                try:
                    rows[entry.index].append(_rows(entry, chunk, seen, expected[entry.reference]))
                    names[entry.index] += [sample.name for sample in chunk]
                except RefusalError:
                    raise
                except EdgecvxError as error:
                    _FILES.drop(entry.artifact.key)
                    found.errors[entry.index] = str(error)
            tell(shard.key, done, len(shard.samples))
        done += len(chunk)
    found.rows = {index: (names[index], np.concatenate(parts)) for index, parts in rows.items() if parts}
    for key, reference in references.items():
        readable = [sample for sample in shard.samples if sample.name not in found.unreadable]
        new = [sample for sample in readable if sample.name not in shard.known.get(key, ((), None))[0]]
        if reference.row is not None and new:
            found.answers[key] = [sample.name for sample in new], reference.remembered(new)
    return found


def _rows(entry: Entry, samples: Sequence[Sample], pixels: Array, expected: Sequence[Array]) -> Array:
    artifact = _artifact(entry)
    truths = [sample.label for sample in samples] if artifact.classifies else None
    return picture_rows.rows_of(artifact.run(samples, pixels), expected, truths)


class _Kept(Generic[T]):
    """Things that are kept open, the last used ones."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._things: OrderedDict[str, T] = OrderedDict()

    def get(self, key: str, make: Callable[[], T]) -> T:
        """What is open under a key, or what is opened now."""
        if key not in self._things:
            while len(self._things) >= self._most:
                self.drop(next(iter(self._things)))
            self._things[key] = make()
        self._things.move_to_end(key)
        return self._things[key]

    def drop(self, key: str) -> None:
        """Closes one, which may be broken."""
        thing = self._things.pop(key, None)
        if thing is not None:
            thing.close()


_FILES: _Kept[FedArtifact] = _Kept(OPEN_FILES)
_NETWORKS: _Kept[_Network] = _Kept(OPEN_NETWORKS)


def _network(entry: Entry) -> _Network:
    """The reference of an artifact."""

    def load() -> _Network:
        _, manifest = read_artifact(fetch(entry.artifact))
        loaded = rebuild(manifest, [fetch(checkpoint) for checkpoint in entry.checkpoints])
        reference = Reference(
            loaded,
            task=manifest.task,
            cache=cache_folder(),
            batch=entry.batch,
            threads=1,
            probabilities=manifest.returns_probabilities,
        )
        return _Network(reference, tuple(loaded.warnings))

    return _NETWORKS.get(f"{entry.reference} {entry.batch}", load)


def _artifact(entry: Entry) -> FedArtifact:
    def load() -> FedArtifact:
        path, manifest = read_artifact(fetch(entry.artifact))
        return FedArtifact(path, manifest, 1)

    return _FILES.get(entry.artifact.key, load)
