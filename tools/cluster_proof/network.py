"""A network of this process and its children alone, in which everybody can be cut off: packets are lost, unsaid."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading

_NEW_NETWORK = 0x40000000


def enter() -> bool:
    """Whether this process is in a network of its own now, with nothing in it but loopback.

    It has to be asked for while there is one thread, by root, on Linux.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    try:
        left = ctypes.CDLL(None, use_errno=True).unshare(_NEW_NETWORK)
        return left == 0 and _loopback("up")
    except (OSError, AttributeError):
        return False


def cut(seconds: float) -> None:
    """Loses every packet for a while; only where ``enter`` said yes."""
    _loopback("down")
    threading.Timer(seconds, _loopback, ["up"]).start()


def _loopback(how: str) -> bool:
    return subprocess.run(["ip", "link", "set", "lo", how], check=False).returncode == 0
