"""One way to open and run every file.

``open_session`` opens a file in its runtime, by default in a process of its own, so that native code that dies on a
bad file takes nothing else with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from edgecvx.errors import RuntimeUnavailableError, UsageError
from edgecvx.runtimes.base import RUNTIMES as RUNTIMES
from edgecvx.runtimes.base import Session, check_runtime
from edgecvx.runtimes.engine import open_engine, version

NO_OPTIONS: Mapping[str, str] = MappingProxyType({})

MOST_THREADS = 256
"""More than the processors of any device this is for; a runtime that is asked for far more may hang."""


def check_threads(threads: int | None) -> None:
    """Refuses numbers of threads that no runtime can work with.

    Raises:
        UsageError: It is such a number.
    """
    if threads is not None and not 1 <= threads <= MOST_THREADS:
        raise UsageError(f"{threads} threads do not work: it must be from 1 to {MOST_THREADS}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Availability:
    """Whether a runtime can be used on this machine."""

    runtime: str
    version: str | None
    """What is installed, as the runtime names itself; None when it is missing."""
    hint: str
    """How to get it, when it is missing."""


def availability(name: str) -> Availability:
    """Looks whether a runtime is installed, and in which version."""
    try:
        return Availability(runtime=name, version=version(name), hint="")
    except RuntimeUnavailableError as error:
        return Availability(runtime=name, version=None, hint=str(error))


def open_session(
    runtime: str,
    path: Path,
    *,
    threads: int | None = None,
    options: Mapping[str, str] = NO_OPTIONS,
    isolated: bool = True,
) -> Session:
    """Opens a file.

    Args:
        runtime: A name out of ``RUNTIMES``.
        path: The file, or the folder of a package.
        threads: How many threads the runtime may use, at most ``MOST_THREADS``; None leaves it to the runtime.
        options: What this runtime understands beyond that (see ``edgecvx.board.engines`` and ``engine``).
        isolated: In a process of its own. Off for latency, where the way between processes must not be measured.

    Raises:
        RuntimeUnavailableError: The runtime is not installed.
        RuntimeFailedError: The runtime refuses the file, or died on it.
        UsageError: So many threads make no sense.
    """
    check_threads(threads)
    check_runtime(runtime)
    if isolated:
        from edgecvx.runtimes.isolated import IsolatedSession

        return IsolatedSession(runtime, path, threads=threads, options=options)
    return open_engine(runtime, path, threads=threads, options=options)
