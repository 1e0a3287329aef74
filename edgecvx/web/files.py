"""The static files that ship in every site, as data: whoever writes or serves a site asks here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

SITE = Path(__file__).parent / "site"
"""Where they lie, each under the name it has in a site."""


def site_files(folder: Path = SITE) -> Mapping[str, bytes]:
    """Every static file of a site: its name relative to the site, with ``/`` on every system -> content, by name.

    What begins with a dot is none of them: an editor or a file manager left it there.

    Args:
        folder: Where they lie.
    """
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    kept = (name for name in paths if not any(part.startswith(".") for part in name.split("/")))
    return {name: paths[name].read_bytes() for name in sorted(kept)}
