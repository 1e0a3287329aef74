"""How files reach the disk, and whether those of an artifact are the ones that did.

They are written into a temporary folder on the same disk, flushed, and renamed into place, an artifact's manifest last:
so a manifest that exists describes files that are whole, and an interrupted run leaves what was there before.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from edgecvx.errors import ArtifactError, UsageError
from edgecvx.manifest import SUFFIX, FileEntry, Manifest, locate, read_manifest
from edgecvx.spec import to_json

_TEMPORARY = ".edgecvx-writing-"


def read_artifact(path: str | Path) -> tuple[Path, Manifest]:
    """Finds an artifact by its own path or its manifest's, and holds its files to its manifest.

    Raises:
        ArtifactError: The artifact or its manifest is missing or damaged.
    """
    artifact, _ = locate(Path(path))
    manifest = read_manifest(artifact)
    verify_files(manifest, artifact.parent)
    return artifact, manifest


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
            raise ArtifactError(f"{entry.path} is missing beside its manifest: copy it too, or export the model again")
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


def read_label_text(path: Path, most: int, what: str) -> str:
    """The text of a file in which somebody names classes.

    Args:
        path: The file.
        most: Bytes it may have.
        what: What it lists, in words.

    Raises:
        UsageError: It cannot be read, is too large, or no text.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(most + 1)  # not by its size: a pipe or a device has none
        if len(content) > most:
            raise UsageError(f"{path.name} is too large for a list of {what}")
        return content.decode("utf-8-sig")  # editors on Windows put a mark at the start
    except UnicodeDecodeError:
        raise UsageError(f"{path.name} is not UTF-8 text") from None
    except OSError as error:
        raise UsageError(f"cannot read the labels {path.name}: {error.strerror}") from None


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
    with temporary_in(folder) as temporary:
        for suffix, content in files.items():
            write_flushed(temporary / (stem + suffix), content)
            (temporary / (stem + suffix)).chmod(0o644)  # whatever the umask: it may be code, which others could write
        yield temporary


def publish(temporary: Path, folder: Path, manifest: Manifest, artifact_name: str) -> Path:
    """Moves a staged artifact into place, its manifest last; returns the artifact's path.

    The renames themselves are not interrupted by Ctrl-C or a polite kill: they take microseconds, and the signal
    is delivered after them.
    """
    text = json.dumps(to_json(manifest), indent=2, ensure_ascii=False) + "\n"
    name = artifact_name + SUFFIX
    write_flushed(temporary / name, text.encode())
    tops = sorted({PurePosixPath(entry.path).parts[0] for entry in manifest.files})
    with _locked(folder), _uninterrupted():
        for top in (*tops, name):
            final = folder / top
            if final.is_dir() and not final.is_symlink():
                final.rename(temporary / f"{top}.old")
            (temporary / top).replace(final)
    flush_folder(folder)
    return folder / artifact_name


def publish_together(folder: Path, describe: Callable[[], Mapping[str, bytes]]) -> None:
    """Writes files that describe a whole folder, one after the other in their order, each whole or not at all.

    Two that do so take turns: what the second writes describes what the first one left.

    Args:
        folder: Where they go.
        describe: Looks at the folder; name relative to it -> content.
    """
    with temporary_in(folder) as temporary, _locked(folder):
        files = describe()
        for name, content in files.items():
            write_flushed(temporary / name, content)
        with _uninterrupted():
            for name in files:
                (folder / name).parent.mkdir(exist_ok=True)
                (temporary / name).replace(folder / name)
    flush_folder(folder)


def write_atomically(path: Path, content: bytes) -> None:
    """Writes one file so that it is either the old one or the new one, never a part."""
    # A file in a folder of its own has the mode every new file gets; one of mkstemp's could be read by its owner alone.
    with temporary_in(path.parent) as temporary:
        write_flushed(temporary / path.name, content)
        (temporary / path.name).replace(path)


def write_flushed(path: Path, content: bytes) -> None:
    """Writes a file, its folder too, and returns when it is on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def flush_folder(folder: Path) -> None:
    """Returns when what was renamed in a folder is on the disk."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def temporary_in(folder: Path) -> Iterator[Path]:
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
