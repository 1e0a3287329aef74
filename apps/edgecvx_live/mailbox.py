"""A place for one value: the newest wins. There is no queue anywhere between camera and page.

Whoever reads is given what is newest when they ask, so a slow reader sees fewer values, never older ones, and holds
up nobody: ``put`` does not wait for readers, and readers do not wait for each other.
"""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Newest(Generic[T]):
    """Holds the newest value, for any number of threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._serial = 0
        self._value: T | None = None
        self._seen = True
        self._replaced = 0
        self._closed = False

    def put(self, value: T) -> int:
        """Replaces what was there; returns the value's serial, which counts from 1."""
        with self._changed:
            self._replaced += not self._seen
            self._serial, self._value, self._seen = self._serial + 1, value, False
            self._changed.notify_all()
            return self._serial

    def wait(self, after: int, timeout: float | None = None) -> tuple[int, T] | None:
        """The newest value, as soon as there is one of a serial above ``after``.

        Args:
            after: The serial that was got last; 0 for any value.
            timeout: Seconds to wait; 0 only looks.

        Returns:
            The serial and the value, or None when the time is over or the mailbox is closed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._serial > after, timeout)
            if self._value is None or self._serial <= after:
                return None
            self._seen = True
            return self._serial, self._value

    def latest(self) -> T | None:
        """The newest value, if there is any; looking counts as no reading."""
        with self._changed:
            return self._value

    def close(self) -> None:
        """Wakes everybody who waits; what is there can still be read."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Whether nothing new will come."""
        with self._changed:
            return self._closed

    @property
    def replaced(self) -> int:
        """How many values were replaced before anybody got them."""
        with self._changed:
            return self._replaced
