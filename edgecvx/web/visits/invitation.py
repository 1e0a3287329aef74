"""How browsers are asked to come: where the page is served, how long is waited, and who shows the link."""

from __future__ import annotations

import ipaddress
import math
import socket
from collections.abc import Callable
from dataclasses import dataclass

from edgecvx.errors import UsageError

LOOPBACK = "127.0.0.1"
LIFELINE = 60.0
"""Seconds without a sign of a page after which it is given up."""
_DAY = 1440


def say_nothing(_: str) -> None:
    """For whoever does not want to be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """What is told to browsers, and to whom it is shown."""

    host: str = LOOPBACK
    """An address of this machine; beyond loopback the page is reached without encryption, by whoever has the link."""
    port: int = 0
    """0 for any that is free."""
    wait_minutes: float = 10.0
    """How long places stay free for browsers that have not come yet, and for pages that were hidden."""
    lifeline_seconds: float = LIFELINE
    show_link: Callable[[str], None] = say_nothing
    """Called once, with the link."""
    tell: Callable[[str], None] = say_nothing
    """Called with a sentence, from several threads."""

    def __post_init__(self) -> None:
        if not 0 < self.wait_minutes <= _DAY:  # a NaN is not either
            raise UsageError(f"--wait {self.wait_minutes:g} does not work: it must be from 0 to {_DAY} minutes")
        if not (math.isfinite(self.lifeline_seconds) and self.lifeline_seconds > 0):
            raise UsageError(f"a lifeline of {self.lifeline_seconds:g} seconds does not work: it must be positive")
        _check_host(self.host)

    @property
    def wait_seconds(self) -> float:
        """The same in seconds."""
        return self.wait_minutes * 60

    @property
    def is_secure(self) -> bool:
        """Whether browsers take the page for one that nobody can have changed, and so give it threads."""
        return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback


def link_to(host: str, port: int, token: str) -> str:
    """What a browser opens; the token stands where no server's log and no other page sees it."""
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/#device={token}"


def _check_host(host: str) -> None:
    if host == "localhost":
        return
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise UsageError(f"--host {host} does not work: it is an address of this machine, {_example()}") from None
    if address.is_unspecified:
        raise UsageError(f"--host {host} is no address that a phone could open: name this machine's own, {_example()}")


def _example() -> str:
    """This machine's address in its network, where it has one."""
    import psutil

    found = (address for addresses in psutil.net_if_addrs().values() for address in addresses)
    inner = (a.address for a in found if a.family == socket.AF_INET and not a.address.startswith("127."))
    return f"such as {next(inner, '192.168.1.20')}"
