"""edgecvx-live: a camera, a file that edgecvx exported, and what it sees, live."""

from __future__ import annotations

__version__ = "0.1.0"
