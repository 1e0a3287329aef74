"""A cluster is named by an address, and none that sends everything in the clear past this machine is taken."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgecvx.cluster.address import Address, parse, security
from edgecvx.errors import UsageError


def test_workers_of_this_machine_are_as_many_as_it_has_processors_or_as_are_wanted() -> None:
    assert parse("local") == Address(text="local", workers=os.cpu_count() or 1)
    assert parse("local:3").workers == 3


@pytest.mark.parametrize("text", ["tls://host:8786", "tls://10.0.0.1:1", "tcp://127.0.0.1:8786", "tcp://localhost:1"])
def test_a_scheduler_is_named_by_host_and_port(text: str) -> None:
    assert parse(text) == Address(text=text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tcp://10.0.0.1:8786", r"not encrypted.*use tls://10\.0\.0\.1:8786"),
        ("tcp://127.0.0.1.evil.org:8786", "not encrypted"),
        ("tcp://0.0.0.0:8786", "not encrypted"),
        ("local:0", "1 to 256"),
        ("local:many", "1 to 256"),
        ("tls://host", "write local"),
        ("tls://host:port", "write local"),
        ("http://host:80", "write local"),
        ("ucx://host:80", "write local"),
        ("", "write local"),
    ],
)
def test_what_is_no_address_or_is_not_private_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse(text)


def test_certificates_are_those_that_dask_is_told_of(tmp_path: Path) -> None:
    config = pytest.importorskip("dask.config")
    with pytest.raises(UsageError, match="needs certificates: set DASK_CONFIG"):
        security()
    names = {f"distributed.comm.tls.{name}": str(tmp_path / "none.pem") for name in ("ca-file", "client.cert")}
    with config.set(names), pytest.raises(UsageError, match=r"none\.pem: there is no such file"):
        security()
