"""What a validation remembers, so that it can go on where it was stopped and never computes the same row twice.

A store is a folder of rows of one fixed width, each under the hash of the picture it was computed from. Every process
appends to a segment file of its own: two validations at once need no lock, and a process that is killed leaves at most
one torn row at the end of a file. Each row carries a checksum; a row that is torn or was damaged on the disk is as good
as absent, and is computed again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from edgecvx.board.places import cache_folder

Array = NDArray[Any]

MAX_BYTES = 4 << 30
"""Of all stores together. ImageNet's 50,000 pictures take 200 MB of reference logits."""
_KEY_BYTES = 32
_CHECK_BYTES = 4
_ROWS = "rows"
_SAFE_SECONDS = 24 * 3600
"""A store that was used more recently is never removed: somebody may be using it."""


def picture_key(*parts: object) -> bytes:
    """The key of a row: a hash of everything about the picture that the row depends on."""
    return hashlib.sha256("\n".join(map(str, parts)).encode()).digest()


class RowStore:
    """Rows on the disk, by key.

    Args:
        root: The cache folder; the store is a folder below it.
        what: Everything the rows depend on beside the picture, as plain JSON values. It names the store, and lies in it
            as ``what.json`` for people who look.
        dtype: Of one row, of fixed size.
    """

    def __init__(self, root: Path, what: Mapping[str, Any], dtype: np.dtype[Any]) -> None:
        self._record = np.dtype([("key", f"V{_KEY_BYTES}"), ("row", dtype), ("check", "<u4")])
        text = _text(what, dtype)
        self._folder = _store_folder(root, text)
        self._folder.mkdir(parents=True, exist_ok=True)
        if not (self._folder / "what.json").exists():
            (self._folder / "what.json").write_text(text, encoding="utf-8")
        os.utime(self._folder)
        self._streams: list[IO[bytes]] = []
        self._places: dict[bytes, tuple[IO[bytes], int]] = {}
        self._own: IO[bytes] | None = None
        for path in sorted(self._folder.glob("*.rows")):
            self._load(path)

    def __contains__(self, key: bytes) -> bool:
        return key in self._places

    def get(self, keys: Sequence[bytes]) -> Array:
        """The rows of these keys, which must all be there."""
        records = bytearray()
        for key in keys:
            stream, place = self._places[key]
            stream.seek(place)
            records += stream.read(self._record.itemsize)
        rows: Array = np.frombuffer(bytes(records), self._record)["row"]
        return rows

    def add(self, keys: Sequence[bytes], rows: Array) -> None:
        """Appends rows; when this returns, they outlive this process."""
        records = np.zeros(len(keys), self._record)
        records["key"] = np.frombuffer(b"".join(keys), f"V{_KEY_BYTES}")
        records["row"] = rows
        for i in range(len(records)):
            records["check"][i] = zlib.crc32(records[i].tobytes()[:-_CHECK_BYTES])
        if self._own is None:
            # By time, so that a row that was computed twice is taken from the newest segment.
            path = self._folder / f"{time.time_ns():020d}-{secrets.token_hex(8)}.rows"
            self._own = path.open("x+b", buffering=0)
            self._streams.append(self._own)
        place = self._own.seek(0, os.SEEK_END)
        content = memoryview(records.tobytes())
        while content:
            content = content[self._own.write(content) :]
        for i, key in enumerate(keys):
            self._places[key] = (self._own, place + i * self._record.itemsize)

    def close(self) -> None:
        """Closes the files; the rows stay."""
        for stream in self._streams:
            stream.close()

    def __enter__(self) -> RowStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _load(self, path: Path) -> None:
        """Notes where the whole rows of a segment lie; whatever else is in it is left alone."""
        stream = path.open("rb")
        self._streams.append(stream)
        size = self._record.itemsize
        place = 0
        while len(record := stream.read(size)) == size:
            if zlib.crc32(record[:-_CHECK_BYTES]) == int.from_bytes(record[-_CHECK_BYTES:], "little"):
                self._places[record[:_KEY_BYTES]] = (stream, place)
            place += size


def _text(what: Mapping[str, Any], dtype: np.dtype[Any]) -> str:
    return json.dumps({**what, "dtype": str(dtype)}, sort_keys=True, indent=1)


def _store_folder(root: Path, text: str) -> Path:
    return root / _ROWS / hashlib.sha256(text.encode()).hexdigest()[:40]


@contextlib.contextmanager
def claimed(
    root: Path, stores: Sequence[tuple[Mapping[str, Any], np.dtype[Any]]], wait: Callable[[], None]
) -> Iterator[None]:
    """Holds stores alone, among those that ask: a second validation of the same things waits, and then finds the rows.

    Two that share a machine do each a part and lose little; two that share a cluster would have it do all of it twice.

    Args:
        root: The cache folder.
        stores: What their rows depend on, and the types of these.
        wait: Called each time that somebody else was found to hold one.
    """
    folders = sorted({_store_folder(root, _text(what, dtype)) for what, dtype in stores})
    with contextlib.ExitStack() as stack:
        for folder in folders:  # in one order for all, so that no two wait for each other
            folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, handle)
            while not _locked(handle):
                wait()
        yield


def _locked(handle: int) -> bool:
    """Whether a folder is ours now; the system lets go of it when the process ends, however that ends."""
    if os.name != "posix":
        return True
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # some network disks have no locks
        return True
    return True


@contextlib.contextmanager
def opened_cache(folder: Path | None) -> Iterator[tuple[Path, str | None]]:
    """The cache folder, made and swept; where it cannot be written a temporary one, and a sentence that says so."""
    root = cache_folder() if folder is None else folder
    try:
        (root / _ROWS).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=root).close()
    except OSError as error:
        note = (
            f"the cache {root} cannot be written ({error.strerror}): this run cannot be resumed; EDGECVX_CACHE names "
            "another folder"
        )
        with tempfile.TemporaryDirectory(prefix="edgecvx-") as temporary:
            yield Path(temporary), note
        return
    _sweep(root / _ROWS)
    yield root, None


def _sweep(folder: Path) -> None:
    """Removes the stores that were not used for longest until the rest is small enough."""
    stores = []
    for path in folder.iterdir():
        with contextlib.suppress(OSError):  # another process may be sweeping too
            stores.append((path.stat().st_mtime, sum(f.stat().st_size for f in path.iterdir()), path))
    total = sum(size for _, size, _ in stores)
    for used, size, path in sorted(stores):
        if total <= MAX_BYTES or time.time() - used < _SAFE_SECONDS:
            return
        shutil.rmtree(path, ignore_errors=True)
        total -= size
