"""Reads what Linux tells about a board. Every reader takes the root of the tree, and gives None where nothing is told.

Only files and, for what boards tell nowhere else, the vendors' own commands. Nothing is guessed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path("/")
_PATIENCE = 5.0


def text(root: Path, path: str) -> str | None:
    """A file's text without the zero bytes of a device tree; None where it is missing, unreadable or empty."""
    try:
        found = (root / path).read_bytes().decode("utf-8", errors="replace").replace("\0", " ").strip()
    except OSError:
        return None
    return found or None


def number(root: Path, path: str) -> float | None:
    """A file's number."""
    found = text(root, path)
    try:
        return None if found is None else float(found)
    except ValueError:
        return None


def numbered(root: Path, pattern: str) -> list[Path]:
    """Files and folders whose names end in a number, in the order of those numbers; paths relative to the root."""
    found = [path.relative_to(root) for path in root.glob(pattern)]
    return sorted(found, key=lambda path: (len(path.name), path.name))


def command(root: Path, words: Sequence[str]) -> str | None:
    """What a command prints; None where it is missing or fails, and on a tree that is not this device's own."""
    if root != ROOT or shutil.which(words[0]) is None:
        return None
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=_PATIENCE
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", errors="replace").strip() or None if done.returncode == 0 else None


def sysctl(root: Path, name: str) -> str | None:
    """What macOS tells under a name; None elsewhere."""
    return command(root, ["sysctl", "-n", name]) if sys.platform == "darwin" else None


def cpuinfo(root: Path) -> list[dict[str, str]]:
    """``/proc/cpuinfo``, one table per block; the last one is the board's where there are such lines."""
    found = text(root, "proc/cpuinfo") or ""
    blocks = []
    for block in found.split("\n\n"):
        lines = [line.partition(":") for line in block.splitlines() if ":" in line]
        if lines:
            blocks.append({key.strip(): value.strip() for key, _, value in lines})
    return blocks
