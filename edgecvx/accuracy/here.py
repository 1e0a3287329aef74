"""A validation on this machine: its artifacts one after the other, and what they share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgecvx.accuracy import rows as picture_rows
from edgecvx.accuracy.browser import BrowserArtifact, VisitingBrowser
from edgecvx.accuracy.cache import RowStore
from edgecvx.accuracy.candidates import Candidate, Measured, what_rows_depend_on
from edgecvx.accuracy.feeding import FedArtifact, compared, threads_beside
from edgecvx.accuracy.inputpath import PICTURES, InputPath
from edgecvx.accuracy.reference import Reference, rebuild
from edgecvx.accuracy.runtime_used import note_on_runtime, runtime_used
from edgecvx.data.dataset import Dataset, Sample, decoded
from edgecvx.errors import ImageError
from edgecvx.files import verify_files
from edgecvx.results.accuracy import ArtifactIdentity
from edgecvx.results.identity import identity_of
from edgecvx.runtimes.proof import Recheck, question

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
    browser: VisitingBrowser | None = None
    """Where the artifacts answer in place of their runtimes here."""
    _references: dict[str, tuple[Reference, InputPath]] = field(default_factory=dict)

    def identity(self, candidate: Candidate) -> ArtifactIdentity:
        """Who an artifact is, in what runs it."""
        if self.browser is None:
            return candidate.identity()
        identity = identity_of(candidate.path, candidate.manifest, None)
        return self.browser.identity(candidate.path, dataclasses.replace(identity, file=candidate.name), self.threads)

    def stood_in(self, candidate: Candidate) -> str | None:
        """What a reader has to know where another runtime than its own runs an artifact."""
        return None if self.browser is not None else note_on_runtime(candidate.manifest, candidate.name)

    def measured(self, candidate: Candidate, tell: Tell) -> Measured:
        """Every readable picture and its row, or the mistake that would make rows meaningless.

        Raises:
            EdgecvxError: The artifact cannot be run to the end.
        """
        tell(0, 0)
        verify_files(candidate.manifest, candidate.path.parent)
        reference, input_path = self._reference(candidate)
        before = reference.computed
        recheck, must_ask = self._known_recheck(candidate)
        keys = candidate.keys(self.data.samples)
        depends_on = what_rows_depend_on(candidate, self.identity(candidate), reference.what)
        if self.browser is not None:
            depends_on |= self.browser.key(candidate.path, self.threads)
        with RowStore(self.cache, depends_on, candidate.row) as store:
            pending = [s for s in self.data.samples if keys[s.name] not in store and s.name not in self.unreadable]
            known = len(self.data.samples) - len(pending)
            tell(known, known)
            if pending or must_ask:
                with self._opened(candidate, reference, pending) as artifact:
                    recheck = artifact.recheck
                    if finding := artifact.explained(input_path):
                        info = reference.info(from_cache=0)
                        return Measured(reference=info, prepared=reference.preprocess, finding=finding)
                    self._run(pending, candidate, reference, artifact, store, lambda n: tell(known + n, known))
            samples = [s for s in self.data.samples if keys[s.name] in store]
            if not samples:
                raise ImageError(f"none of the {len(self.data.samples)} pictures can be decoded")
            return Measured(
                reference=reference.info(from_cache=max(0, len(samples) - (reference.computed - before))),
                prepared=reference.preprocess,
                samples=samples,
                rows=store.get([keys[s.name] for s in samples]),
                recheck=recheck,
            )

    def close(self) -> None:
        """Closes the files of the cache."""
        for reference, _ in self._references.values():
            reference.close()

    def _known_recheck(self, candidate: Candidate) -> tuple[Recheck | None, bool]:
        """What is known of the file's proof where it answers, and whether it has to be asked."""
        if self.browser is not None:
            return None, True
        asked = question(candidate.manifest, runtime=runtime_used(candidate.manifest))
        known = asked.remembered() if asked.arises else None
        return known, asked.arises and known is None

    def _opened(
        self, candidate: Candidate, reference: Reference, pending: Sequence[Sample]
    ) -> FedArtifact | BrowserArtifact:
        if self.browser is not None:
            return self.browser.open(candidate.path, candidate.manifest, self.threads, len(pending))
        threads = threads_beside(reference, pending, self.threads)
        return FedArtifact(candidate.path, candidate.manifest, threads)

    def _run(
        self,
        pending: Sequence[Sample],
        candidate: Candidate,
        reference: Reference,
        artifact: FedArtifact | BrowserArtifact,
        store: RowStore,
        tell: Callable[[int], None],
    ) -> None:
        """Stores a row for each picture that can be read."""
        keys, done = candidate.keys(pending), 0
        specs = (candidate.manifest.model.preprocess, reference.preprocess)
        batches = decoded(pending, specs, self.batch, self.unreadable)
        for chunk, expected, (kept, actual) in compared(batches, reference, artifact, self.threads, self.unreadable):
            if kept:
                samples = [chunk[i] for i in kept]
                truths = [sample.label for sample in samples] if candidate.classifies else None
                rows = picture_rows.rows_of(actual, [output[kept] for output in expected], truths)
                store.add([keys[s.name] for s in samples], rows)
            done += len(chunk)
            tell(done)

    def _reference(self, candidate: Candidate) -> tuple[Reference, InputPath]:
        if candidate.reference_key not in self._references:
            loaded = rebuild(candidate.manifest, self.checkpoints)
            self.warnings += loaded.warnings
            reference = Reference(
                loaded,
                task=candidate.manifest.task,
                cache=self.cache,
                batch=self.batch,
                threads=self.threads,
                probabilities=candidate.manifest.returns_probabilities,
            )
            first: list[Sample] = []
            for chunk, _ in decoded(self.data.samples, (reference.preprocess,), self.batch, self.unreadable):
                first += chunk
                if len(first) >= PICTURES:
                    break
            input_path = InputPath(reference, first)
            if candidate.classifies and loaded.spec.weights.brought and (doubt := input_path.doubt()):
                self.warnings.append(doubt)
            self._references[candidate.reference_key] = reference, input_path
        return self._references[candidate.reference_key]
