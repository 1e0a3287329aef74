"""How much worse than FP32 PyTorch a file is: the same pictures through both, picture by picture.

Every artifact runs in its own runtime, in a process of its own, on pictures prepared as its manifest says. Pictures are
streamed: some are decoded while others run through reference and artifact, and what is kept of each is a row of figures
on the disk. A run that was stopped goes on behind its last row, and a second identical one only reads rows.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edgecvx import __version__
from edgecvx.accuracy import rows as picture_rows
from edgecvx.accuracy.browser import NAME as BROWSER
from edgecvx.accuracy.browser import VisitingBrowser, visited
from edgecvx.accuracy.cache import opened_cache
from edgecvx.accuracy.candidates import Candidate, candidates_of, classes_of
from edgecvx.accuracy.elsewhere import Elsewhere
from edgecvx.accuracy.here import Here
from edgecvx.accuracy.inputpath import differences
from edgecvx.cluster.connect import connect
from edgecvx.cluster.handle import Cluster, Word
from edgecvx.data.dataset import DEMO, TWICE, Dataset, content_hashes, open_data
from edgecvx.data.folder import Skipped, describe, reasons_of, unexpected
from edgecvx.errors import EdgecvxError, UsageError, missing_package
from edgecvx.inmemory.reference import saved_module
from edgecvx.manifest import Manifest
from edgecvx.results.accuracy import (
    SKIPPED_NAMED,
    ArtifactOutcome,
    DataInfo,
    Gate,
    SkippedPicture,
    Validation,
    Verdict,
)
from edgecvx.results.figures import counted
from edgecvx.results.intervals import gate
from edgecvx.runtimes import check_threads
from edgecvx.web.visits.invitation import Invitation

if TYPE_CHECKING:
    from distributed import Client
    from torch import nn

LOCAL = "local"


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
    known: int = 0
    """Pictures that were not run, because an earlier run kept their rows."""
    workers: tuple[Word, ...] = ()
    """What each worker of a cluster said last."""
    note: str = ""
    """What is waited for, where nothing goes on."""


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
    reference: nn.Module | None = None,
    exclude: str | Path | Collection[str] = (),
    cache_dir: Path | None = None,
    cluster: str | Client | Cluster | None = None,
    device: str = LOCAL,
    invitation: Invitation | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_answers: Callable[[picture_rows.PictureAnswers], None] | None = None,
) -> Validation:
    """Measures how much worse than FP32 PyTorch artifacts are, and how sure that is.

    Args:
        artifacts: Files that ``edgecvx export`` wrote.
        data: A folder of pictures, or ``demo`` for drawn ones; see ``edgecvx.data.dataset``.
        truth: A label file, or ``none`` to compare answers only.
        limit: The most pictures to take, balanced over the classes.
        seed: Of the pictures' order.
        min_ratio: The gate: the artifact's top-1 over the reference's, 0.99 where nothing is said.
        max_drop: The gate instead of that: the percentage points of top-1 that may be lost; 0.5 is half a point.
        batch: Pictures per run of the reference, and per step; an artifact runs in its own batch.
        threads: How many threads the runtimes and PyTorch may use; with one, they take turns.
        checkpoints: Weights files, for artifacts that were exported from a file.
        reference: The module, for artifacts that were exported from one in memory.
        exclude: A folder of pictures, or SHA-256 of content, to leave out; the pictures that any of the artifacts was
            calibrated on are left out in any case, for all of them, because all are measured on the same pictures.
        cache_dir: In place of the platform's cache folder.
        cluster: Where the pictures are run in place of this machine: ``local:4``, ``tls://host:8786``, a client of
            Dask's, or what ``edgecvx.cluster.connect`` gives; workers have one thread each. The report is the same.
        device: ``local``, or ``browser``: the artifacts' answers come from a browser that opens a link.
        invitation: For ``browser``: where the page is served, how long it is waited for, and who shows the link.
        on_progress: Called after each batch.
        on_answers: Called for each classifier whose pictures have labels, with who was right on each of them.

    Returns:
        An outcome for each artifact. An artifact that cannot be run has an error there and stops no other.

    Raises:
        EdgecvxError: The request itself cannot be carried out: no such artifact, no pictures, labels that do not fit.
    """
    if cluster is None and importlib.util.find_spec("torch") is None:
        raise missing_package("PyTorch, which computes the reference of validate,", "onnx")
    rule = gate(min_ratio, max_drop)
    if batch < 1:
        raise UsageError(f"--batch {batch} does not work: it must be at least 1")
    check_threads(threads)
    if device not in (LOCAL, BROWSER):
        raise UsageError(f"--device {device} does not work here: answers come from {LOCAL} or from one {BROWSER}")
    if device == BROWSER and cluster is not None:
        raise UsageError("--cluster and --device browser exclude each other: one browser answers, through this machine")
    for path in checkpoints:
        if not Path(path).exists():
            raise UsageError(f"--checkpoint {path} does not work: there is no such file")
    paths = [artifacts] if isinstance(artifacts, str | Path) else list(artifacts)
    candidates = candidates_of([Path(path) for path in paths])
    if not candidates:
        raise UsageError("no artifact given")
    excluded = content_hashes(Path(exclude)) if isinstance(exclude, str | Path) else frozenset(exclude)
    excluded |= {sha256 for candidate in candidates for sha256 in candidate.calibrated_on}
    classes, labels = classes_of(candidates, truth)
    pictures = open_data(
        data, num_classes=classes, labels=labels, truth=truth, limit=limit, seed=seed, exclude=excluded
    )
    with contextlib.ExitStack() as stack:
        cache, note = stack.enter_context(opened_cache(cache_dir))
        files = tuple(Path(c) for c in checkpoints)
        if reference is not None:
            files = (*files, stack.enter_context(saved_module(reference, [c.manifest for c in candidates])))
        source: Here | Elsewhere
        if cluster is None:
            browser = stack.enter_context(_browser(device, invitation))
            here = Here(data=pictures, batch=batch, threads=threads, cache=cache, checkpoints=files, browser=browser)
            source = stack.enter_context(contextlib.closing(here))
        else:
            source = stack.enter_context(_on(cluster, pictures, batch, cache, files, candidates, on_progress))
        run = _Run(data=pictures, rule=rule, source=source, tell=on_progress, answers=on_answers)
        outcomes = tuple(run.outcome(candidate, i, len(candidates)) for i, candidate in enumerate(candidates))
    undecoded = (Skipped(name=name, reason=reason) for name, reason in sorted(source.unreadable.items()))
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


@contextlib.contextmanager
def _on(
    cluster: str | Client | Cluster,
    data: Dataset,
    batch: int,
    cache: Path,
    checkpoints: Sequence[Path],
    candidates: Sequence[Candidate],
    tell: Callable[[Progress], None] | None,
) -> Iterator[Elsewhere]:
    """A cluster on which all is measured before the first artifact is asked for."""
    words: dict[str, Word] = {}
    last = Progress(artifact="", index=0, artifacts=len(candidates), done=0, total=len(data.samples))

    def told(index: int, done: int, known: int) -> None:
        nonlocal last
        last = dataclasses.replace(last, artifact=candidates[index].name, index=index, done=done, known=known)
        say("")

    def say(note: str) -> None:
        if tell is not None:
            tell(dataclasses.replace(last, workers=tuple(words.values()), note=note))

    def hear(word: Word) -> None:
        words[word.worker] = word

    with contextlib.nullcontext(cluster) if isinstance(cluster, Cluster) else connect(cluster) as handle:
        before, handle.on_word = handle.on_word, hear
        try:
            elsewhere = Elsewhere(
                cluster=handle, data=data, batch=batch, cache=cache, checkpoints=checkpoints, told=told, say=say
            )
            elsewhere.measure(candidates)
            yield elsewhere
        finally:
            handle.on_word = before


@dataclass(slots=True, kw_only=True)
class _Run:
    """One call: where its answers come from, and what its artifacts share."""

    data: Dataset
    rule: Gate
    source: Here | Elsewhere
    tell: Callable[[Progress], None] | None
    answers: Callable[[picture_rows.PictureAnswers], None] | None = None
    warnings: list[str] = field(default_factory=list)

    def outcome(self, candidate: Candidate, index: int, total: int) -> ArtifactOutcome:
        """Measures one artifact; what goes wrong with it alone becomes part of its outcome."""

        def tell(done: int, known: int) -> None:
            if self.tell is not None:
                self.tell(
                    Progress(
                        artifact=candidate.name,
                        index=index,
                        artifacts=total,
                        done=done,
                        total=len(self.data.samples),
                        known=known,
                    )
                )

        identity = self.source.identity(candidate)
        try:
            measured = self.source.measured(candidate, tell)
        except EdgecvxError as error:
            verdict = Verdict(kind="error", reason=f"not measured to the end: {error}")
            return ArtifactOutcome(identity=identity, verdict=verdict, pictures=0, error=str(error))
        finally:
            self.warnings += self.source.warnings
            self.source.warnings.clear()
        if measured.finding is not None:
            return ArtifactOutcome(
                identity=identity,
                verdict=Verdict(kind="fail", reason=measured.finding.sentence),
                pictures=0,
                reference=measured.reference,
                findings=(measured.finding,),
            )
        if stood_in := self.source.stood_in(candidate):
            self.warnings.append(stood_in)
        if names := differences(measured.prepared, candidate.manifest.model.preprocess):
            self.warnings.append(
                f"{identity.file}: its manifest prepares pictures with another {', '.join(names)} than its weights "
                "want; on the first pictures that made no difference"
            )
        pictures = [s.name for s in measured.samples]
        truths = [s.label for s in measured.samples] if self.data.labelled else None
        if self.answers is not None and truths is not None and candidate.classifies:
            self.answers(picture_rows.picture_answers(measured.rows, identity, pictures, truths))
        outcome = picture_rows.summarize(
            measured.rows,
            identity=identity,
            reference=measured.reference,
            outputs=[spec.name for spec in candidate.manifest.outputs],
            pictures=pictures,
            truths=truths,
            classes=candidate.manifest.model.num_classes,
            class_name=self._name_of_class(candidate.manifest),
            rule=self.rule,
        )
        return dataclasses.replace(outcome, recheck=measured.recheck)

    def _name_of_class(self, manifest: Manifest) -> Callable[[int], str]:
        labels, classes = manifest.model.labels, self.data.classes
        return lambda index: labels[index] if labels is not None else classes.get(index, f"class {index}")


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
