"""Files on their way to workers: by hash, once for each worker, checked when they arrive.

A parcel is a file, or a file with those beside it that it needs. Contents lie on a worker under their SHA-256, each
parcel is a folder of links to them, so that ten artifacts of one checkpoint bring it once.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from edgecvx.cluster.calls import folder, here
from edgecvx.cluster.refusals import ClusterError, ParcelMissingError
from edgecvx.files import file_sha256

PIECE = 4 << 20
"""Bytes that are sent at once: what the scheduler holds of a file."""
MOST_BYTES = 8 << 30
"""Of all contents of one worker; what was not used for longest goes first, and is sent again if it is wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParcelFile:
    """One file."""

    path: str
    """Below the parcel's folder."""
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """What a call is given in place of a file, and ``fetch`` turns back into one."""

    name: str
    """The file or folder that ``fetch`` gives."""
    files: tuple[ParcelFile, ...]

    @property
    def key(self) -> str:
        """The name of its folder."""
        text = "\n".join(f"{file.path} {file.sha256}" for file in self.files)
        return hashlib.sha256(text.encode()).hexdigest()[:40]


def packed(path: Path, beside: Sequence[str] = ()) -> tuple[Parcel, dict[str, Path]]:
    """A parcel of a file or folder and of what lies beside it, and where each content lies here.

    Raises:
        ClusterError: It cannot be read.
    """
    names = sorted(name for top in (path.name, *beside) for name in _below(path.parent, top))
    files, places = [], {}
    try:
        for name in names:
            place = path.parent / name
            sha256 = file_sha256(place)
            files.append(ParcelFile(path=name, sha256=sha256, bytes=place.stat().st_size))
            places[sha256] = place
    except OSError as error:
        raise ClusterError(f"{path} cannot be sent to the workers: {error.strerror}") from None
    return Parcel(name=path.name, files=tuple(files)), places


def _below(root: Path, name: str) -> Iterator[str]:
    if not (root / name).is_dir():
        yield name
        return
    for path in (root / name).rglob("*"):
        if path.is_file():
            yield path.relative_to(root).as_posix()


def pieces(path: Path) -> Iterator[tuple[int, bytes]]:
    """A file's content, with the place of each piece."""
    with path.open("rb") as stream:
        place = 0
        while block := stream.read(PIECE):
            yield place, block
            place += len(block)


# --- on a worker ----------------------------------------------------------------------------------------------------


def fetch(parcel: Parcel) -> Path:
    """The file or folder of a parcel, on the worker that this process is.

    Raises:
        ParcelMissingError: It was not sent here, or was damaged here.
    """
    home = folder() / "parcels" / parcel.key
    wanted = home / parcel.name
    if not home.is_dir():
        _unpack(parcel, home)
    for file in parcel.files:
        with contextlib.suppress(OSError):
            os.utime(_content(folder(), file.sha256))
        place = home / file.path
        if not place.is_file() or place.stat().st_size != file.bytes:
            shutil.rmtree(home, ignore_errors=True)
            raise ParcelMissingError(here(), f"{file.path} was damaged")
    return wanted


def lacking(hashes: Sequence[str], root: Path) -> list[str]:
    """Those contents that a worker does not hold whole."""
    return [sha256 for sha256 in hashes if not _content(root, sha256).is_file()]


def receive(sha256: str, place: int, block: bytes, size: int, root: Path) -> None:
    """Takes one piece; with the last one the content is checked, and only then it is there.

    Raises:
        ClusterError: What arrived is something else.
        OSError: The disk does not take it.
    """
    final = _content(root, sha256)
    part = final.with_suffix(".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    if place == 0:
        _make_room(root, size)
    with part.open("r+b" if place else "wb") as stream:
        stream.seek(place)
        stream.write(block)
    if place + len(block) < size:
        return
    if file_sha256(part) != sha256:
        part.unlink()
        raise ClusterError(f"a file arrived damaged: SHA-256 is not {sha256[:12]}…")
    part.replace(final)


def _unpack(parcel: Parcel, home: Path) -> None:
    for file in parcel.files:
        place = PurePosixPath(file.path)
        if place.is_absolute() or ".." in place.parts:
            raise ClusterError(f"{file.path} leads out of its parcel")
        if lacking([file.sha256], folder()) or file_sha256(_content(folder(), file.sha256)) != file.sha256:
            _content(folder(), file.sha256).unlink(missing_ok=True)
            raise ParcelMissingError(here(), f"{file.path} is not here")
    building = home.with_suffix(".building")
    shutil.rmtree(building, ignore_errors=True)
    for file in parcel.files:
        (building / file.path).parent.mkdir(parents=True, exist_ok=True)
        os.link(_content(folder(), file.sha256), building / file.path)
    building.replace(home)


def _content(root: Path, sha256: str) -> Path:
    return root / "contents" / sha256


def _make_room(root: Path, size: int) -> None:
    """Drops what was not used for longest; links of parcels keep what is open alive until they go too."""
    contents = sorted((root / "contents").iterdir(), key=lambda path: path.stat().st_mtime)
    total = sum(path.stat().st_size for path in contents) + size
    if total <= MOST_BYTES:
        return
    shutil.rmtree(root / "parcels", ignore_errors=True)
    for path in contents:
        if total <= MOST_BYTES:
            return
        total -= path.stat().st_size
        path.unlink()
