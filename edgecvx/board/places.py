"""Where things are kept that nobody asked for by name."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path


def cache_folder() -> Path:
    """Where the platform keeps what can be computed again; ``EDGECVX_CACHE`` names another place."""
    if chosen := os.environ.get("EDGECVX_CACHE"):
        return Path(chosen)
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        # The XDG specification wants a relative path ignored.
        wanted = Path(os.environ.get("XDG_CACHE_HOME", ""))
        base = wanted if wanted.is_absolute() else Path.home() / ".cache"
    return base / "edgecvx"


def read_trusted(path: Path) -> bytes | None:
    """A file's bytes; None if it is somebody else's, or others may write it: what a cache keeps may be code."""
    with path.open("rb") as stream:
        if os.name == "posix":
            facts = os.fstat(stream.fileno())  # of the very file that is read
            if is_anothers(facts) or others_may_write(facts):
                return None
        return stream.read()


def is_anothers(facts: os.stat_result) -> bool:
    """Whether a file belongs to another user than this one and root; where files have owners, on POSIX."""
    return facts.st_uid not in (0, os.geteuid())


def others_may_write(facts: os.stat_result) -> bool:
    """Whether the file's group or everybody may write it."""
    return bool(facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
