"""Real schedulers and workers of Dask on this machine, as a user starts them, which end with the test."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from support import PATHS

_PATIENCE = 60.0
_PRIVATE = ("--no-dashboard", "--dashboard-address", "127.0.0.1:0")
_DIE_WITH_PARENT = 1
_ADDRESS = re.compile(r"(?:tcp|tls)://127\.0\.0\.1:\d+")


@dataclass
class RealCluster:
    """A scheduler and its workers; each worker has a nanny, in a process group of its own."""

    folder: Path
    settings: Path | None
    """A folder that ``tools/certificates.py`` wrote; then it speaks TLS."""
    address: str = ""
    scheduler: subprocess.Popen[bytes] | None = None
    nannies: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """Of everyone who belongs to the cluster."""
        ours = {"PYTHONPATH": PATHS, "OMP_NUM_THREADS": "1", "DASK_CONFIG": str(self.settings or self.folder)}
        return {**os.environ, **ours}

    def start_scheduler(self, port: int = 0) -> None:
        """Starts it, on a port of its own or on one that it had before."""
        scheme = "tls" if self.settings else "tcp"
        named = ["--host", f"{scheme}://127.0.0.1:{port}", *_PRIVATE, "--no-show"]
        self.scheduler, self.address = self._start("scheduler", named, "Scheduler at:")

    def start_worker(self, *options: str, most_bytes: int | None = None) -> subprocess.Popen[bytes]:
        """Starts one with a nanny; ``most_bytes`` is what a file of its may have, as on a disk that is full."""
        scheme = self.address.partition("://")[0]
        home = ["--host", f"{scheme}://127.0.0.1", "--local-directory", str(self.folder)]
        named = [self.address, "--nthreads", "1", *home, *_PRIVATE, *options]
        process, _ = self._start(f"worker-{len(self.nannies)}", named, "Start worker at:", most_bytes)
        self.nannies.append(process)
        return process

    def _start(
        self, name: str, arguments: list[str], said: str, most_bytes: int | None = None
    ) -> tuple[subprocess.Popen[bytes], str]:
        log = self.folder / f"{name}-{time.monotonic_ns()}.log"
        module = f"distributed.cli.dask_{name.partition('-')[0]}"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdout=stream,
                stderr=stream,
                stdin=subprocess.DEVNULL,
                env=self.environment,
                start_new_session=True,
                preexec_fn=functools.partial(_bound, most_bytes),
            )
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline and process.poll() is None:
            for line in log.read_text(errors="replace").splitlines():
                if said in line and (found := _ADDRESS.search(line)):
                    return process, found[0]
            time.sleep(0.05)
        end(process)
        raise AssertionError(f"{name} did not start: {log.read_text(errors='replace')[-2000:]}")

    def close(self) -> None:
        """Ends everybody."""
        for process in [*self.nannies, *([self.scheduler] if self.scheduler else [])]:
            end(process)


def _bound(most_bytes: int | None) -> None:
    """In the child: it ends with the process that started it, and its files end where they must."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    if most_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))


def end(process: subprocess.Popen[bytes]) -> None:
    """Kills a process with all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def real_cluster(folder: Path, *, workers: int = 2, settings: Path | None = None) -> Iterator[RealCluster]:
    """A scheduler with workers, ended in any case."""
    cluster = RealCluster(folder, settings)
    try:
        cluster.start_scheduler()
        for _ in range(workers):
            cluster.start_worker()
        yield cluster
    finally:
        cluster.close()
