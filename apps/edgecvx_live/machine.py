"""What the machine says about itself: temperature and memory."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import psutil

THERMAL = Path("/sys/class/thermal")


def celsius(thermal: Path = THERMAL) -> float | None:
    """The processor's temperature, of the first sensor that names it, else of the first one; None where there is none.

    A Raspberry Pi calls it ``cpu-thermal``, a Jetson ``cpu-thermal`` or ``CPU-therm``, a PC ``x86_pkg_temp``.
    """
    found: list[tuple[bool, str, float]] = []
    for zone in sorted(thermal.glob("thermal_zone*")):
        # A sensor whose device sleeps refuses to be read; the others still count.
        with contextlib.suppress(OSError, ValueError):
            kind = (zone / "type").read_text(encoding="ascii", errors="replace").strip().lower()
            degrees = int((zone / "temp").read_text(encoding="ascii", errors="replace")) / 1000
            if -40 < degrees < 150:
                found.append(("cpu" not in kind and "x86_pkg" not in kind, zone.name, degrees))
    return min(found)[2] if found else None


def memory_bytes() -> int:
    """What this process and all its children hold, pages that several of them map counted once (PSS).

    Where the kernel does not tell that, resident memory, which counts shared pages once per process.
    """
    total = 0
    with contextlib.suppress(psutil.Error, OSError):  # a jail without /proc
        own = psutil.Process()
        for process in (own, *own.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):  # gone meanwhile
                total += _held(process)
    return total


def process_start() -> float:
    """``time.time()`` at which this process began, the interpreter's own start included."""
    now = time.time()
    try:
        return min(now, float(psutil.Process().create_time()))
    except (psutil.Error, OSError):
        return now


def _held(process: psutil.Process) -> int:
    try:
        shared_once: int = getattr(process.memory_full_info(), "pss", 0)  # Linux alone tells it
    except (psutil.AccessDenied, OSError):
        shared_once = 0
    resident: int = process.memory_info().rss
    return shared_once or resident
