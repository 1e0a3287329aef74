"""At most one measurement on a machine: a lock on a file there, which the system itself lets go when its holder ends.

This file alone is what is sent to a board, for whatever Python is there: it imports nothing of ours. It says who holds
the machine, waits its turn, and holds it for as long as a line arrives on its standard input every ``ttl`` seconds and
its folder is there. So a lease ends by itself: at once where its host ends, after ``ttl`` where the network does.

A second lock is the runner's own. It is held by what really measures, so that nothing is timed beside a runner whose
lease is over and that has not heard of it yet.
"""

# Annotations here are evaluated, and no newer than Python 3.6: an old one is to say so itself, later, in a sentence.
import fcntl
import json
import os
import select
import sys
import tempfile
import time

TURN, TIMING = "edgecvx-lease", "edgecvx-timing"
"""The files: whose turn it is, and what is timed right now."""
TTL = 60.0
"""Seconds without a sign of life after which a lease ends."""
LATE = 120.0
"""Seconds that a runner waits for one before it to end, whose lease is over already."""
_POLL, _TELL = 0.2, 5.0


def place(name: str) -> str:
    """The file of a lock: one for the whole machine, whoever asks; ``EDGECVX_LEASES`` names another folder."""
    named = os.environ.get("EDGECVX_LEASES")
    if named:
        os.makedirs(named, exist_ok=True)  # noqa: PTH103  # sent alone, and as plain as can be
    for folder in filter(None, (named, "/tmp")):
        if os.access(folder, os.W_OK | os.X_OK):
            return os.path.join(folder, name)  # noqa: PTH118
    return os.path.join(tempfile.gettempdir(), name)  # noqa: PTH118


class Lock:
    """One of the two locks, ours or not."""

    def __init__(self, name: str) -> None:
        """Opens the file.

        Raises:
            OSError: It is something else, or nobody may make it.
        """
        path = place(name)
        flags = os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
        try:
            self._file = os.open(path, os.O_RDWR | flags)
        except FileNotFoundError:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o666)
            os.fchmod(self._file, 0o666)  # whatever the umask: every user of the machine takes turns here
        except PermissionError:
            self._file = os.open(path, os.O_RDONLY | flags)

    def take(self, holder: str) -> bool:
        """Whether it is ours now."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        told = {"holder": holder, "since": time.strftime("%H:%M UTC", time.gmtime()), "ttl": TTL}
        try:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, json.dumps(told).encode(), 0)
        except OSError:  # another user's file: it can be locked, and not be written
            pass
        return True

    def holder(self) -> str:
        """Who has it, and since when, as far as that is written there."""
        try:
            told = json.loads(os.pread(self._file, 4096, 0).decode())
            return "{} since {}".format(str(told["holder"])[:200], str(told["since"])[:40])
        except (OSError, ValueError, KeyError, TypeError):
            return "somebody"

    def close(self) -> None:
        """Lets it go."""
        os.close(self._file)


def main(holder: str, folder: str) -> int:
    """Waits for the machine's turn, then holds it; events on standard output, a line each."""
    try:
        lock = Lock(TURN)
    except OSError as error:
        _say("refused", str(error))
        return 2
    busy, told, heard = "", 0.0, time.monotonic()
    while not lock.take(holder):
        if lock.holder() != busy or time.monotonic() - told > _TELL:
            busy, told = lock.holder(), time.monotonic()
            _say("busy", busy)
        heard = _heard(heard, _POLL, folder)
        if not heard:
            return 0
    _say("held", holder)
    while heard:
        heard = _heard(heard, 1.0, folder)
    return 0


def _heard(heard: float, wait: float, folder: str) -> float:
    """When the host last gave a sign of life; 0 where it is gone, or its folder is."""
    if not os.path.isdir(folder):  # noqa: PTH112
        return 0.0
    if select.select([0], [], [], wait)[0]:
        return time.monotonic() if os.read(0, 4096) else 0.0
    return heard if time.monotonic() - heard < TTL else 0.0


def _say(event: str, text: str) -> None:
    sys.stdout.write(json.dumps({"event": event, "text": text}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
