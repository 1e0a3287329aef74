"""The manifest beside every artifact: what a file is, where it came from and how it was proved."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from edgecvx.board.proof import SAMPLES, Expected, Proof
from edgecvx.errors import ArtifactError, EdgecvxError
from edgecvx.spec import Calibration, InputKind, ModelSpec, OutputKind, Precision, Task, TensorSpec, from_json

SCHEMA_VERSION = 2
SUFFIX = ".edgecvx.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """One file of an artifact, by its path relative to the manifest."""

    path: str
    sha256: str
    bytes: int

    def __post_init__(self) -> None:
        pure = PurePosixPath(self.path)
        if pure.is_absolute() or ".." in pure.parts or not pure.parts or "\\" in self.path:
            raise ArtifactError(f"the manifest names {self.path!r}, which lies outside its folder")


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfCheck:
    """How far the written file was from the reference on the probe pictures, in its own runtime."""

    against: Literal["fp32", "plan"] = "fp32"
    """The reference: FP32 PyTorch, or for a calibrated INT8 file the quantized graph, computed step by step: a file is
    to do what its plan says. What the plan costs in accuracy is told by ``Quantized.cosine`` and ``validate``."""

    runtime: str
    probes: int
    max_error: float
    """Largest difference, as a fraction of the range of the reference's output."""
    limit: float
    cosine: float
    """The smallest cosine between the outputs for one picture."""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantized:
    """How an INT8 file was quantized."""

    engine: str
    """Who chose the scales: ``edgecvx``, ``nncf``, or the runtime, anew for each picture."""
    scheme: Mapping[str, str]
    """What is INT8 and how, in words."""
    fp32_bytes: int
    """What the same weights take in float32."""
    plan_sha256: str | None = None
    calibration: Calibration | None = None
    agreement: float | None = None
    """The largest ratio between the ranges that two halves of the calibration pictures gave; 1 is perfect."""
    cosine: float | None = None
    """The smallest cosine between the file's output and FP32 PyTorch's, on a few of the calibration pictures."""
    sqnr: float | None = None
    """Signal over noise in dB of the file's outputs, against FP32's, on the same."""
    int8_macs: float | None = None
    """The part of the network's multiply-accumulates that is INT8; why the others are not is in ``kept_float``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Everything there is to know about an artifact without opening it."""

    schema_version: int = SCHEMA_VERSION
    model: ModelSpec
    task: Task
    target: str
    format: str
    runtime: str
    precision: Precision
    input_kind: InputKind
    input: TensorSpec
    outputs: tuple[TensorSpec, ...]
    folds: tuple[str, ...]
    passes: tuple[str, ...]
    kept_float: Mapping[str, str]
    """Op -> why it stays in a higher precision than the file's."""
    tools: Mapping[str, str]
    self_check: SelfCheck
    proof: Proof
    """Where that was, and what the file answered there: elsewhere it is asked again."""
    quantized: Quantized | None = None
    """None for a file of floats."""
    files: tuple[FileEntry, ...]
    """The first is the one a runtime opens, or lies in the folder it opens for a package."""

    def __post_init__(self) -> None:
        if not self.files or not self.outputs:
            raise ArtifactError("the manifest names no file or no output: export the model again")
        if self.precision.quantized is (self.quantized is None):
            raise ArtifactError(
                f"the manifest of an {self.precision.value} file does not say so: export the model again"
            )
        if self.task is Task.CLASSIFY and self.outputs[0].shape[1:] != (self.model.num_classes,):
            raise ArtifactError(
                f"the manifest names {self.model.num_classes} classes and an output of shape "
                f"{list(self.outputs[0].shape)}: export the model again"
            )
        if [output.name for output in self.proof.outputs] != [spec.name for spec in self.outputs]:
            raise ArtifactError("the manifest was proved with other outputs than it names: export the model again")
        for spec, output in zip(self.outputs, self.proof.outputs, strict=True):
            _check_expected(output, probes=self.self_check.probes, values=math.prod(spec.shape[1:]))

    @property
    def returns_probabilities(self) -> bool:
        """Whether a classifier's file ends in a softmax."""
        return self.task is Task.CLASSIFY and self.outputs[0].name == OutputKind.PROBABILITIES.value

    @property
    def artifact_name(self) -> str:
        """The name of the file or folder a runtime opens."""
        return PurePosixPath(self.files[0].path).parts[0]


