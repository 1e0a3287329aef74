"""Which artifact a figure belongs to, said the same way by everything that measures."""

from __future__ import annotations

import hashlib
from pathlib import Path

from edgecvx.manifest import Manifest
from edgecvx.measure.outcome import ArtifactIdentity


def identity_of(path: Path, manifest: Manifest, runtime_version: str | None) -> ArtifactIdentity:
    """The identity of an artifact in the runtime of this version; by its hash, reports find what belongs together."""
    content = "\n".join(f"{entry.path} {entry.sha256}" for entry in manifest.files)
    return ArtifactIdentity(
        file=path.name,
        sha256=hashlib.sha256(content.encode()).hexdigest(),
        bytes=sum(entry.bytes for entry in manifest.files),
        model=manifest.model.name,
        task=manifest.task,
        target=manifest.target,
        format=manifest.format,
        precision=manifest.precision.value,
        runtime=manifest.runtime,
        runtime_version=runtime_version,
    )
