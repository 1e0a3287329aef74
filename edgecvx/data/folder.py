"""The pictures of a folder, found safely: what is left out is named and counted, and nothing crashes.

The rules, in the order in which they are applied to each entry:

1. Names that begin with a dot are left out.
2. A link to a folder is never followed, so there are no loops. A link to a file counts as that file if the file lies
   inside the listed folder, and is left out otherwise.
3. What is neither a file nor a folder (a pipe, a socket, a device) is never opened.
4. A file is a picture if Pillow can read its header, whatever its name. Whether the pixels behind it are sound shows
   when it is decoded.

The first folder level gives the class names, as in every image folder. The order is that of the names' code points:
the same on each file system.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgecvx.data.preprocess import open_picture
from edgecvx.errors import EdgecvxError, ImageError, UsageError

UNEXPECTED_NAMED = 3
"""In a warning; further ones are counted."""
_EXPECTED = ("hidden", "a link to a folder")
_SHUT = "unreadable folder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One picture file."""

    path: Path
    name: str
    """The path below the listed folder, with forward slashes on every system."""
    folder: str | None
    """The first level of ``name``: the class, in a folder sorted by classes; None right under the listed folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """One entry that was left out."""

    name: str
    reason: str


def unexpected(skipped: Sequence[Skipped]) -> list[Skipped]:
    """What was left out without what nobody expects to be read; whole folders first, for many pictures are in one."""
    found = [s for s in skipped if s.reason not in _EXPECTED]
    return sorted(found, key=lambda s: not s.reason.startswith(_SHUT))


def describe(skipped: Sequence[Skipped]) -> str:
    """``'a.jpg' (the file is empty), 'b.jpg' (unreadable) and 4 more``."""
    named = ", ".join(f"{s.name!r} ({s.reason})" for s in skipped[:UNEXPECTED_NAMED])
    more = len(skipped) - UNEXPECTED_NAMED
    return f"{named} and {more} more" if more > 0 else named


def reasons_of(skipped: Iterable[Skipped]) -> dict[str, int]:
    """How many entries were left out for each reason, most frequent first."""
    return dict(sorted(Counter(s.reason for s in skipped).items(), key=lambda item: (-item[1], item[0])))


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What a folder holds."""

    pictures: tuple[Picture, ...]
    skipped: tuple[Skipped, ...]

    @property
    def folders(self) -> tuple[str, ...]:
        """The first-level folders that hold pictures, sorted: the classes of an image folder."""
        return tuple(sorted({p.folder for p in self.pictures if p.folder is not None}))


def named_folder(source: str | Path) -> Path:
    """The folder of this name.

    Raises:
        UsageError: The name is empty, as that of a variable nobody set: ``Path("")`` would be the working directory.
    """
    if not str(source):
        raise UsageError("an empty path names no folder of pictures: give a folder, or . for this one")
    return Path(source)


def list_pictures(folder: Path) -> Listing:
    """Lists a folder and everything below it by the rules above.

    Raises:
        EdgecvxError: ``folder`` itself does not exist, is no folder, or may not be listed.
    """
    try:
        root = folder.resolve(strict=True)
        os.scandir(root).close()
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
        reason = getattr(error, "strerror", None) or "a loop of links"
        raise EdgecvxError(f"{folder}: cannot be listed as a folder of pictures ({reason})") from None
    pictures, skipped = [], []
    for path, problem in _files(root):
        # A name that is not UTF-8 is legal on Linux, and would break the first report it is written to.
        name = os.fsencode(path.relative_to(root).as_posix()).decode("utf-8", "backslashreplace")
        reason = problem or _why_no_picture(path)
        if reason is not None:
            skipped.append(Skipped(name=name, reason=reason))
        else:
            pictures.append(Picture(path=path, name=name, folder=name.split("/")[0] if "/" in name else None))
    return Listing(
        pictures=tuple(sorted(pictures, key=lambda p: p.name)),
        skipped=tuple(sorted(skipped, key=lambda s: s.name)),
    )


def _files(root: Path) -> Iterator[tuple[Path, str | None]]:
    """Every entry below ``root`` that is no plain folder, with the reason to leave it out if there is one."""
    pending = [root]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(folder) as entries:
                paths = [Path(entry.path) for entry in entries]
        except OSError as error:
            yield folder, f"{_SHUT} ({error.strerror})"
            continue
        for path in paths:
            problem, is_folder = _judge(path, root)
            if is_folder and problem is None:
                pending.append(path)
            else:
                yield path, problem


def _judge(path: Path, root: Path) -> tuple[str | None, bool]:
    """Why an entry is left out by its kind alone, and whether it is a folder."""
    if path.name.startswith("."):
        return "hidden", False
    try:
        target = path.resolve(strict=True)
        mode = target.stat().st_mode
    except (OSError, RuntimeError):
        return ("a link that leads nowhere" if path.is_symlink() else "unreadable"), False
    if path.is_symlink() and stat.S_ISDIR(mode):
        return "a link to a folder", False
    if not target.is_relative_to(root):
        return "a link to a file outside the folder", False
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        return "not a file", False
    return None, stat.S_ISDIR(mode)


def _why_no_picture(path: Path) -> str | None:
    try:
        open_picture(path).close()
    except ImageError as error:
        return str(error).removeprefix(f"{path}: ")
    return None
