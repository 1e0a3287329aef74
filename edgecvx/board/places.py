"""Where things are kept that nobody asked for by name."""

from __future__ import annotations

import os
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
