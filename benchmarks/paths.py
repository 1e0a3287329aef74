"""Where the benchmarks keep what they make, and how a file gets there."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
OUT = HERE / "out"


@contextlib.contextmanager
def written(path: Path) -> Iterator[Path]:
    """A file that is there whole or not at all: what is written to the path given here is moved in the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        yield Path(folder) / path.name
        for made in sorted(Path(folder).iterdir(), key=lambda made: made.name == path.name):  # the file itself last
            made.replace(path.parent / made.name)
