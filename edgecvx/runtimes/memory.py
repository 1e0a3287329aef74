"""What a process that runs a network does with memory that it has freed: it keeps it.

A network asks for tensors of the same sizes for every batch. By itself the GNU C library gives the larger ones back to
the system, which clears their pages anew each time: up to a sixth of the reference's time. Dask's nanny starts workers
with a setting by which nearly all go back, right for data frames that come and go: there it is more than a third.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys

_NAME, _DASKS = "MALLOC_TRIM_THRESHOLD_", "65536"
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST = 32 << 20
"""Bytes of a block; the most that the library takes."""
_KEPT = 1 << 30
"""Bytes at the end of the heap: more than the activations of a batch take."""


def keep_freed_memory() -> None:
    """Has this process keep what it frees, and takes Dask's setting from those that it starts.

    What a user has set stays, and so does another C library's way.
    """
    setting = os.environ.get(_NAME)
    if setting == _DASKS:
        del os.environ[_NAME]
    elif setting is not None:
        return
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(_MMAP_THRESHOLD, _LARGEST)
            mallopt(_TRIM_THRESHOLD, _KEPT)
