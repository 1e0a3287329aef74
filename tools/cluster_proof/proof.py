"""The proof of clusters at length; `make test` does a small part of it, with real schedulers and workers too.

    python tools/cluster_proof/proof.py                        # everything: some minutes on two cores
    python tools/cluster_proof/proof.py faults --pictures 400  # some of it

==========  ========================================================================================================
equal       one process, local:2 and two workers with certificates: the same report, byte for byte
faults      the same report after each of: a worker killed, all workers gone, the scheduler started again, the client's
            network cut for a minute, everybody's (root, on Linux), a worker that hangs, one without room, a client
            killed and started again
overhead    pictures a second of one process, of local:1 and of local:2
many        100,000 jobs and 50,000 pictures through 60 artifacts on 200 workers, all of which do nothing: what the
            scheduler makes of it
==========  ========================================================================================================
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("", "tests/support", "tools/cluster_proof", "tools")]

import many  # noqa: E402 (behind what finds it)
import network  # noqa: E402
import overhead  # noqa: E402
from certificates import write_certificates, write_settings  # noqa: E402
from clusters import RealCluster, end, real_cluster  # noqa: E402
from cut import Wire  # noqa: E402

from edgecvx.accuracy import elsewhere  # noqa: E402
from edgecvx.accuracy.validate import Progress, validate  # noqa: E402
from edgecvx.pipeline import export  # noqa: E402
from edgecvx.results.accuracy import Validation, as_json  # noqa: E402

Say = Callable[[Progress], None]


class Files:
    """What is validated: atto's demo weights in two formats, or the artifacts that were named."""

    def __init__(self, folder: Path, asked: argparse.Namespace) -> None:
        self.folder, self.pictures, self.only, self.ways = folder, asked.pictures, asked.only, asked.ways
        self.cut, self.own_network = asked.cut, asked.own_network
        self.paths = list(asked.artifacts)
        if not self.paths:
            done = export("atto", weights="demo", target=asked.targets, image_size=asked.size, out=folder / "files")
            self.paths = [artifact.path for artifact in done.artifacts]
        self._number = 0

    def validated(self, cluster: str | None = None, *, say: Say | None = None, cache: Path | None = None) -> Validation:
        """With no memory of what was done before."""
        self._number += 1
        place = cache or self.folder / f"cache-{self._number}"
        limit = self.pictures
        return validate(self.paths, limit=limit, threads=1, cache_dir=place, cluster=cluster, on_progress=say)


def prove_equal(files: Files, folder: Path) -> Iterator[str]:
    """Where reports differ."""
    here = as_json(files.validated())
    if as_json(files.validated("local:2")) != here:
        yield "local:2 gives another report than one process"
    certificates = folder / "certificates"
    write_certificates(certificates, ["localhost", "127.0.0.1"])
    write_settings(certificates)
    with real_cluster(folder, settings=certificates) as real, trusted(certificates):
        if as_json(files.validated(real.address)) != here:
            yield "two workers with certificates give another report than one process"


@contextlib.contextmanager
def trusted(certificates: Path) -> Iterator[None]:
    """This process with the settings that ``DASK_CONFIG`` would name."""
    import dask.config

    settings = dask.config.merge(dask.config.config, *dask.config.collect_yaml([str(certificates)]))
    with dask.config.set(settings):
        yield


# --- faults ---------------------------------------------------------------------------------------------------------


def prove_faults(files: Files, folder: Path) -> Iterator[str]:
    """After which fault the report is another one."""
    here = as_json(files.validated())
    for name, fault in FAULTS.items():
        if files.only not in name:
            continue
        place = folder / name.replace(" ", "-")
        place.mkdir()
        begun = time.monotonic()
        # Many shards, so that something can happen between them.
        with real_cluster(place) as real, patch.object(elsewhere, "SHARD", 8):
            found = fault(files, real)
        same = found == here
        print(
            f"  {name}: {'the same report' if same else 'ANOTHER REPORT'}, {time.monotonic() - begun:.0f} s", flush=True
        )
        if not same:
            yield f"{name}: another report"


def midway(files: Files, do: Callable[[], None]) -> Say:
    """Does something once, when a quarter of the first file's pictures are there."""
    happened = threading.Event()

    def say(at: Progress) -> None:
        if at.done >= files.pictures // 4 and not happened.is_set():
            happened.set()
            do()

    return say


def a_worker_is_killed(files: Files, real: RealCluster) -> str:
    """Its nanny starts it again, and others have its pictures meanwhile."""
    return as_json(files.validated(real.address, say=midway(files, lambda: os.kill(workers(real)[0], signal.SIGKILL))))


def all_workers_are_gone(files: Files, real: RealCluster) -> str:
    """With their nannies, as a host that lost its power; another one joins a little later."""

    def replace() -> None:
        for nanny in real.nannies:
            end(nanny)
        threading.Timer(3, real.start_worker).start()

    return as_json(files.validated(real.address, say=midway(files, replace)))


def the_scheduler_is_started_again(files: Files, real: RealCluster) -> str:
    """At its old address, with new workers: those of the old one end with it."""

    def restart() -> None:
        if real.scheduler is not None:
            end(real.scheduler)
        real.start_scheduler(urlsplit(real.address).port or 0)
        real.start_worker()

    return as_json(files.validated(real.address, say=midway(files, lambda: threading.Thread(target=restart).start())))


def the_network_is_cut(files: Files, real: RealCluster) -> str:
    """For a while nothing passes between the client and everybody else."""
    with Wire(urlsplit(real.address).port or 0) as wire:
        return as_json(files.validated(f"tcp://127.0.0.1:{wire.port}", say=midway(files, lambda: wire.cut(files.cut))))


