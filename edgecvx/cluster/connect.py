"""From the name of a cluster to a handle on it."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgecvx.cluster import address as addresses
from edgecvx.cluster.handle import Cluster
from edgecvx.cluster.refusals import ClusterError
from edgecvx.errors import missing_package

if TYPE_CHECKING:
    from distributed import Client

_FIRST = 10.0
"""Seconds for a scheduler that runs to answer."""


@contextlib.contextmanager
def connect(where: str | Client) -> Iterator[Cluster]:
    """A cluster, met and checked, for as long as the context lasts.

    Args:
        where: ``local`` or ``local:N``, workers of this machine that end with the context; ``tls://host:port``, with
            the certificates that Dask's configuration names; ``tcp://127.0.0.1:port``; or a client of Dask's, which
            stays open.

    Raises:
        UsageError: It is no address, or one that would send everything in the clear past this machine.
        ClusterError: Nobody answers there, or the workers cannot work together.
        RuntimeUnavailableError: Dask is not installed.
    """
    if importlib.util.find_spec("distributed") is None:
        raise missing_package("Dask distributed, which --cluster needs,", "cluster")
    with _quiet(), contextlib.ExitStack() as stack:
        cluster = _opened(where, stack) if isinstance(where, str) else _taken(where)
        cluster.meet()
        yield cluster


def _opened(text: str, stack: contextlib.ExitStack) -> Cluster:
    from distributed import Client

    named = addresses.parse(text)
    address = stack.enter_context(_started(named.workers)) if named.workers else text
    security = addresses.security() if address.startswith("tls://") else None

    def open_client() -> Client:
        return Client(address, security=security, timeout=_FIRST, set_as_default=False)

    try:
        cluster = Cluster(client=open_client(), address=text, again=open_client)
    except OSError as error:
        raise ClusterError(
            f"no scheduler answers at {text} ({_reason(error)}): is dask scheduler running there?"
        ) from None
    stack.callback(lambda: cluster.client.close(timeout=5))  # it may be another one by then
    return cluster


def _taken(client: Client) -> Cluster:
    address = str(client.scheduler.address) if client.scheduler is not None else ""
    addresses.check_private(address)
    return Cluster(client=client, address=address, again=None)


@contextlib.contextmanager
def _started(workers: int) -> Iterator[str]:
    """A scheduler and workers of this machine, reachable from it alone, one thread each, without a dashboard."""
    import dask.config
    from distributed import LocalCluster

    with (
        # A hundred looks a second at what each worker does, which nobody sees without a dashboard.
        dask.config.set({"distributed.worker.profile.enabled": False}),
        tempfile.TemporaryDirectory(prefix="edgecvx-cluster-") as folder,
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            # Dask's page of health is served all the same: to this machine alone, on any port that is free.
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
            worker_dashboard_address=None,
            memory_limit=0,  # runtimes live in children of their own, which Dask does not see
            local_directory=folder,
            silence_logs=logging.CRITICAL,
        ) as cluster,
    ):
        yield cluster.scheduler_address


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Dask tells its log of each worker that goes; what matters of that, we say ourselves."""
    loggers = [logging.getLogger(name) for name in ("distributed", "tornado")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _reason(error: OSError) -> str:
    text = str(error.__cause__ or error).splitlines()
    return text[0].strip().rstrip(":") if text else type(error).__name__
