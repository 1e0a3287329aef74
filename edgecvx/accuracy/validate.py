"""How much worse than FP32 PyTorch a file is: the same pictures through both, picture by picture.

Every artifact runs in its own runtime, in a process of its own, on pictures prepared as its manifest says. Pictures are
streamed: a batch is decoded while the one before it runs, and what is kept of it is a row of figures on the disk. A run
that was stopped goes on behind its last row, and a second identical one only reads rows.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgecvx import __version__
from edgecvx.accuracy import rows as picture_rows
from edgecvx.accuracy.browser import NAME as BROWSER
from edgecvx.accuracy.browser import BrowserArtifact, VisitingBrowser, visited
from edgecvx.accuracy.cache import RowStore, opened_cache, picture_key
from edgecvx.accuracy.feeding import FedArtifact
from edgecvx.accuracy.inputpath import PICTURES, InputPath, differences
from edgecvx.accuracy.reference import Reference, rebuild
from edgecvx.accuracy.runtime_used import note_on_runtime, runtime_used
from edgecvx.board.device.processors import this_processor
from edgecvx.data.dataset import DEMO, NO_TRUTH, TWICE, Dataset, Sample, content_hashes, decoded, open_data
from edgecvx.data.folder import Skipped, describe, reasons_of, unexpected
from edgecvx.errors import EdgecvxError, ImageError, UsageError, missing_package
from edgecvx.files import verify_files
from edgecvx.manifest import Manifest, locate, read_manifest
from edgecvx.results.accuracy import (
    SKIPPED_NAMED,
    ArtifactIdentity,
    ArtifactOutcome,
    DataInfo,
    Finding,
    Gate,
    SkippedPicture,
    Validation,
    Verdict,
)
from edgecvx.results.figures import counted
from edgecvx.results.identity import distinct_names, identity_of
from edgecvx.results.intervals import gate
from edgecvx.runtimes import RUNTIMES, availability, check_threads
from edgecvx.runtimes.proof import Recheck, question
from edgecvx.spec import Task, to_json
from edgecvx.web.visits.invitation import Invitation

LOCAL = "local"
Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the validation of one artifact is."""

    artifact: str
    index: int
    """Of the artifact, from 0."""
    artifacts: int
    done: int
    """Pictures, those known from an earlier run included."""
    total: int


