"""Builds the native engine for every platform: its files, their sizes and SHA-256, and how long each took.

Warnings are errors here, and are not where a user exports.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from edgecvx.errors import EdgecvxError
from edgecvx.native.build import WARNINGS, build, libraries
from edgecvx.native.platforms import PLATFORMS, get_platform
from edgecvx.native.sources import ENGINE


def main(words: Sequence[str] | None = None) -> int:
    """Writes the files; the exit code says whether every platform was built."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("platforms", nargs="*", metavar="PLATFORM", help=f"of {', '.join(PLATFORMS)}; all by default")
    parser.add_argument("--out", type=Path, default=Path("build/native"), help="the folder the files go to")
    parser.add_argument("--folder", type=Path, default=ENGINE, help="the engine's sources")
    asked = parser.parse_args(words)
    asked.out.mkdir(parents=True, exist_ok=True)
    written = [_write(name, asked.folder, asked.out) for name in asked.platforms or PLATFORMS]
    return 0 if all(written) else 1


def _write(name: str, folder: Path, out: Path) -> bool:
    """Writes the files of one platform; whether they could be built."""
    try:
        _build(name, folder, out)
    except EdgecvxError as error:
        print(f"error: {error}", file=sys.stderr)
        return False
    return True


def _build(name: str, folder: Path, out: Path) -> None:
    began = time.perf_counter()
    platform = get_platform(name)
    if platform.kind == "library":
        files = {platform.suffixes[0]: build(platform, folder=folder, options=WARNINGS)}
    else:
        files = dict(libraries([name], folder=folder))
    seconds = time.perf_counter() - began
    for suffix, content in files.items():
        path = out / f"edgecvx{suffix}"
        path.write_bytes(content)
        print(f"{path.name:32}{len(content):12,} B{seconds:8.1f} s  {hashlib.sha256(content).hexdigest()}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
