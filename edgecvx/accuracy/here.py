"""A validation on this machine: its artifacts one after the other, and what they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgecvx.accuracy import rows as picture_rows
from edgecvx.accuracy.cache import RowStore
from edgecvx.accuracy.candidates import Candidate, Measured, what_rows_depend_on
from edgecvx.accuracy.feeding import FedArtifact, compared, threads_beside
from edgecvx.accuracy.inputpath import PICTURES, InputPath
from edgecvx.accuracy.reference import Reference, rebuild
from edgecvx.accuracy.runtime_used import runtime_used
from edgecvx.data.dataset import Dataset, Sample, decoded
from edgecvx.errors import ImageError
from edgecvx.files import verify_files
from edgecvx.runtimes.proof import question

Tell = Callable[[int, int], None]
"""Pictures done, and of these known from before."""


@dataclass(slots=True, kw_only=True)
class Here:
    """Where the answers of artifacts and references come from: this machine."""

    data: Dataset
    batch: int
    threads: int | None
    cache: Path
    checkpoints: Sequence[Path]
    unreadable: dict[str, str] = field(default_factory=dict)
    """Pictures that could not be decoded, by name, and why."""
    warnings: list[str] = field(default_factory=list)
    versions: None = None
    """Of the runtimes: those that are installed here."""
    _references: dict[str, tuple[Reference, InputPath]] = field(default_factory=dict)

    def measured(self, candidate: Candidate, tell: Tell) -> Measured:
        """Every readable picture and its row, or the mistake that would make rows meaningless.

        Raises:
            EdgecvxError: The artifact cannot be run to the end.
        """
        tell(0, 0)
        verify_files(candidate.manifest, candidate.path.parent)
        reference, input_path = self._reference(candidate)
        before = reference.computed
        asked = question(candidate.manifest, runtime=runtime_used(candidate.manifest))
        recheck = asked.remembered() if asked.arises else None
        keys = candidate.keys(self.data.samples)
        with RowStore(self.cache, what_rows_depend_on(candidate, None, reference.what), candidate.row) as store:
            pending = [s for s in self.data.samples if keys[s.name] not in store and s.name not in self.unreadable]
            known = len(self.data.samples) - len(pending)
            tell(known, known)
            if pending or (asked.arises and recheck is None):
                threads = threads_beside(reference, pending, self.threads)
                with FedArtifact(candidate.path, candidate.manifest, threads) as artifact:
                    recheck = artifact.recheck
                    if finding := artifact.explained(input_path):
                        info = reference.info(from_cache=0)
                        return Measured(reference=info, prepared=reference.preprocess, finding=finding)
                    self._run(pending, candidate, reference, artifact, store, lambda n: tell(known + n, known))
            samples = [s for s in self.data.samples if keys[s.name] in store]
            if not samples:
                raise ImageError(f"none of the {len(self.data.samples)} pictures can be decoded")
            return Measured(
                reference=reference.info(from_cache=len(samples) - (reference.computed - before)),
                prepared=reference.preprocess,
                samples=samples,
                rows=store.get([keys[s.name] for s in samples]),
                recheck=recheck,
            )

    def close(self) -> None:
        """Closes the files of the cache."""
        for reference, _ in self._references.values():
            reference.close()

    def _run(
        self,
        pending: Sequence[Sample],
        candidate: Candidate,
        reference: Reference,
        artifact: FedArtifact,
        store: RowStore,
        tell: Callable[[int], None],
    ) -> None:
        """Stores a row for each picture that can be read."""
        keys, done = candidate.keys(pending), 0
        specs = (candidate.manifest.model.preprocess, reference.preprocess)
        batches = decoded(pending, specs, self.batch, self.unreadable)
        for samples, expected, actual in compared(batches, reference, artifact, self.threads):
            truths = [sample.label for sample in samples] if candidate.classifies else None
            store.add([keys[s.name] for s in samples], picture_rows.rows_of(actual, expected, truths))
            done += len(samples)
            tell(done)

    def _reference(self, candidate: Candidate) -> tuple[Reference, InputPath]:
        if candidate.reference_key not in self._references:
            loaded = rebuild(candidate.manifest, self.checkpoints)
            self.warnings += loaded.warnings
            reference = Reference(
                loaded, task=candidate.manifest.task, cache=self.cache, batch=self.batch, threads=self.threads
            )
            first: list[Sample] = []
            for chunk, _ in decoded(self.data.samples, (reference.preprocess,), self.batch, self.unreadable):
                first += chunk
                if len(first) >= PICTURES:
                    break
            input_path = InputPath(reference, first)
            if candidate.classifies and loaded.spec.weights.kind == "file" and (doubt := input_path.doubt()):
                self.warnings.append(doubt)
            self._references[candidate.reference_key] = reference, input_path
        return self._references[candidate.reference_key]
