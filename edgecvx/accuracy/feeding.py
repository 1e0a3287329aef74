"""An artifact, fed with pixels the way its manifest says, and what it answers in the reference's order and layout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgecvx.accuracy.inputpath import InputPath
from edgecvx.accuracy.reference import Reference
from edgecvx.accuracy.runtime_used import runtime_used
from edgecvx.data.dataset import Sample
from edgecvx.data.preprocess import as_input
from edgecvx.data.streaming import Stage, overlapped, processors
from edgecvx.errors import ArtifactError, EdgecvxError, RuntimeFailedError
from edgecvx.manifest import Manifest
from edgecvx.proof.selfcheck import channels_first
from edgecvx.results.accuracy import Finding
from edgecvx.runtimes import open_session
from edgecvx.runtimes.base import Session, run_batches
from edgecvx.runtimes.logits import as_logits
from edgecvx.runtimes.proof import check
from edgecvx.spec import Task, TensorSpec

Array = NDArray[Any]
Batch = tuple[list[Sample], list[NDArray[np.uint8]]]
"""Pictures, and their pixels as the artifact and as the reference want them prepared."""


Answer = tuple[list[int], list[Array]]
"""Places of the pictures that were read, and the outputs for those in the manifest's order, NCHW or NC; finite."""


class Answers(Protocol):
    """Where an artifact's answers come from: its runtime here, or something that runs it elsewhere."""

    def answers(self, samples: Sequence[Sample], pixels: Array, unreadable: MutableMapping[str, str]) -> Answer:
        """Which of the pictures it read, by their places, and the outputs for those.

        Args:
            samples: The pictures.
            pixels: Theirs, prepared as its manifest says.
            unreadable: Takes those it did not read, by name, and why.
        """
        ...


class FedArtifact:
    """An artifact in its runtime; a context manager.

    Raises:
        ArtifactError: The file does not take what its manifest says, or computes something else here than where it was
            proved.
        RuntimeFailedError: The runtime refuses the file.
    """

    def __init__(self, path: Path, manifest: Manifest, threads: int | None) -> None:
        self._name, self._manifest = path.name, manifest
        runtime = runtime_used(manifest)
        self._session: Session = open_session(runtime, path, threads=threads)
        try:
            _check_declared(self._name, manifest.input, self._session.inputs[0])
            self.recheck = check(self._session, manifest, self._name, runtime=runtime)
        except EdgecvxError:
            self._session.close()
            raise

    def __enter__(self) -> FedArtifact:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends its runtime."""
        self._session.close()

    @property
    def classifies(self) -> bool:
        """Whether its answers are logits."""
        return self._manifest.task is Task.CLASSIFY

    def explained(self, input_path: InputPath) -> Finding | None:
        """The mistake in the way to this file that explains its answers, if one does."""
        prepared = self._manifest.model.preprocess
        pixels = np.stack([sample.pixels(prepared) for sample in input_path.samples])
        return input_path.explain(self.run(input_path.samples, pixels), prepared)

    def answers(self, samples: Sequence[Sample], pixels: Array, _: MutableMapping[str, str]) -> Answer:
        """Which of the pictures were read (all: that is done here), and what ``run`` says of those."""
        return list(range(len(samples))), self.run(samples, pixels)

    def run(self, samples: Sequence[Sample], pixels: Array) -> list[Array]:
        """The outputs in the manifest's order, NCHW or NC; finite."""
        manifest = self._manifest
        found = run_batches(self._session, as_input(pixels, manifest.model.preprocess, manifest.input))
        outputs = []
        for spec in manifest.outputs:
            if spec.name not in found:
                raise RuntimeFailedError(f"{self._name} has no output {spec.name!r}, only {', '.join(found)}")
            array = channels_first(found[spec.name], spec.layout)
            broken = ~np.isfinite(array).reshape(len(array), -1).all(axis=1)
            if broken.any():
                picture = samples[int(broken.argmax())].name
                raise RuntimeFailedError(
                    f"{self._name} gives NaN or infinite values in {spec.name!r} for the picture {picture}: "
                    "no figure can be made of that"
                )
            outputs.append(as_logits(array) if manifest.returns_probabilities else array)
        return outputs


def compared(
    batches: Iterable[Batch],
    reference: Reference,
    artifact: Answers,
    threads: int | None,
    unreadable: MutableMapping[str, str],
) -> Iterator[tuple[list[Sample], list[Array], Answer]]:
    """Batches of pictures with what the reference and an artifact say of them, in their order, both asked at once.

    Args:
        batches: Pictures, and their pixels as the artifact and as the reference want them prepared.
        reference: What is compared with.
        artifact: What is compared.
        threads: What the user allowed; with one, everything is done in turn.
        unreadable: Takes the pictures that the artifact could not read, by name, and why.
    """
    stages: list[Stage[Batch]] = [
        (lambda batch: reference.answer(batch[0], batch[1][1]), reference.abreast),
        (lambda batch: artifact.answers(batch[0], batch[1][0], unreadable), 1),
    ]
    ahead = 0 if threads == 1 else reference.abreast + 1  # so that neither waits for a slow batch of the other
    for (samples, _), (expected, actual) in overlapped(batches, stages, ahead=ahead):
        yield samples, expected, actual


def threads_beside(reference: Reference, samples: Sequence[Sample], threads: int | None) -> int | None:
    """How many threads an artifact is given for pictures: not all processors where the reference needs them too.

    Answers of the runtimes do not depend on it; a runtime whose threads wait for their turn by spinning takes twice as
    long as one that has fewer.
    """
    if threads is not None or reference.knows(samples):
        return threads
    return max(1, processors() // 2)


def _check_declared(name: str, said: TensorSpec, actual: TensorSpec) -> None:
    if (said.shape, said.dtype) != (actual.shape, actual.dtype):
        raise ArtifactError(
            f"the manifest of {name} says that it takes {said.dtype} {list(said.shape)} in {said.layout}, the "
            f"file itself takes {actual.dtype} {list(actual.shape)}: the manifest was changed; export it again"
        )
