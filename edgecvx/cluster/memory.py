"""What a worker does with memory that it has freed: it keeps it, as a process does that Dask has not started.

Dask's nanny starts workers with a setting of the C library's by which every larger block goes back to the system as
soon as it is free. For data frames that come and go that is right; a network asks for the same tensors for every
batch, and would have the system clear them anew each time: a fifth of a worker's processor time.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys

_NAME, _DASKS = "MALLOC_TRIM_THRESHOLD_", "65536"
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT = 32 << 20
"""Bytes of a block: where glibc itself arrives, with twice as much at the end of the heap, if nobody sets anything."""


def keep_freed_memory() -> None:
    """Takes Dask's setting back, in this process and for those that it starts; one that a user made stays."""
    if os.environ.get(_NAME) != _DASKS:
        return
    del os.environ[_NAME]
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # another C library has no such thing
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(_MMAP_THRESHOLD, _KEPT)
            mallopt(_TRIM_THRESHOLD, 2 * _KEPT)
