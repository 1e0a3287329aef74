"""Where a device is: the text after ``ssh://``, checked before any program sees it.

``ssh`` and ``scp`` read a word that begins with a dash as an option, and hand host and user on to a shell where the
user's configuration says so (``ProxyCommand``, ``Match exec``). So both are held to the characters of names.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from edgecvx.errors import UsageError

_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,63}")
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")
_ZONE = re.compile(r"[A-Za-z0-9_.-]{1,32}")
_FORM = "write ssh://user@host, ssh://user@host:port or ssh://user@[IPv6]:port"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A host, and the user and port where they were given; else those of the user's ssh configuration."""

    host: str
    user: str | None = None
    port: int | None = None

    @property
    def login(self) -> str:
        """As the user would type it after ``ssh``: ``pi@kitchen``, ``-p 2222 pi@kitchen``."""
        target = self.host if self.user is None else f"{self.user}@{self.host}"
        return target if self.port is None else f"-p {self.port} {target}"

    @property
    def known_as(self) -> str:
        """The name of the host in known_hosts: ``kitchen``, ``[kitchen]:2222``."""
        return self.host if self.port in (None, 22) else f"[{self.host}]:{self.port}"

    def scp_target(self, path: str) -> str:
        """A path on the device, for ``scp``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{path}" if self.user is None else f"{self.user}@{host}:{path}"


def parse_address(text: str) -> Address:
    """Reads ``ssh://[user@]host[:port]``.

    Raises:
        UsageError: It is none, or holds something no host or user is called.
    """
    rest = text.removeprefix("ssh://")
    if rest == text:
        raise UsageError(f"{text!r} is no ssh address: {_FORM}")
    user, at, place = rest.removesuffix("/").rpartition("@")
    if ":" in user:
        raise UsageError("an ssh address holds no password: log in with a key (ssh-copy-id puts it on the device)")
    if at and not _USER.fullmatch(user):
        raise UsageError(f"{user!r} is no user name for ssh: {_FORM}")
    host, port = _split(place, text)
    return Address(host=host, user=user if at else None, port=_port(port, text))


def _split(place: str, text: str) -> tuple[str, str | None]:
    """Host and port, the host checked."""
    if place.startswith("["):
        host, bracket, port = place[1:].partition("]")
        if not bracket or (port and not port.startswith(":")) or not _is_ipv6(host):
            raise UsageError(f"{text!r} holds no IPv6 address between its brackets: {_FORM}")
        return host, port[1:] if port else None
    host, colon, port = place.partition(":")
    if not _HOST.fullmatch(host):
        raise UsageError(f"{host!r} is no host name for ssh: {_FORM}")
    return host, port if colon else None


def _is_ipv6(host: str) -> bool:
    address, percent, zone = host.partition("%")
    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        return False
    return not percent or _ZONE.fullmatch(zone) is not None


def _port(port: str | None, text: str) -> int | None:
    if port is None:
        return None
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise UsageError(f"{port!r} in {text!r} is no port: a number from 1 to 65535")
    return int(port)
