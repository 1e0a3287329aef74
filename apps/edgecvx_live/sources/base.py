"""The seam every source is behind: open, read pictures one by one, close."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edgecvx.errors import EdgecvxError
from edgecvx_live.values import Pixels

SIZE = (640, 480)
"""Width and height of frames where nothing is said: what every USB camera has, and twice what the network looks at."""


class SourceMissingError(EdgecvxError):
    """There is no such camera, file or program; it may come."""


class SourceLostError(EdgecvxError):
    """The source was there and delivers no more; it may come back."""


class SourceEndedError(EdgecvxError):
    """The source is through and will not come back."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """What a source gives."""

    pixels: Pixels
    capture_ms: float
    """From the first byte to the last, or what drawing or decoding took; not the wait for it."""


class Source(Protocol):
    """Something that gives pictures, at its own pace."""

    @property
    def kind(self) -> str:
        """The word before the colon: ``v4l2``, ``demo``."""
        ...

    @property
    def name(self) -> str:
        """For people: which camera, which file. Holds no password."""
        ...

    def open(self) -> None:
        """Starts it, anew after ``close``.

        Raises:
            SourceMissingError: It is not there.
        """
        ...

    def read(self) -> Picture:
        """The next picture; waits for it as long as is normal for this source.

        Raises:
            SourceMissingError: None has ever come.
            SourceLostError: No more come, or ``close`` was called by another thread.
            SourceEndedError: It was the last one.
        """
        ...

    def close(self) -> None:
        """Stops it and frees everything; also from another thread, whose ``read`` ends then."""
        ...