def _check_expected(output: Expected, *, probes: int, values: int) -> None:
    """Refuses what no proof writes: more or fewer values than there are, and numbers nothing can be compared with."""
    if [len(row) for row in output.values] != [min(values, SAMPLES)] * probes:
        raise ArtifactError(
            f"the manifest's proof holds other numbers of values of {output.name!r} than {min(values, SAMPLES)} for "
            f"each of {probes} pictures: export the model again"
        )
    numbers = (output.low, output.high, output.noise, *(value for row in output.values for value in row))
    if not all(map(math.isfinite, numbers)) or output.low > output.high or output.noise < 0:
        raise ArtifactError(
            f"the manifest's proof holds numbers for {output.name!r} that no file computes: export the model again"
        )


def manifest_path(artifact: Path) -> Path:
    """Where the manifest of an artifact lies: its full name and ``.edgecvx.json``."""
    return artifact.with_name(artifact.name + SUFFIX)


def read_manifest(artifact: Path) -> Manifest:
    """The manifest of an artifact.

    Args:
        artifact: The file or folder a runtime opens, or the manifest itself.

    Raises:
        ArtifactError: Artifact or manifest is missing, damaged, or of another schema version.
    """
    artifact, path = locate(artifact)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # also bytes that are no UTF-8, and numbers of thousands of digits
        raise ArtifactError(f"{path.name} is not valid JSON; export the model again") from error
    manifest = manifest_of(data, path.name)
    if manifest.artifact_name != artifact.name:
        # The hashes are of another file: with both in one folder, this one would be opened and that one verified.
        raise ArtifactError(
            f"{path.name} describes {manifest.artifact_name}, not {artifact.name}: "
            "an artifact and its manifest keep the names they were written under"
        )
    return manifest


def manifest_of(data: object, name: str) -> Manifest:
    """The manifest that a JSON value holds.

    Args:
        data: What ``json.loads`` gave.
        name: Of where it was read, for errors.

    Raises:
        ArtifactError: It is none, or of another schema version.
    """
    version = data.get("schema_version") if isinstance(data, dict) else None
    if version != SCHEMA_VERSION:
        raise ArtifactError(
            f"{name} has manifest version {version!r}, this edgecvx reads version {SCHEMA_VERSION}: "
            "export the model again, or use the edgecvx that wrote it"
        )
    try:
        return from_json(Manifest, data, where=name)
    except ArtifactError:
        raise
    except EdgecvxError as error:
        raise ArtifactError(f"{error}; the manifest was changed by hand or by another tool: export again") from error


def without_manifests(paths: Sequence[str | Path]) -> list[Path]:
    """The paths but manifests whose artifact is among them, as where a shell's ``*`` names both."""
    named = [Path(path) for path in paths]
    return [path for path in named if described(path) == path or described(path) not in named]


def described(path: Path) -> Path:
    """The artifact that a manifest is of; any other path itself."""
    name = path.name.removesuffix(SUFFIX)
    return path.with_name(name) if name else path


def locate(artifact: Path) -> tuple[Path, Path]:
    """The artifact and its manifest, given either; both must exist."""
    artifact = described(artifact)
    if not artifact.name:  # the working directory, or the root
        raise ArtifactError(f"{artifact} is a folder: name a file in it that edgecvx export wrote")
    path = manifest_path(artifact)
    if not artifact.exists():
        raise ArtifactError(f"there is no file {artifact}")
    if not path.is_file():
        raise ArtifactError(
            f"{artifact.name} has no manifest: {path.name} must lie beside it (edgecvx export writes both)"
        )
    return artifact, path
