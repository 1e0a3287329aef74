"""Why a cluster cannot do what it was asked to; what one worker refuses goes to another, and no user meets it."""

from __future__ import annotations

from edgecvx.errors import EdgecvxError, Page


class ClusterError(EdgecvxError):
    """The cluster cannot be reached, or cannot do what it was asked to."""

    page = Page.CLUSTER


class RefusalError(ClusterError):
    """One worker cannot do a call that others can."""

    def __init__(self, worker: str, why: str) -> None:
        super().__init__(worker, why)
        self.worker, self.why = worker, why

    def __str__(self) -> str:
        return f"{self.worker}: {self.why}"


class UnlikeError(RefusalError):
    """Its answers are of another kind than the others': another version, another class of processors."""


class ParcelMissingError(RefusalError):
    """It does not hold a file that the call needs."""


class DiskFullError(RefusalError):
    """It has no room for what the call writes."""
