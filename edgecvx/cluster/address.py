"""How a cluster is named: ``local``, ``local:4``, ``tcp://127.0.0.1:8786``, ``tls://host:8786``."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from edgecvx.errors import Page, UsageError, about

if TYPE_CHECKING:
    from distributed.security import Security

MOST_LOCAL = 256
_LOOPBACK = re.compile(r"localhost|127(\.\d+){3}|::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A cluster that was named."""

    text: str
    workers: int = 0
    """To be started here; 0 for a scheduler that runs already."""


def parse(text: str) -> Address:
    """Reads an address.

    Raises:
        UsageError: It is none, or would send everything in the clear past this machine.
    """
    name, _, count = text.partition(":")
    if name == "local":
        if count and not (count.isdecimal() and 1 <= int(count) <= MOST_LOCAL):
            raise UsageError(f"--cluster {text} does not work: local:N takes 1 to {MOST_LOCAL} workers")
        return Address(text=text, workers=int(count) if count else os.cpu_count() or 1)
    check_private(text)
    return Address(text=text)


@about(Page.CERTIFICATES)
def check_private(text: str) -> None:
    """Refuses the address of a scheduler that speaks in the clear to more than this machine.

    Raises:
        UsageError: It does, or it is no address.
    """
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if text.startswith("inproc://"):  # a client's own process
        return
    if host is None or port is None or parts.scheme not in ("tcp", "tls"):
        raise UsageError(
            f"--cluster {text} does not work: write local, local:4, tls://HOST:PORT or tcp://127.0.0.1:PORT"
        )
    if parts.scheme == "tcp" and not _LOOPBACK.fullmatch(host):
        raise UsageError(
            f"--cluster {text} does not work: tcp:// is not encrypted, and anybody who reaches it runs programs on its "
            f"workers; use tls://{host}:{port} with certificates, or a tunnel to tcp://127.0.0.1"
        )


@about(Page.CERTIFICATES)
def security() -> Security:
    """Dask's own settings of certificates: ``distributed.comm.tls`` of its configuration or environment.

    Raises:
        UsageError: They name no certificates, or files that are not there.
    """
    import dask.config
    from distributed.security import Security

    names = {"ca-file": "CA_FILE", "client.cert": "CLIENT__CERT", "client.key": "CLIENT__KEY"}
    for name, variable in names.items():
        value: Any = dask.config.get(f"distributed.comm.tls.{name}", None)
        if value is None and name == "client.key":  # the key may be in the certificate's file
            continue
        if value is None:
            raise UsageError(
                f"tls:// needs certificates: set DASK_CONFIG to a folder that tools/certificates.py wrote, or "
                f"DASK_DISTRIBUTED__COMM__TLS__{variable}"
            )
        if "\n" not in value and not os.path.isfile(value):  # noqa: PTH113  # a certificate may stand there itself
            raise UsageError(f"distributed.comm.tls.{name} is {value}: there is no such file")
    return Security(require_encryption=True)
