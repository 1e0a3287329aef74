"""The manifest beside every artifact, and how both reach the disk.

A manifest says what a file is, where it came from and how it was proved. Files are written into a temporary folder on
the same disk, flushed, and renamed into place, the manifest last: so a manifest that exists describes files that are
whole, and an interrupted run leaves what was there before.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from edgecvx.board.proof import SAMPLES, Expected, Proof
from edgecvx.errors import ArtifactError, EdgecvxError
from edgecvx.spec import Calibration, InputKind, ModelSpec, Precision, Task, TensorSpec, from_json, to_json

SCHEMA_VERSION = 2
SUFFIX = ".edgecvx.json"
_TEMPORARY = ".edgecvx-writing-"


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
    version = data.get("schema_version") if isinstance(data, dict) else None
    if version != SCHEMA_VERSION:
        raise ArtifactError(
            f"{path.name} has manifest version {version!r}, this edgecvx reads version {SCHEMA_VERSION}: "
            "export the model again, or use the edgecvx that wrote it"
        )
    try:
        manifest = from_json(Manifest, data, where=path.name)
    except ArtifactError:
        raise
    except EdgecvxError as error:
        raise ArtifactError(f"{error}; the manifest was changed by hand or by another tool: export again") from error
    if manifest.artifact_name != artifact.name:
        # The hashes are of another file: with both in one folder, this one would be opened and that one verified.
        raise ArtifactError(
            f"{path.name} describes {manifest.artifact_name}, not {artifact.name}: "
            "an artifact and its manifest keep the names they were written under"
        )
    return manifest


def locate(artifact: Path) -> tuple[Path, Path]:
    """The artifact and its manifest, given either; both must exist."""
    if artifact.name.endswith(SUFFIX):
        artifact = artifact.with_name(artifact.name.removesuffix(SUFFIX))
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


def verify_files(manifest: Manifest, folder: Path) -> None:
    """Checks size and SHA-256 of every file of an artifact.

    Raises:
        ArtifactError: A file is missing, is a link, or is not the one that was proved.
    """
    for entry in manifest.files:
        path = folder / entry.path
        if path.is_symlink():
            raise ArtifactError(f"{entry.path} is a link: copy the file itself beside its manifest")
        if not path.is_file():
            raise ArtifactError(f"{entry.path} is missing beside its manifest; export the model again")
        size = path.stat().st_size
        if size != entry.bytes or file_sha256(path) != entry.sha256:
            what = f"has {size} bytes instead of {entry.bytes}" if size != entry.bytes else "has another SHA-256"
            raise ArtifactError(f"{entry.path} {what}: it is not the file that was checked at export; export it again")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def entries_of(stem: str, files: Mapping[str, bytes]) -> tuple[FileEntry, ...]:
    """The manifest's list of files for the content of a lowering."""
    return tuple(
        FileEntry(path=stem + suffix, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
        for suffix, content in files.items()
    )


@contextlib.contextmanager
def staged(folder: Path, stem: str, files: Mapping[str, bytes]) -> Iterator[Path]:
    """Writes an artifact's files into a temporary folder beside their later place; removes it in any case.

    Between staging and publishing the files can be opened and checked as they will lie on the disk.
    """
    with _temporary_in(folder) as temporary:
        for suffix, content in files.items():
            _write_flushed(temporary / (stem + suffix), content)
        yield temporary


def publish(temporary: Path, folder: Path, manifest: Manifest, artifact_name: str) -> Path:
    """Moves a staged artifact into place, its manifest last; returns the artifact's path.

    The renames themselves are not interrupted by Ctrl-C or a polite kill: they take microseconds, and the signal
    is delivered after them.
    """
    text = json.dumps(to_json(manifest), indent=2, ensure_ascii=False) + "\n"
    name = artifact_name + SUFFIX
    _write_flushed(temporary / name, text.encode())
    tops = sorted({PurePosixPath(entry.path).parts[0] for entry in manifest.files})
    with _locked(folder), _uninterrupted():
        for top in (*tops, name):
            final = folder / top
            if final.is_dir() and not final.is_symlink():
                final.rename(temporary / f"{top}.old")
            (temporary / top).replace(final)
    _flush_folder(folder)
    return folder / artifact_name


def write_atomically(path: Path, content: bytes) -> None:
    """Writes one file so that it is either the old one or the new one, never a part."""
    # A file in a folder of its own has the mode every new file gets; one of mkstemp's could be read by its owner alone.
    with _temporary_in(path.parent) as temporary:
        _write_flushed(temporary / path.name, content)
        (temporary / path.name).replace(path)


def _write_flushed(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _flush_folder(folder: Path) -> None:
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def _temporary_in(folder: Path) -> Iterator[Path]:
    """A temporary folder in ``folder``, removed in any case, by the next export at the latest.

    A lock on it says that its process lives. A process number would say so only on this machine, and a folder can be
    shared between machines and containers.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):  # between making a folder and claiming it, nobody takes it for abandoned
        for path in folder.glob(f"{_TEMPORARY}*"):
            if path.is_dir() and not path.is_symlink() and _is_abandoned(path):
                shutil.rmtree(path, ignore_errors=True)
        temporary = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=folder))
        claim = contextlib.ExitStack()
        claim.enter_context(_locked(temporary))
    try:
        with claim:
            yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _is_abandoned(path: Path) -> bool:
    """Whether no process holds this folder; without locks nobody can tell, and it stays."""
    if os.name != "posix":
        return False
    import fcntl

    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Holds a folder alone, so that no artifact is put together from two exports; let go when the process ends."""
    if os.name != "posix":
        yield
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network disks have no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Holds back what ends the program in good order, where the platform and the thread allow it."""
    if not hasattr(signal, "pthread_sigmask") or threading.current_thread() is not threading.main_thread():
        yield
        return
    held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
