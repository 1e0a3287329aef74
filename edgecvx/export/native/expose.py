"""The native engine: an inner tensor that is returned too is an entry in the description."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from edgecvx.board.platforms import LIBRARIES, library_beside
from edgecvx.errors import ArtifactError
from edgecvx.export.native.parser import read
from edgecvx.export.native.points import inner_taps, outputs_of
from edgecvx.export.native.writer import write


def inner_tensors(path: Path) -> Mapping[str, str]:
    """Canonical name -> the file's own name; they are the same."""
    described = read(path)
    return {name: name for name in (*inner_taps(described), *(output.name for output in outputs_of(described)))}


def expose(path: Path, names: Sequence[str]) -> Mapping[str, bytes]:
    """The file with these tensors appended to its outputs, and everything else as it is; with its libraries."""
    described = read(path)
    known, returned = inner_taps(described), [output.name for output in outputs_of(described)]
    for name in names:
        if name not in known and name not in returned:
            raise ArtifactError(f"{path.name} has no tensor {name!r}")
    added = [known[name] for name in dict.fromkeys(names) if name not in returned]
    return {".ecvx": write(replace(described, taps=(*described.taps, *added))), **_libraries(path)}


def _libraries(path: Path) -> Mapping[str, bytes]:
    """What lies beside a file to run it."""
    known = {platform: library_beside(path, platform) for platform in LIBRARIES}
    there = {library.name.removeprefix(path.stem): library for library in known.values() if library.is_file()}
    return {suffix: library.read_bytes() for suffix, library in there.items()}
