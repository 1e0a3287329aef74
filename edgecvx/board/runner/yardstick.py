"""A fixed piece of work that has nothing to do with any model: how long it takes is the machine's own noise and drift.

Hashing with BLAKE2b: plain C with no special instructions, the same work on every processor and in every Python, about
2 ms on a desktop core and 5 ms on a Raspberry Pi 4's. The buffer fits the first-level cache, so that the time tells of
the clock and of neighbours, and not of what the artifact before has left in the caches.
"""

from __future__ import annotations

import hashlib
import time

_BLOCK = bytes(range(256)) * 64
_PASSES = 96


def yardstick_ns() -> int:
    """One timing; not the best or the middle of several, for the odd long one is what it is there to show."""
    hashlib.blake2b(_BLOCK).digest()
    started = time.perf_counter_ns()
    work = hashlib.blake2b()
    for _ in range(_PASSES):
        work.update(_BLOCK)
    work.digest()
    return time.perf_counter_ns() - started
