"""The models of a site: what ``models.json`` says of each, read from the artifacts in its folder."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgecvx import __version__
from edgecvx.data.probe import probe_pictures
from edgecvx.errors import ArtifactError
from edgecvx.files import file_sha256, read_artifact
from edgecvx.manifest import SUFFIX, Manifest, manifest_path
from edgecvx.runtimes import NO_OPTIONS
from edgecvx.runtimes.proof import limit_of, remedy
from edgecvx.spec import to_json

SCHEMA_VERSION = 1
MODELS = "models.json"
"""The list of a site's models, by which a page finds everything else."""

_MODEL, _ENGINE = ".ecvx", ".wasm32.wasm"
_ENGINES = re.compile(r"\.(wasm32[a-z-]*)\.wasm")


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteModel:
    """One model of a site; files by their names in its folder."""

    name: str
    file: str
    manifest: str
    engines: Mapping[str, str]
    """By the platforms they are for; ``wasm32`` is one that every browser runs."""
    probes: str
    """The probe pictures at the model's size: rows of RGB bytes, one picture behind the other."""
    limit: float
    """How far its answers to them may be from those in the manifest's proof."""
    remedy: str
    """What to do about answers that are further."""
    bytes: int
    """Of the model's file."""
    sha256: Mapping[str, str]
    """Of every file named here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """Every model of a folder, and what else a page needs of them."""

    models: tuple[SiteModel, ...]
    """In order of name."""
    probes: Mapping[str, bytes]
    """The files of probe pictures, by name."""
    left_out: tuple[str, ...]
    """Why others are not among them, a sentence each."""

    @property
    def text(self) -> bytes:
        """``models.json``; the same models give the same bytes."""
        whole = {"schema_version": SCHEMA_VERSION, "edgecvx": __version__, "models": to_json(self.models)}
        return (json.dumps(whole, indent=1, ensure_ascii=False) + "\n").encode()

    @property
    def sha256(self) -> Mapping[str, str]:
        """Of every file of a model, by name."""
        return {name: value for model in self.models for name, value in model.sha256.items()}


def models_in(folder: Path) -> Models:
    """Looks through a folder: every artifact of the native engine in it that brings the engine for browsers.

    One whose files are not those that were proved is left out, and so are those for other machines.
    """
    models, probes, left_out = list[SiteModel](), dict[str, bytes](), list[str]()
    for path in sorted(folder.glob(f"*{_MODEL}{SUFFIX}")):
        try:
            artifact, manifest = read_artifact(path)
        except ArtifactError as error:
            left_out.append(f"{path.name.removesuffix(SUFFIX)} is not in the site's list of models: {error}")
            continue
        if manifest.format == "native" and artifact.stem + _ENGINE in _names(manifest):
            size = manifest.model.preprocess.size
            name = f"probes-{size}.bin"
            if name not in probes:
                probes[name] = probe_pictures(size).tobytes()
            models.append(_model(artifact, manifest, name, probes[name]))
    return Models(models=tuple(models), probes=probes, left_out=tuple(left_out))


def _model(artifact: Path, manifest: Manifest, probes: str, pictures: bytes) -> SiteModel:
    """What the list says of an artifact whose files were looked at."""
    stem, about = artifact.stem, manifest_path(artifact)
    rests = {name.removeprefix(stem): name for name in _names(manifest)}
    engines = {match[1]: name for rest, name in sorted(rests.items()) if (match := _ENGINES.fullmatch(rest))}
    named = (artifact.name, *engines.values())
    proved = {entry.path: entry.sha256 for entry in manifest.files if entry.path in named}
    return SiteModel(
        name=stem,
        file=artifact.name,
        manifest=about.name,
        engines=engines,
        probes=probes,
        limit=limit_of(manifest, manifest.proof.engine, NO_OPTIONS),
        remedy=remedy(manifest),
        bytes=artifact.stat().st_size,
        sha256={**proved, about.name: file_sha256(about), probes: hashlib.sha256(pictures).hexdigest()},
    )


def _names(manifest: Manifest) -> set[str]:
    return {entry.path for entry in manifest.files}
