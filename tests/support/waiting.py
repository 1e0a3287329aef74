"""How tests wait: for what happens, never for so many seconds. A busy machine makes them slow and fails none."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any, TypeVar

import psutil

T = TypeVar("T")

PATIENCE = 600.0
"""Seconds after which what is waited for is said to have never come: a limit for broken code, not a measurement."""
LONGEST = 3 * PATIENCE
"""Seconds after which a test is said to hang, wherever it does: in a read, a join, a process that does not end."""
WEBSOCKET: dict[str, Any] = {"open_timeout": PATIENCE, "ping_interval": None}
"""For the websockets library, which by itself gives a connection ten seconds to open and twenty to answer a ping."""


def wait_until(look: Callable[[], T], what: str | Callable[[], str]) -> T:
    """Looks again and again until there is something to be seen.

    Args:
        look: What is true, and what it is true of.
        what: The message when it never is; a function where it tells how things stand by then.

    Returns:
        What ``look`` found.
    """
    end = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < end, f"waited in vain: {what if isinstance(what, str) else what()}"
        time.sleep(0.02)
    return found


def wait_for_end(processes: Iterable[psutil.Process]) -> None:
    """Waits until none of these processes runs: they have ended, whoever it is that has yet to take note of it."""
    left = list(processes)

    def all_ended() -> bool:
        left[:] = filter(_runs, left)
        return not left

    wait_until(all_ended, lambda: f"the end of {left}")


def _runs(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


@contextlib.contextmanager
def last_resort(seconds: float = LONGEST) -> Iterator[None]:
    """Ends what hangs in the main thread with an error that says so; again, where tidying up after it hangs too.

    Nothing else needs a limit of its own then: not a read, not ``process.wait()``, not ``thread.join()``.
    """

    def give_up(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"the test hangs: this was not over after {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, give_up)
    # The second time not before a minute is over: on a busy machine the way out of here takes a while too.
    running = signal.setitimer(signal.ITIMER_REAL, seconds, max(seconds, 60.0))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *running)
        signal.signal(signal.SIGALRM, before)


def hand_on_signals() -> None:
    """Lets the processes that tests start be stopped, also where this suite runs in the background or under nohup.

    Those have SIGINT and SIGHUP ignored, which every child inherits. A handler that does nothing ignores them just as
    well, and is not inherited.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