def validate(
    artifacts: str | Path | Sequence[str | Path],
    *,
    data: str | Path = DEMO,
    truth: str | Path | None = None,
    limit: int | None = None,
    seed: int = 0,
    min_ratio: float | None = None,
    max_drop: float | None = None,
    batch: int = 8,
    threads: int | None = None,
    checkpoints: Sequence[str | Path] = (),
    exclude: str | Path | Collection[str] = (),
    cache_dir: Path | None = None,
    device: str = LOCAL,
    invitation: Invitation | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Validation:
    """Measures how much worse than FP32 PyTorch artifacts are, and how sure that is.

    Args:
        artifacts: Files that ``edgecvx export`` wrote.
        data: A folder of pictures, or ``demo`` for drawn ones; see ``edgecvx.data.dataset``.
        truth: A label file, or ``none`` to compare answers only.
        limit: The most pictures to take, balanced over the classes.
        seed: Of the pictures' order.
        min_ratio: The gate: the artifact's top-1 over the reference's, 0.99 where nothing is said.
        max_drop: The gate instead of that: percentage points of top-1.
        batch: Pictures per run of the reference, and per step; an artifact runs in its own batch.
        threads: How many threads the runtimes and PyTorch may use.
        checkpoints: Weights files, for artifacts that were exported from a file.
        exclude: A folder of pictures, or SHA-256 of content, to leave out; the pictures that any of the artifacts was
            calibrated on are left out in any case, for all of them, because all are measured on the same pictures.
        cache_dir: In place of the platform's cache folder.
        device: ``local``, or ``browser``: the artifacts' answers come from a browser that opens a link.
        invitation: For ``browser``: where the page is served, how long it is waited for, and who shows the link.
        on_progress: Called after each batch.

    Returns:
        An outcome for each artifact. An artifact that cannot be run has an error there and stops no other.

    Raises:
        EdgecvxError: The request itself cannot be carried out: no such artifact, no pictures, labels that do not fit.
    """
    if importlib.util.find_spec("torch") is None:
        raise missing_package("PyTorch, which computes the reference of validate,", "onnx")
    rule = gate(min_ratio, max_drop)
    if batch < 1:
        raise UsageError(f"--batch {batch} does not work: it must be at least 1")
    check_threads(threads)
    if device not in (LOCAL, BROWSER):
        raise UsageError(f"--device {device} does not work here: answers come from {LOCAL} or from one {BROWSER}")
    for path in checkpoints:
        if not Path(path).exists():
            raise UsageError(f"--checkpoint {path} does not work: there is no such file")
    paths = [artifacts] if isinstance(artifacts, str | Path) else list(artifacts)
    candidates = _candidates([Path(path) for path in paths])
    if not candidates:
        raise UsageError("no artifact given")
    excluded = content_hashes(Path(exclude)) if isinstance(exclude, str | Path) else frozenset(exclude)
    excluded |= {sha256 for candidate in candidates for sha256 in candidate.calibrated_on}
    classes, labels = _classes(candidates, truth)
    pictures = open_data(
        data, num_classes=classes, labels=labels, truth=truth, limit=limit, seed=seed, exclude=excluded
    )
    with opened_cache(cache_dir) as (cache, note), _browser(device, invitation) as browser:
        run = _Run(
            data=pictures,
            rule=rule,
            batch=batch,
            threads=threads,
            cache=cache,
            checkpoints=tuple(Path(c) for c in checkpoints),
            tell=on_progress,
            browser=browser,
        )
        try:
            outcomes = tuple(run.outcome(candidate, i, len(candidates)) for i, candidate in enumerate(candidates))
        finally:
            run.close()
    undecoded = (Skipped(name=name, reason=reason) for name, reason in sorted(run.unreadable.items()))
    skipped = (*pictures.skipped, *undecoded)
    warnings = (*pictures.notes, *_left_out(pictures.name, skipped), *run.warnings, *filter(None, [note]))
    return Validation(
        edgecvx=__version__,
        data=_described(pictures, skipped, limit, seed),
        gate=rule,
        artifacts=outcomes,
        warnings=tuple(dict.fromkeys(warnings)),
    )


@contextlib.contextmanager
def _browser(device: str, invitation: Invitation | None) -> Iterator[VisitingBrowser | None]:
    """The browser that answers; None where this machine does."""
    if device == LOCAL:
        yield None
        return
    with visited(invitation or Invitation()) as browser:
        yield browser


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """One artifact to be measured."""

    path: Path
    name: str
    """What tells it apart from the others."""
    manifest: Manifest

    @property
    def classifies(self) -> bool:
        return self.manifest.task is Task.CLASSIFY

    @property
    def calibrated_on(self) -> tuple[str, ...]:
        """The content hashes of the pictures its scales come from."""
        quantized = self.manifest.quantized
        return () if quantized is None or quantized.calibration is None else quantized.calibration.pictures

    @property
    def reference_key(self) -> str:
        """The same for artifacts that share a reference."""
        return json.dumps([to_json(self.manifest.model), self.manifest.task.value])

    def identity(self, browser: VisitingBrowser | None, threads: int | None) -> ArtifactIdentity:
        if browser is not None:
            identity = identity_of(self.path, self.manifest, None)
            return browser.identity(dataclasses.replace(identity, file=self.name), threads)
        runtime = runtime_used(self.manifest)
        version = availability(runtime).version if runtime in RUNTIMES else None
        identity = identity_of(self.path, self.manifest, version)
        return dataclasses.replace(identity, file=self.name, runtime=runtime)


def _candidates(paths: Sequence[Path]) -> list[_Candidate]:
    found = [locate(path)[0] for path in paths]
    names = distinct_names(found)
    return [_Candidate(path=p, name=name, manifest=read_manifest(p)) for p, name in zip(found, names, strict=True)]


def _classes(candidates: Sequence[_Candidate], truth: str | Path | None) -> tuple[int, tuple[str, ...] | None]:
    """How many classes the artifacts tell apart, and their names; all must agree, to share one set of labels."""
    kinds = {
        (candidate.manifest.model.num_classes, candidate.manifest.model.labels): candidate
        for candidate in candidates
        if candidate.classifies
    }
    if not kinds:
        return 0, None
    if len(kinds) > 1 and truth != NO_TRUTH:
        first, second = list(kinds.values())[:2]
        raise UsageError(f"{first.name} and {second.name} do not tell the same classes apart: validate them one by one")
    return next(iter(kinds))


@dataclass(slots=True, kw_only=True)
class _Run:
    """One call: what its artifacts share."""

    data: Dataset
    rule: Gate
    batch: int
    threads: int | None
    cache: Path
    checkpoints: Sequence[Path]
    tell: Callable[[Progress], None] | None
    browser: VisitingBrowser | None
    """Where the artifacts answer; None for this machine."""
    references: dict[str, tuple[Reference, InputPath]] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    """Pictures that could not be decoded, by name, and why."""
    warnings: list[str] = field(default_factory=list)

    def outcome(self, candidate: _Candidate, index: int, total: int) -> ArtifactOutcome:
        """Measures one artifact; what goes wrong with it alone becomes part of its outcome."""

        def tell(done: int) -> None:
            if self.tell is not None:
                pictures = len(self.data.samples)
                self.tell(Progress(artifact=candidate.name, index=index, artifacts=total, done=done, total=pictures))

        identity = candidate.identity(self.browser, self.threads)
        tell(0)
        try:
            verify_files(candidate.manifest, candidate.path.parent)
            reference, input_path = self._reference(candidate)
            known = reference.computed
            measured = self._measured(candidate, identity, reference, input_path, tell)
        except EdgecvxError as error:
            verdict = Verdict(kind="error", reason=f"not measured to the end: {error}")
            return ArtifactOutcome(identity=identity, verdict=verdict, pictures=0, error=str(error))
        if isinstance(measured, Finding):
            return ArtifactOutcome(
                identity=identity,
                verdict=Verdict(kind="fail", reason=measured.sentence),
                pictures=0,
                reference=reference.info(from_cache=0),
                findings=(measured,),
            )
        stood_in = None if self.browser is not None else note_on_runtime(candidate.manifest, identity.file)
        if stood_in:
            self.warnings.append(stood_in)
        if names := differences(reference.preprocess, candidate.manifest.model.preprocess):
            self.warnings.append(
                f"{identity.file}: its manifest prepares pictures with another {', '.join(names)} than its weights "
                "want; on the first pictures that made no difference"
            )
        samples, rows, recheck = measured
        info = reference.info(from_cache=len(samples) - (reference.computed - known))
        outcome = picture_rows.summarize(
            rows,
            identity=identity,
            reference=info,
            outputs=[spec.name for spec in candidate.manifest.outputs],
            pictures=[s.name for s in samples],
            truths=[s.label for s in samples] if self.data.labelled else None,
            classes=candidate.manifest.model.num_classes,
            class_name=self._name_of_class(candidate.manifest),
            rule=self.rule,
        )
        return dataclasses.replace(outcome, recheck=recheck)

    def close(self) -> None:
        for reference, _ in self.references.values():
            reference.close()

    def _reference(self, candidate: _Candidate) -> tuple[Reference, InputPath]:
        if candidate.reference_key not in self.references:
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
            self.references[candidate.reference_key] = reference, input_path
        return self.references[candidate.reference_key]

    def _measured(
        self,
        candidate: _Candidate,
        identity: ArtifactIdentity,
        reference: Reference,
        input_path: InputPath,
        tell: Callable[[int], None],
    ) -> tuple[list[Sample], Array, Recheck | None] | Finding:
        """Every readable picture and its row, or the mistake that would make rows meaningless."""
        recheck, must_ask = self._known_recheck(candidate)
        all_samples, prepared = self.data.samples, candidate.manifest.model.preprocess
        truths = {s.name: s.label if candidate.classifies else None for s in all_samples}
        keys = {s.name: picture_key(s.sha256, truths[s.name]) for s in all_samples}
        dtype = picture_rows.row_type(len(candidate.manifest.outputs), classify=candidate.classifies)
        with RowStore(self.cache, self._what(candidate, identity, reference), dtype) as store:
            pending = [s for s in all_samples if keys[s.name] not in store and s.name not in self.unreadable]
            done = len(all_samples) - len(pending)
            tell(done)
            if pending or must_ask:
                with self._opened(candidate, len(pending)) as artifact:
                    recheck = artifact.recheck
                    if finding := artifact.explained(input_path):
                        return finding
                    specs = (prepared, reference.preprocess)
                    for chunk, (pixels, seen) in decoded(pending, specs, self.batch, self.unreadable):
                        kept, actual = artifact.answers(chunk, pixels, self.unreadable)
                        if kept:
                            read = [chunk[i] for i in kept]
                            expected = reference.answer(read, seen[kept])
                            of_chunk = [truths[s.name] for s in read] if candidate.classifies else None
                            store.add([keys[s.name] for s in read], picture_rows.rows_of(actual, expected, of_chunk))
                        done += len(chunk)
                        tell(done)
            samples = [s for s in all_samples if keys[s.name] in store]
            if not samples:
                raise ImageError(f"none of the {len(all_samples)} pictures can be decoded")
            return samples, store.get([keys[s.name] for s in samples]), recheck

    def _known_recheck(self, candidate: _Candidate) -> tuple[Recheck | None, bool]:
        """What is known of the file's proof where it answers, and whether it has to be asked."""
        if self.browser is not None:
            return None, True
        asked = question(candidate.manifest, runtime=runtime_used(candidate.manifest))
        known = asked.remembered() if asked.arises else None
        return known, asked.arises and known is None

    def _opened(self, candidate: _Candidate, pictures: int) -> FedArtifact | BrowserArtifact:
        if self.browser is not None:
            return self.browser.open(candidate.path, candidate.manifest, self.threads, pictures)
        return FedArtifact(candidate.path, candidate.manifest, self.threads)

    def _what(self, candidate: _Candidate, identity: ArtifactIdentity, reference: Reference) -> dict[str, Any]:
        """Everything the rows of an artifact depend on beside the picture."""
        where = {} if self.browser is None else self.browser.key(candidate.path, self.threads)
        return {**_what(candidate, identity, reference), **where}

    def _name_of_class(self, manifest: Manifest) -> Callable[[int], str]:
        labels, classes = manifest.model.labels, self.data.classes
        return lambda index: labels[index] if labels is not None else classes.get(index, f"class {index}")


def _what(candidate: _Candidate, identity: ArtifactIdentity, reference: Reference) -> dict[str, Any]:
    """Everything the rows of an artifact depend on beside the picture."""
    manifest, processor = candidate.manifest, this_processor()
    return {
        "version": picture_rows.VERSION,
        "artifact": identity.sha256,
        "runtime": f"{identity.runtime} {identity.runtime_version}",
        # A home may be shared between machines: answers are those of one class of processors.
        "processor": [processor.machine, processor.kind or processor.name],
        "input": to_json(manifest.input),
        "outputs": to_json(manifest.outputs),
        "preprocess": to_json(manifest.model.preprocess),
        "reference": reference.what,
    }


def _left_out(name: str, skipped: Sequence[Skipped]) -> Iterator[str]:
    """What the figures lack and the user may not know of; a copy of a picture that counts is no loss."""
    if lost := unexpected([s for s in skipped if not s.reason.startswith(TWICE)]):
        yield f"{name}: {counted(len(lost), 'entry', 'entries')} left out of the validation: {describe(lost)}"


def _described(data: Dataset, skipped: Sequence[Skipped], limit: int | None, seed: int) -> DataInfo:
    left_out = {s.name for s in skipped}
    data = dataclasses.replace(data, samples=tuple(s for s in data.samples if s.name not in left_out))
    named = sorted(skipped, key=lambda s: s.name)[:SKIPPED_NAMED]
    return DataInfo(
        kind=data.kind,
        name=data.name,
        available=data.available,
        chosen=len(data.samples),
        limit=limit,
        seed=seed,
        excluded_calibration=data.excluded,
        skipped=tuple(SkippedPicture(name=s.name, reason=s.reason) for s in named),
        skipped_reasons=reasons_of(skipped),
        sha256=data.sha256,
    )
