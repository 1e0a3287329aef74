"""Results of jobs on the disk: a folder each, named by the job's key, published whole and its record last.

``OUT/jobs/KEY/`` holds a result's files and ``record.json``, which lists them with their hashes; a folder without a
record, or whose files are not those of its record, is no result. Whoever carries out a job holds a lock on
``OUT/jobs/.locks/KEY``, which ends with its process, however that ends; a second sweep in the same folder finds it
held, does something else, and takes the result when it is there.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from edgecvx.errors import EdgecvxError
from edgecvx.files import file_sha256, flush_folder, temporary_in, write_flushed
from edgecvx.manifest import FileEntry
from edgecvx.spec import from_json, to_json
from edgecvx.sweep.job import Job

RECORD = "record.json"
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a result says of itself."""

    schema_version: int = SCHEMA_VERSION
    key: str
    kind: str
    name: str
    seconds: float
    """How long it took, for estimates."""
    scale: Mapping[str, float]
    """What that grows with."""
    main: str
    """The file among them that the next job takes."""
    files: tuple[FileEntry, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A job that is done."""

    record: Record
    folder: Path

    @property
    def path(self) -> Path:
        """The file that the next job takes."""
        return self.folder / self.record.main


@dataclass(slots=True)
class Store:
    """The results below one folder."""

    out: Path
    _found: dict[str, Result] = field(default_factory=dict)
    """Those whose files were held to their hashes."""

    @property
    def jobs(self) -> Path:
        """Where the results are."""
        return self.out / "jobs"

    def find(self, key: str) -> Result | None:
        """The result of a job; None where there is none that is whole."""
        if key not in self._found and (result := self._read(key)) is not None:
            self._found[key] = result
        return self._found.get(key)

    def records(self) -> Iterator[Record]:
        """Of every result, also of other recipes and earlier versions: what estimates are made from."""
        for path in sorted(self.jobs.glob(f"*/{RECORD}")):
            with contextlib.suppress(OSError, ValueError, EdgecvxError):
                yield from_json(Record, json.loads(path.read_text(encoding="utf-8")))

    def _read(self, key: str) -> Result | None:
        folder = self.jobs / key
        try:
            record = from_json(Record, json.loads((folder / RECORD).read_text(encoding="utf-8")))
            whole = record.key == key and all(_is_whole(folder, entry) for entry in record.files)
        except (OSError, ValueError, RecursionError, EdgecvxError):
            return None
        return Result(record=record, folder=folder) if whole else None

    @contextlib.contextmanager
    def staging(self) -> Iterator[Path]:
        """A folder on the same disk for results that are not whole yet; removed in any case."""
        with temporary_in(self.jobs) as folder:
            yield folder

    def publish(self, job: Job, folder: Path, *, main: str, seconds: float, warnings: Iterable[str] = ()) -> Result:
        """Makes a folder the result of a job; a damaged one in its place is gone then, and a whole one stays.

        Args:
            job: What was done.
            folder: Below ``staging``, with the result's files in it and no others.
            main: The one the next job takes.
            seconds: How long it took.
            warnings: What its user should know.
        """
        files = tuple(
            FileEntry(path=p.relative_to(folder).as_posix(), sha256=file_sha256(p), bytes=p.stat().st_size)
            for p in sorted(folder.rglob("*"))
            if p.is_file()
        )
        record = Record(
            key=job.key,
            kind=job.kind,
            name=job.name,
            seconds=round(seconds, 3),
            scale=job.scale,
            main=main,
            files=files,
            warnings=tuple(warnings),
        )
        text = json.dumps(to_json(record), indent=1, ensure_ascii=False) + "\n"
        write_flushed(folder / RECORD, text.encode("utf-8", "backslashreplace"))
        final = self.jobs / job.key
        if (already := self._read(job.key)) is None:
            if final.exists():
                final.rename(folder.parent / f"{job.key}.damaged")
            try:
                folder.rename(final)
            except OSError:  # on a disk without locks somebody may have been faster
                already = self._read(job.key)
                if already is None:
                    raise
            else:
                flush_folder(self.jobs)
                already = Result(record=record, folder=final)
        self._found[job.key] = already
        return already

    def forget(self, keys: Iterable[str]) -> None:
        """Removes results, so that they are made anew."""
        with self.staging() as folder:
            for key in keys:
                self._found.pop(key, None)
                with contextlib.suppress(FileNotFoundError):
                    (self.jobs / key).rename(folder / key)

    def lock(self, key: str) -> Lock | None:
        """Takes a job; None where another process has it."""
        (self.jobs / ".locks").mkdir(parents=True, exist_ok=True)
        return Lock.take(self.jobs / ".locks" / key)

    def turn(self, *, alone: bool) -> Lock | None:
        """Takes the right to compute, which many may have, or to time a machine that computes, which one has alone.

        It is for all who are at sweeps in this folder; None where it cannot be had now.
        """
        (self.jobs / ".locks").mkdir(parents=True, exist_ok=True)
        return Lock.take(self.jobs / ".locks" / "computing", shared=not alone)

    def owner(self, key: str) -> str:
        """Who has a job, in words."""
        with contextlib.suppress(OSError):
            if text := (self.jobs / ".locks" / key).read_text(encoding="utf-8", errors="replace").strip():
                return text[:200]
        return "another process"


def _is_whole(folder: Path, entry: FileEntry) -> bool:
    path = folder / entry.path
    return path.stat().st_size == entry.bytes and file_sha256(path) == entry.sha256


@dataclass(frozen=True, slots=True)
class Lock:
    """A job that is ours; the system lets it go when this process ends, whatever ends it."""

    stream: IO[bytes] | None

    @classmethod
    def take(cls, path: Path, *, shared: bool = False) -> Lock | None:
        """The lock of a file, or None where another holds it against that; where there are no locks, everybody's."""
        if os.name != "posix":
            return cls(None)
        import fcntl

        stream = path.open("a+b")
        try:
            fcntl.flock(stream, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.close()
            return None
        except OSError:  # a network disk without locks
            stream.close()
            return cls(None)
        if not shared:
            stream.truncate(0)
            stream.write(f"process {os.getpid()} on {socket.gethostname()}\n".encode())
            stream.flush()
        return cls(stream)

    def release(self) -> None:
        """Lets it go."""
        if self.stream is not None:
            self.stream.close()


def move_into(folder: Path, names: Iterable[str], source: Path) -> None:
    """Moves files out of a folder that several results share."""
    folder.mkdir(parents=True)
    for name in names:
        (source / name).rename(folder / name)


def place_copy(source: Path, target: Path) -> None:
    """A file, or a folder of files, under another name as well: linked where the disk can, copied where not."""
    if source.is_dir():
        for inner in sorted(source.rglob("*")):
            if inner.is_file():
                place_copy(inner, target / inner.relative_to(source))
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
