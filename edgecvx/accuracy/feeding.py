"""An artifact, fed with pixels the way its manifest says, and what it answers in the reference's order and layout."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecvx.accuracy.inputpath import InputPath
from edgecvx.accuracy.runtime_used import runtime_used
from edgecvx.data.dataset import Sample
from edgecvx.data.preprocess import as_input
from edgecvx.errors import ArtifactError, EdgecvxError, RuntimeFailedError
from edgecvx.manifest import Manifest
from edgecvx.proof.selfcheck import channels_first
from edgecvx.results.accuracy import Finding
from edgecvx.runtimes import open_session
from edgecvx.runtimes.base import Session, run_batches
from edgecvx.runtimes.proof import check
from edgecvx.spec import TensorSpec

Array = NDArray[Any]


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
        self._session.close()

    def explained(self, input_path: InputPath) -> Finding | None:
        """The mistake in the way to this file that explains its answers, if one does."""
        prepared = self._manifest.model.preprocess
        pixels = np.stack([sample.pixels(prepared) for sample in input_path.samples])
        return input_path.explain(self.run(input_path.samples, pixels), prepared)

    def answers(
        self, samples: Sequence[Sample], pixels: Array, _: MutableMapping[str, str]
    ) -> tuple[list[int], list[Array]]:
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
            outputs.append(array)
        return outputs


def _check_declared(name: str, said: TensorSpec, actual: TensorSpec) -> None:
    if (said.shape, said.dtype) != (actual.shape, actual.dtype):
        raise ArtifactError(
            f"the manifest of {name} says that it takes {said.dtype} {list(said.shape)} in {said.layout}, the "
            f"file itself takes {actual.dtype} {list(actual.shape)}: the manifest was changed; export it again"
        )
