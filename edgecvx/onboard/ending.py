"""How a child process ended, in words: for the runner's workers, and for a runtime in a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import IO

_TAIL = 4096


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
