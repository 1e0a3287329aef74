"""An artifact, open: its manifest, its session, and pictures in, answers out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypedDict, overload

import numpy as np

from edgecvx.board.batches import in_batches
from edgecvx.data.preprocess import PictureSource, prepare_batch
from edgecvx.errors import ArtifactError, EdgecvxError, UsageError
from edgecvx.files import read_artifact
from edgecvx.manifest import Manifest
from edgecvx.runtimes import NO_OPTIONS, open_session
from edgecvx.runtimes.base import Array, Session
from edgecvx.runtimes.logits import logits_of
from edgecvx.runtimes.logits import softmax as softmax
from edgecvx.runtimes.proof import check
from edgecvx.spec import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """One class of an answer."""

    index: int
    label: str
    probability: float
    logit: float


class Scored(TypedDict):
    """One class of an answer, as pipelines of transformers put it."""

    label: str
    score: float


class Artifact:
    """A file that was exported, opened in its runtime; a context manager."""

    def __init__(self, manifest: Manifest, path: Path, session: Session) -> None:
        self.manifest = manifest
        self.path = path
        self.session = session

    def run(self, batch: Array) -> dict[str, Array]:
        """Runs one batch in the file's own layout and dtype; the outputs by name."""
        return self.session.run(batch)

    def run_pictures(self, pictures: Sequence[PictureSource]) -> dict[str, Array]:
        """Preprocesses pictures as the manifest says and runs them; any number, filled up to the file's batch."""
        spec, preprocess = self.manifest.input, self.manifest.model.preprocess
        return in_batches(lambda part: self.run(prepare_batch(part, preprocess, spec)), pictures, spec.shape[0])

    @overload
    def __call__(self, inputs: PictureSource, *, top_k: int = 5) -> list[Scored]: ...

    @overload
    def __call__(self, inputs: list[Any] | tuple[Any, ...], *, top_k: int = 5) -> list[list[Scored]]: ...

    def __call__(
        self, inputs: PictureSource | list[Any] | tuple[Any, ...], *, top_k: int = 5
    ) -> list[Scored] | list[list[Scored]]:
        """Answers as ``transformers.pipeline("image-classification")`` does, so that code around one stays as it is.

        Args:
            inputs: A picture, or a list of them: a path, a picture of Pillow's, or an array, height x width x RGB.
            top_k: How many classes, most likely first.

        Returns:
            ``[{"label": …, "score": …}, …]`` for a picture, a list of those for a list of pictures.

        Raises:
            UsageError: The artifact is no classifier.
        """
        if not isinstance(inputs, list | tuple):
            return self([inputs], top_k=top_k)[0]
        answers = self.predict(inputs, top=top_k) if inputs else []
        return [[Scored(label=found.label, score=found.probability) for found in answer] for answer in answers]

    def predict(self, pictures: Sequence[PictureSource], *, top: int = 5) -> list[tuple[Ranked, ...]]:
        """The ``top`` classes of each picture, most likely first.

        Raises:
            UsageError: The artifact is no classifier, or less than one class is asked for.
        """
        if top < 1:
            raise UsageError(f"{top} classes of a picture do not work: ask for 1 or more")
        if self.manifest.task is not Task.CLASSIFY:
            raise UsageError(
                f"{self.path.name} returns {self.manifest.task.value}, not classes; use edgecvx.load(...).run_pictures"
            )
        logits = logits_of(self.manifest, self.run_pictures(pictures))
        labels = self.manifest.model.labels
        return [ranked(np.argsort(-row, kind="stable")[:top], softmax(row), row, labels) for row in logits]

    def close(self) -> None:
        """Frees what the runtime holds."""
        self.session.close()

    def __repr__(self) -> str:
        return f"<{self.path} open in {self.manifest.runtime}>"

    def __enter__(self) -> Artifact:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def load(
    path: str | Path,
    *,
    threads: int | None = None,
    options: Mapping[str, str] = NO_OPTIONS,
    isolated: bool = True,
) -> Artifact:
    """Opens an artifact after checking that its files are the ones that were proved.

    On a class of processors it was not proved on, and in another runtime, it is given the probe pictures first, once.

    Args:
        path: The file ``edgecvx export`` wrote, or its manifest.
        threads: How many threads the runtime may use.
        options: Options of the runtime.
        isolated: Whether the runtime lives in a process of its own (see ``edgecvx.runtimes``).

    Raises:
        ArtifactError: The artifact or its manifest is missing, damaged, or the manifest of another file; or the file
            computes something else here than where it was proved.
        RuntimeUnavailableError: Its runtime is not installed.
        RuntimeFailedError: Its runtime refuses it.
    """
    artifact, manifest = read_artifact(path)
    session = open_session(manifest.runtime, artifact, threads=threads, options=options, isolated=isolated)
    try:
        _check_described(session, manifest, artifact.name)
        check(session, manifest, artifact.name, options=options)
    except EdgecvxError:
        session.close()
        raise
    return Artifact(manifest, artifact, session)


def _check_described(session: Session, manifest: Manifest, name: str) -> None:
    """Holds the file to its manifest: pictures are prepared, and answers read, as the manifest says."""
    described = (manifest.input, *manifest.outputs)
    for tensor in (*session.inputs, *session.outputs):
        if tensor not in described:
            raise ArtifactError(
                f"{name} has a tensor {tensor.name!r}, {tensor.dtype} {list(tensor.shape)} in {tensor.layout}, "
                "which its manifest does not describe; export the model again"
            )
    if len(described) != len(session.inputs) + len(session.outputs):
        raise ArtifactError(f"the manifest of {name} describes tensors that are not in the file; export it again")


def ranked(order: Array, probabilities: Array, logits: Array, labels: Sequence[str] | None) -> tuple[Ranked, ...]:
    """The classes in the order given, by name where the names are known."""
    return tuple(
        Ranked(
            index=int(i),
            label=labels[i] if labels is not None else f"class {i}",
            probability=float(probabilities[i]),
            logit=float(logits[i]),
        )
        for i in order
    )