def everybody_is_cut_off(files: Files, real: RealCluster) -> str:
    """Client, scheduler and workers from each other, as when a switch restarts: packets are lost."""
    if not files.own_network:
        print("    left out: only root on Linux can have a network of its own", flush=True)
        return as_json(files.validated())
    certificates = real.folder / "certificates"
    write_certificates(certificates, ["localhost", "127.0.0.1"])
    write_settings(certificates)
    (real.folder / "private").mkdir()
    with real_cluster(real.folder / "private", settings=certificates) as private, trusted(certificates):
        return as_json(files.validated(private.address, say=midway(files, lambda: network.cut(files.cut))))


def a_worker_hangs(files: Files, real: RealCluster) -> str:
    """It is started again, and others have its pictures."""
    with patch.object(elsewhere, "LIMIT", 10.0):
        return as_json(
            files.validated(real.address, say=midway(files, lambda: os.kill(workers(real)[0], signal.SIGSTOP)))
        )


def a_worker_has_no_room(files: Files, real: RealCluster) -> str:
    """It gets no work, and the user is told."""
    real.start_worker(most_bytes=100_000)
    notes: list[str] = []
    found = as_json(files.validated(real.address, say=lambda at: notes.append(at.note)))
    return found if any("no more work" in note for note in notes) else "nobody said it"


def a_client_is_killed(files: Files, real: RealCluster) -> str:
    """And started again: rows that arrived are kept. How many were known before is all that may differ."""
    cache = files.folder / f"killed-{time.monotonic_ns()}"
    paths = [str(path) for path in files.paths]
    command = [sys.executable, "-m", "edgecvx", "validate", *paths, "--limit", str(files.pictures)]
    environment = {**os.environ, "EDGECVX_CACHE": str(cache), "PYTHONPATH": str(ROOT)}
    enough = 200 * files.pictures  # bytes: of both files' rows and the reference's, for a third of the pictures
    client = subprocess.Popen([*command, "--cluster", real.address], env=environment, stderr=subprocess.DEVNULL)
    while client.poll() is None and sum(p.stat().st_size for p in cache.glob("rows/*/*.rows")) < enough:
        time.sleep(0.05)
    client.kill()
    client.wait()
    known: list[int] = []
    found = files.validated(real.address, cache=cache, say=lambda at: known.append(at.known))
    print(f"    {max(known)} of {files.pictures} pictures were known when it was started again", flush=True)
    return as_json(_from_nothing(found))


def _from_nothing(found: Validation) -> Validation:
    """As a report is that knew nothing before: the first file's reference was computed, the others' was not."""
    from dataclasses import replace

    outcomes = []
    for index, outcome in enumerate(found.artifacts):
        reference = outcome.reference
        known = outcome.pictures if index else 0
        outcomes.append(replace(outcome, reference=None if reference is None else replace(reference, from_cache=known)))
    return replace(found, artifacts=tuple(outcomes))


def workers(real: RealCluster) -> list[int]:
    """The processes of the workers."""
    from distributed import Client

    with Client(real.address, set_as_default=False) as client:
        return list(client.run(os.getpid).values())


FAULTS: Mapping[str, Callable[[Files, RealCluster], str]] = {
    function.__name__.replace("_", " "): function
    for function in (
        a_worker_is_killed,
        all_workers_are_gone,
        the_scheduler_is_started_again,
        the_network_is_cut,
        everybody_is_cut_off,
        a_worker_hangs,
        a_worker_has_no_room,
        a_client_is_killed,
    )
}


# --- how much -------------------------------------------------------------------------------------------------------


def prove_overhead(files: Files, folder: Path) -> Iterator[str]:
    """Prints how long the same pictures take."""
    yield from overhead.compare(files.paths, files.pictures, folder, files.ways)


def prove_many(asked: argparse.Namespace) -> Iterator[str]:
    """Prints what a scheduler makes of calls that do nothing."""
    many.prove(asked.jobs, asked.workers, pictures=asked.jobs // 2, artifacts=60)
    yield from ()


def main() -> int:
    """Runs the parts that were asked for; exit code 1 where one is not as it should be."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is ended then, too
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", default=["equal", "faults", "overhead", "many"])
    parser.add_argument("--artifacts", nargs="*", type=Path, default=[])
    parser.add_argument("--pictures", type=int, default=400)
    parser.add_argument("--size", type=int, default=64, help="of the pictures, where no artifact is named")
    parser.add_argument("--targets", nargs="*", default=["onnx", "tflite"], help="where no artifact is named")
    parser.add_argument("--ways", nargs="*", default=list(overhead.WAYS), choices=overhead.WAYS, help="of overhead")
    parser.add_argument("--cut", type=float, default=60.0, help="seconds for which a network is cut")
    parser.add_argument("--only", default="", metavar="WORDS", help="of faults, those with these words in their name")
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=200)
    asked = parser.parse_args()
    asked.own_network = "faults" in asked.parts and network.enter()
    faults: list[str] = []
    with tempfile.TemporaryDirectory(prefix="edgecvx-proof-") as temporary:
        folder = Path(temporary)
        of_files: dict[str, Any] = {"equal": prove_equal, "faults": prove_faults, "overhead": prove_overhead}
        files = Files(folder, asked) if set(asked.parts) & set(of_files) else None
        for part in asked.parts:
            print(part, flush=True)
            place = folder / part
            place.mkdir()
            found = of_files[part](files, place) if part in of_files else prove_many(asked)
            faults += found
    for fault in faults:
        print(f"FAULT: {fault}")
    print(f"{len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
