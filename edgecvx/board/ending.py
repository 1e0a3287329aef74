"""What a child process says beside its answers, and how it ended: for the runner's workers, and for a runtime alone."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import tempfile
from typing import IO

_TAIL = 4096
_MOST = 1 << 20


def chatter_file() -> IO[bytes]:
    """A file for a child's standard error, gone when it is closed.

    A file, because a pipe would have to be emptied beside what is measured. Appending, so that it can be cut short: a
    child that writes on at its own place would leave a hole as large as what was forgotten.
    """
    # The mode alone does not reach the system: the file has no name to be opened by.
    file = tempfile.TemporaryFile("ab+")  # noqa: SIM115  # lives as long as the child
    fcntl.fcntl(file.fileno(), fcntl.F_SETFL, fcntl.fcntl(file.fileno(), fcntl.F_GETFL) | os.O_APPEND)
    return file


def shorten(chatter: IO[bytes]) -> None:
    """Forgets what was said, where it became much: a runtime that talks during every run must not fill the disk."""
    if not chatter.closed and os.fstat(chatter.fileno()).st_size > _MOST:
        os.ftruncate(chatter.fileno(), 0)


def ending(code: int, chatter: IO[bytes]) -> tuple[str, str]:
    """How it ended and what it said last, from its exit code and what it wrote beside its answers.

    Returns:
        ``died with SIGSEGV``, and `` (its last words: …)``, empty where it said nothing.
    """
    how = f"ended with exit code {code}"
    if code < 0:
        with contextlib.suppress(ValueError):
            how = f"died with {signal.Signals(-code).name}"
    chatter.seek(0, os.SEEK_END)
    chatter.seek(max(0, chatter.tell() - _TAIL))
    said = [line.strip() for line in chatter.read().decode(errors="replace").splitlines() if line.strip()]
    return how, f" (its last words: {said[-1][:200]})" if said else ""
