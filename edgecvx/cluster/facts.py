"""What a worker is: the versions and the class of processors that its answers depend on, and who may work together."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgecvx import __version__
from edgecvx.board.device.processors import this_processor
from edgecvx.cluster.refusals import ClusterError
from edgecvx.runtimes import RUNTIMES, availability

_PACKAGES = ("numpy", "Pillow", "torch", "distributed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One worker."""

    worker: str
    """Its address."""
    host: str
    threads: int
    machine: str
    """``x86_64``."""
    kind: str | None
    """The class of processors, where one can be told."""
    name: str
    """The processor's."""
    versions: Mapping[str, str]
    """Package -> version of edgecvx, what it computes with, and each runtime that is there."""
    nanny: bool = True
    """Whether somebody starts it again when it dies."""

    @property
    def processor(self) -> str:
        """The class of processors, and where none can be told the name."""
        return self.kind or self.name

    @property
    def digest(self) -> str:
        """The same for workers whose answers are of one kind."""
        what = [self.machine, self.processor, dict(self.versions)]
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


def facts_of(address: str, threads: int, nanny: bool) -> Facts:
    """The facts of this process, as the worker at ``address``."""
    processor = this_processor()
    return Facts(
        worker=address,
        host=platform.node(),
        threads=threads,
        machine=processor.machine,
        kind=processor.kind,
        name=processor.name or processor.machine,
        versions=_versions(),
        nanny=nanny,
    )


def this_worker() -> Facts:
    """The facts of the worker that this process is."""
    from distributed import get_worker

    return described(get_worker())


def described(dask_worker: object) -> Facts:
    """The facts of a worker; Dask passes itself by the argument's name."""
    worker: object = dask_worker
    state = getattr(worker, "state")  # noqa: B009  # Dask is imported by nobody who only reads this
    return facts_of(getattr(worker, "address"), state.nthreads, getattr(worker, "nanny", None) is not None)  # noqa: B009


@functools.cache
def _versions() -> Mapping[str, str]:
    """Looked up once: a worker is asked before every call."""
    found = {"edgecvx": __version__}
    for name in _PACKAGES:
        for distribution in importlib.metadata.distributions(name=name):
            found[name] = distribution.version
            break
    for runtime in RUNTIMES:
        if (version := availability(runtime).version) is not None:
            found[runtime] = version
    return found


def check_alike(workers: Sequence[Facts]) -> tuple[str, ...]:
    """Refuses workers of different versions, and those that share threads; says it where processors differ.

    Returns:
        A sentence if they are of several classes of processors.

    Raises:
        ClusterError: Their answers could not stand in one report.
    """
    versions: dict[tuple[str, str], list[Facts]] = {}
    for name in sorted({name for worker in workers for name in worker.versions}):
        for worker in workers:
            versions.setdefault((name, worker.versions.get(name, "missing")), []).append(worker)
        found = {version: those for (package, version), those in versions.items() if package == name}
        if len(found) > 1:
            said = ", ".join(f"{version} on {_hosts(those)}" for version, those in found.items())
            raise ClusterError(f"the workers have different versions of {name} ({said}): install the same everywhere")
    if several := [worker for worker in workers if worker.threads != 1]:
        raise ClusterError(
            f"{several[0].worker} has {several[0].threads} threads: start workers with --nthreads 1, and more of them"
        )
    kinds = sorted({f"{worker.machine} {worker.processor}" for worker in workers})
    if len(kinds) == 1:
        return ()
    return (
        f"the workers are of different classes of processors ({', '.join(kinds)}): each file was checked on each "
        "against what it computed where it was proved, but last digits depend on which one had a picture",
    )


def check_same(workers: Sequence[Facts], address: str) -> None:
    """Refuses workers whose pictures and figures are not this machine's: of another edgecvx, numpy or Pillow.

    Raises:
        ClusterError: They are.
    """
    here = _versions()
    for name in ("edgecvx", "numpy", "Pillow"):
        for worker in workers:
            if worker.versions.get(name) != here.get(name):
                raise ClusterError(
                    f"{worker.host} has {name} {worker.versions.get(name, 'not at all')}, this machine "
                    f"{here.get(name)}: install the same on the workers of {address}"
                )


def _hosts(workers: Sequence[Facts]) -> str:
    hosts = sorted({worker.host for worker in workers})
    return hosts[0] if len(hosts) == 1 else f"{hosts[0]} and {len(hosts) - 1} more"
