"""A sweep on a cluster of this machine, of which a worker is killed in the middle: ``demo.py RECIPE OUT``.

A scheduler and two workers with a nanny each, as ``dask scheduler`` and ``dask worker`` start them, on loopback alone.
Everything started here ends here.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
"""Workers know edgecvx as it is here."""


@contextlib.contextmanager
def cluster(workers: int, folder: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """The address of a scheduler, and the processes of its workers."""
    told = folder / "scheduler.json"
    words = [sys.executable, "-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    with (folder / "log").open("wb") as log:
        how: dict[str, Any] = {"stdout": log, "stderr": log, "cwd": folder, "env": ENVIRONMENT}
        started = [
            subprocess.Popen(
                [*words, "--scheduler-file", str(told)], stdout=log, stderr=log, cwd=folder, env=ENVIRONMENT
            )
        ]
        try:
            while not told.exists():
                if started[0].poll() is not None:
                    raise SystemExit((folder / "log").read_text())
                time.sleep(0.1)
            options = ["--nthreads", "1", "--memory-limit", "0", "--no-dashboard", "--local-directory", str(folder)]
            for _ in range(workers):
                words = [sys.executable, "-m", "dask", "worker", "--scheduler-file", str(told), "--host", "127.0.0.1"]
                started.append(subprocess.Popen([*words, *options], **how))
            yield _address(told), started[1:]
        finally:
            for process in reversed(started):
                end(process)


def _address(told: Path) -> str:
    import json

    while True:
        with contextlib.suppress(ValueError):
            return str(json.loads(told.read_text())["address"])
        time.sleep(0.1)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and all it has started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        below = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        _, left = psutil.wait_procs([psutil.Process(process.pid), *below], timeout=10)
        for other in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                other.kill()
    process.wait()


def kill_worker(nanny: subprocess.Popen[bytes]) -> int | None:
    """Kills what a nanny looks after; its number, or None where it looks after nothing right now."""
    for child in psutil.Process(nanny.pid).children():
        if "spawn_main" in " ".join(child.cmdline()):
            child.kill()
            return child.pid
    return None


def main(recipe: str, out: str) -> int:
    """Runs the sweep, kills a worker once a third of its files is there, and says what came of it."""
    with tempfile.TemporaryDirectory(prefix="edgecvx-demo-") as name, cluster(2, Path(name)) as (address, workers):
        over, killed = threading.Event(), threading.Event()

        def harm() -> None:
            while not over.wait(0.5):
                if len(list(Path(out).glob("jobs/*/record.json"))) >= 4 and (number := kill_worker(workers[0])):
                    killed.set()
                    print(f"-- killed the worker {number}; its nanny starts another", flush=True)
                    return

        threading.Thread(target=harm, daemon=True).start()
        words = [sys.executable, "-m", "edgecvx", "sweep", recipe, "--out", out, "--cluster", address]
        code = subprocess.run(words, check=False, env=ENVIRONMENT).returncode
        over.set()
    if not killed.is_set():
        print(f"-- nothing was left to do, and no worker was killed: remove {out} to see it")
    print(f"-- exit code {code}")
    return 0 if code in (0, 1) else code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
