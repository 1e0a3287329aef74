"""Which devices are machines that compute: while one of them is timed, nothing else of a sweep may run."""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import socket
from collections.abc import Collection

from edgecvx.latency.devices import LOCAL


def is_here(device: str) -> bool:
    """Whether a device is this machine, under whatever name."""
    return device == LOCAL or bool(_addresses(_host(device)) & _own())


def is_among(device: str, hosts: Collection[str]) -> bool:
    """Whether a device is one of these machines, or this one."""
    theirs = {address for host in hosts for address in _addresses(host)}
    return is_here(device) or bool(_addresses(_host(device)) & theirs)


def _host(device: str) -> str:
    """The machine's name in ``ssh://user@host:port``; nothing for what is reached over no network."""
    from edgecvx.latency.devices.ssh_address import parse_address

    return parse_address(device).host if device.startswith("ssh://") else ""


@functools.cache
def _addresses(host: str) -> frozenset[str]:
    """What a name stands for; a name of ssh's own configuration stands for nothing that is known here."""
    if not host:
        return frozenset()
    with contextlib.suppress(ValueError):
        return frozenset({str(ipaddress.ip_address(host))})
    try:
        return frozenset(str(found[4][0]).partition("%")[0] for found in socket.getaddrinfo(host, None))
    except (OSError, UnicodeError):
        return frozenset({host})


@functools.cache
def _own() -> frozenset[str]:
    """The addresses of this machine."""
    import psutil

    found = (address.address for several in psutil.net_if_addrs().values() for address in several)
    return frozenset({"127.0.0.1", "::1", *(text.partition("%")[0] for text in found)})
