"""Which artifact a figure belongs to, said the same way by everything that measures."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from edgecvx.manifest import Manifest
from edgecvx.results.accuracy import ArtifactIdentity


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


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """The name of each file, and where two files have the same one, the shortest end of its path that is its alone."""
    parts = {path: Path(os.path.abspath(path)).parts for path in paths}  # noqa: PTH100  # a link keeps the user's name
    several = set(parts.values())
    return [_own_end(parts[path], several) for path in paths]


def _own_end(path: tuple[str, ...], several: set[tuple[str, ...]]) -> str:
    for n in range(1, len(path)):
        if sum(other[-n:] == path[-n:] for other in several) == 1:
            return "/".join(path[-n:])
    return Path(*path).as_posix()
