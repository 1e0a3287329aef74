"""The artifacts that a validation is asked about, and what came of each."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecvx.accuracy import rows as picture_rows
from edgecvx.accuracy.cache import picture_key
from edgecvx.accuracy.runtime_used import runtime_used, version_of
from edgecvx.data.dataset import NO_TRUTH, Sample
from edgecvx.errors import UsageError
from edgecvx.manifest import SUFFIX, Manifest, locate, read_manifest, without_manifests
from edgecvx.results.accuracy import ArtifactIdentity, Finding, ReferenceInfo
from edgecvx.results.identity import distinct_names, identity_of
from edgecvx.runtimes import RUNTIMES
from edgecvx.runtimes.proof import Recheck
from edgecvx.spec import PreprocessSpec, Task, to_json

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One artifact to be measured."""

    path: Path
    name: str
    """What tells it apart from the others."""
    manifest: Manifest

    @property
    def classifies(self) -> bool:
        """Whether its answers are logits."""
        return self.manifest.task is Task.CLASSIFY

    @property
    def calibrated_on(self) -> tuple[str, ...]:
        """The content hashes of the pictures its scales come from."""
        quantized = self.manifest.quantized
        return () if quantized is None or quantized.calibration is None else quantized.calibration.pictures

    @property
    def reference_key(self) -> str:
        """The same for artifacts that share a reference."""
        kind = "probabilities" if self.manifest.returns_probabilities else self.manifest.task.value
        return json.dumps([to_json(self.manifest.model), kind])

    def identity(self, versions: Mapping[str, str] | None = None) -> ArtifactIdentity:
        """Who it is, in the runtime that runs it here, or on workers with these versions of runtimes."""
        runtime = runtime_used(self.manifest, versions)
        version = version_of(runtime, versions) if runtime in RUNTIMES else None
        identity = identity_of(self.path, self.manifest, version)
        return dataclasses.replace(identity, file=self.name, runtime=runtime)

    @property
    def beside(self) -> tuple[str, ...]:
        """The files and folders beside it that belong to it, its manifest among them."""
        tops = {PurePosixPath(entry.path).parts[0] for entry in self.manifest.files}
        return tuple(sorted({*tops, self.path.name + SUFFIX} - {self.path.name}))

    @property
    def row(self) -> np.dtype[Any]:
        """The type of what is kept of a picture."""
        return picture_rows.row_type(len(self.manifest.outputs), classify=self.classifies)

    def keys(self, samples: Sequence[Sample]) -> Mapping[str, bytes]:
        """Picture's name -> the key of its row."""
        return {s.name: picture_key(s.sha256, s.label if self.classifies else None) for s in samples}


def candidates_of(paths: Sequence[Path]) -> list[Candidate]:
    """The artifacts at these places.

    Raises:
        ArtifactError: One is missing, or has no manifest.
    """
    found = [locate(path)[0] for path in without_manifests(paths)]
    names = distinct_names(found)
    return [Candidate(path=p, name=name, manifest=read_manifest(p)) for p, name in zip(found, names, strict=True)]


def classes_of(candidates: Sequence[Candidate], truth: str | Path | None) -> tuple[int, tuple[str, ...] | None]:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What came of one artifact: its rows, or the mistake that would make rows meaningless."""

    reference: ReferenceInfo
    prepared: PreprocessSpec
    """How the weights want pictures prepared, whatever the manifest says."""
    finding: Finding | None = None
    samples: Sequence[Sample] = ()
    """Those that could be read, in their order; a row each."""
    rows: Array = dataclasses.field(default_factory=lambda: np.zeros(0))
    recheck: Recheck | None = None


def what_rows_depend_on(
    candidate: Candidate, identity: ArtifactIdentity, reference: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything the rows of an artifact depend on beside the picture.

    Args:
        candidate: The artifact.
        identity: Of the artifact in what runs it.
        reference: What the reference's answers depend on, the processor among it.
    """
    manifest = candidate.manifest
    return {
        "version": picture_rows.VERSION,
        "artifact": identity.sha256,
        "runtime": f"{identity.runtime} {identity.runtime_version}",
        "processor": reference["processor"],
        "input": to_json(manifest.input),
        "outputs": to_json(manifest.outputs),
        "preprocess": to_json(manifest.model.preprocess),
        "reference": reference,
    }
