"""How long a page may be silent: longer where it says that nobody looks at it."""

from __future__ import annotations

import time

from edgecvx.errors import DeviceError
from edgecvx.web.visits.invitation import Invitation
from edgecvx.web.visits.places import Visit

AGAIN = 5
"""Times that a page may be opened anew before anything came of it."""


class Patience:
    """With the page of one visit."""

    def __init__(self, invitation: Invitation, name: str, silence: float) -> None:
        """Begins now.

        Args:
            invitation: Says how long signs of life may be missing, and who is told.
            name: The place's.
            silence: Seconds in which a page that is there and looked at has something to say.
        """
        self._invitation, self._name, self._silence = invitation, name, silence
        self._said = time.monotonic()
        self._hidden = False

    def check(self, visit: Visit, *, heard: bool, progress: str) -> None:
        """Looks at the page; called a few times a second.

        Args:
            visit: Of the page.
            heard: Whether something came since the last look.
            progress: How far it is, in words for a message.

        Raises:
            DeviceError: It is given up.
        """
        hidden = visit.state == "hidden"
        if hidden is not self._hidden:
            self._hidden = hidden
            how = "is hidden: it waits until it is shown" if hidden else "is shown again, and goes on"
            self._invitation.tell(f"{self._name}: its page {how}")
        if heard or hidden:
            self._said = time.monotonic()
        allowed = self._invitation.wait_seconds if hidden else self._invitation.lifeline_seconds
        if visit.silent > allowed:
            raise DeviceError(
                f"{self._name}: its page fell silent for {allowed:g} s {progress}: it was closed, the device was "
                "locked, or lost its connection"
            )
        if time.monotonic() - self._said > self._silence:
            raise DeviceError(f"{self._name}: nothing came of its page for {self._silence:.0f} s {progress}")
