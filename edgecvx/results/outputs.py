"""Where results are to be written: what could not be is refused before anything is measured for it."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from edgecvx.errors import UsageError, missing_package


def check_outputs(**places: Path | None) -> None:
    """Refuses what could not be written.

    Args:
        places: Option -> its file: ``json``, which alone may be ``-``, ``html``, ``markdown``, ``csv``.

    Raises:
        UsageError: A folder, a place this user may not write to, or one file for two reports.
        RuntimeUnavailableError: A page is wanted, and what makes pages is not installed.
    """
    named = {f"--{option}": path for option, path in places.items() if path is not None}
    if str(named.get("--json")) == "-":
        del named["--json"]
    taken: dict[str, str] = {}
    for option, path in named.items():
        if str(path) == "-":
            raise UsageError(f"{option} - does not work: only JSON goes to standard output; name a file")
        if path.is_dir():
            raise UsageError(f"{path} is a folder: name a file")
        nearest = next(folder for folder in path.absolute().parents if folder.exists())
        if not nearest.is_dir() or not os.access(nearest, os.W_OK):
            raise UsageError(f"{path} cannot be written: {nearest} is no folder this user may write to")
        first = taken.setdefault(os.path.realpath(path), option)
        if first != option:
            raise UsageError(f"{first} and {option} name one file for two reports: {path}")
    if "--html" in named and importlib.util.find_spec("jinja2") is None:
        raise missing_package("Jinja2, which writes HTML reports,", "report")
