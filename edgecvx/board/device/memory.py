"""How much memory a process holds, and how much the device has left."""

from __future__ import annotations

import re
import sys
from pathlib import Path

_CGROUPS = (
    ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory.current", "sys/fs/cgroup/memory.stat"),
    (
        "sys/fs/cgroup/memory/memory.limit_in_bytes",
        "sys/fs/cgroup/memory/memory.usage_in_bytes",
        "sys/fs/cgroup/memory/memory.stat",
    ),
)
"""Limit, use and what it is made of, for both versions of control groups."""


def resident(pid: int | str = "self") -> int | None:
    """Bytes of resident memory of a process; None where the system does not tell."""
    return _field(Path(f"/proc/{pid}/status"), "VmRSS")


def peak() -> int | None:
    """The most resident memory this process ever held; None where the system does not tell."""
    found = _field(Path("/proc/self/status"), "VmHWM")
    if found is None and sys.platform == "darwin":
        import resource

        # Not on Linux: there, the figure of a child starts with its parent's.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found


def total(root: Path = Path("/")) -> int | None:
    """Bytes of memory this device has."""
    return _field(root / "proc/meminfo", "MemTotal")


def available(root: Path = Path("/")) -> int | None:
    """Bytes that can be had without swapping, as the kernel and the control group's limit see it."""
    free = _field(root / "proc/meminfo", "MemAvailable")
    for limit, used, parts in _CGROUPS:
        try:
            left = int((root / limit).read_text()) - int((root / used).read_text())
            # Files that were read a while ago count as used, and are dropped when the room is needed.
            cached = re.search(r"^(?:total_)?inactive_file (\d+)", (root / parts).read_text(), re.MULTILINE)
        except (OSError, ValueError):  # no such group, or "max"
            continue
        left += int(cached[1]) if cached else 0
        return left if free is None else min(free, left)
    return free


def _field(path: Path, name: str) -> int | None:
    try:
        found = re.search(rf"^{name}:\s*(\d+) kB", path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None
