"""How many calls a scheduler bears: calls that do nothing, on as many workers as are asked for, over real connections.

The scheduler is a process of its own, whose memory and traffic are its own; the workers are many to a process, each
with a connection and a thread. What is asked of them is what a validation asks, in the same sizes.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT)]

from edgecvx.accuracy import elsewhere, rows, shard  # noqa: E402 (behind what finds it)
from edgecvx.cluster.connect import connect  # noqa: E402
from edgecvx.cluster.handle import Cluster  # noqa: E402
from edgecvx.cluster.parcels import Parcel, ParcelFile  # noqa: E402
from edgecvx.data.dataset import drawn_sample  # noqa: E402

Call = tuple[Callable[..., Any], tuple[Any, ...]]

PROCESSES = 2
"""Over which the workers are spread."""
CLASSES = 1000
_FAKES = "edgecvx.fakes"
"""Workers are told names in edgecvx alone, so what does nothing is found there, in this process and in theirs."""
_QUIET = {
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
    "DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__INTERVAL": "60s",
}
"""A hundred workers in one process would look at themselves ten thousand times a second."""


# --- what is asked --------------------------------------------------------------------------------------------------


def jobs_done(first: int, count: int) -> list[int]:
    """So many jobs that take no time."""
    return list(range(first, first + count))


def shard_done(asked: shard.Shard) -> shard.ShardRows:
    """Rows of the size of a classifier's, and the reference's answers where they were not known."""
    names = [sample.name for sample in asked.samples]
    row = rows.row_type(1, classify=True)
    answers = {asked.entries[0].reference: (names, np.ones((len(names), CLASSES), np.float32))}
    return shard.ShardRows(
        rows={entry.index: (names, np.ones(len(names), row)) for entry in asked.entries},
        answers={} if asked.known else answers,
    )


jobs_done.__module__ = shard_done.__module__ = _FAKES
sys.modules[_FAKES] = sys.modules[__name__]


def jobs(number: int, each: int) -> Iterator[Call]:
    """Jobs, so many to a call."""
    return ((jobs_done, (first, min(each, number - first))) for first in range(0, number, each))


def shards(pictures: int, artifacts: int) -> Iterator[Call]:
    """The shards of a validation of so many pictures and artifacts, as ``elsewhere`` cuts them."""
    entries = [_entry(index) for index in range(artifacts)]
    for start in range(0, artifacts, shard.OPEN_FILES):
        those = tuple(entries[start : start + shard.OPEN_FILES])
        for first in range(0, pictures, elsewhere.SHARD):
            samples = tuple(_sample(index) for index in range(first, min(first + elsewhere.SHARD, pictures)))
            answers = np.ones((len(samples), CLASSES), np.float32)
            known = {those[0].reference: (tuple(s.name for s in samples), answers)} if start else {}
            yield shard_done, (shard.Shard(key="", samples=samples, entries=those, known=known),)


def _sample(index: int) -> Any:
    name = f"n{index % CLASSES:08d}/ILSVRC2012_val_{index:08d}.JPEG"
    return dataclasses.replace(drawn_sample("validation", index), name=name, path=Path("/data/imagenet/val") / name)


def _entry(index: int) -> shard.Entry:
    name = f"convnextv2_femto.fcmae_ft_in1k-224-{index}.tflite"
    files = tuple(ParcelFile(path=name + end, sha256=64 * "0", bytes=1) for end in ("", ".edgecvx.json"))
    parcel = Parcel(name=name, files=files)
    return shard.Entry(index=index, artifact=parcel, checkpoints=(), reference=16 * "0", batch=8)


# --- who is asked ---------------------------------------------------------------------------------------------------


class SchedulerProcess:
    """A scheduler, and what it says of itself."""

    def __init__(self) -> None:
        self._process = _started("scheduler")
        self.address = _line(self._process)

    def says(self) -> dict[str, int]:
        """Its memory, its tasks and what passed through it since it was last asked."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        found: dict[str, int] = json.loads(_line(self._process))
        return found

    def close(self) -> None:
        """Ends it."""
        _end(self._process)


@contextlib.contextmanager
def cluster_of(workers: int) -> Iterator[tuple[SchedulerProcess, Cluster]]:
    """A scheduler and workers, and a connection to them."""
    with contextlib.ExitStack() as stack:
        scheduler = SchedulerProcess()
        stack.callback(scheduler.close)
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="edgecvx-many-"))
        for index in range(PROCESSES):
            share = workers // PROCESSES + (index < workers % PROCESSES)
            process = _started("workers", scheduler.address, str(share), folder)
            stack.callback(_end, process)
            _line(process)
        yield scheduler, stack.enter_context(connect(scheduler.address))


def _started(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, __file__, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **_QUIET},
        text=True,
    )


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    if not (line := process.stdout.readline().strip()):
        raise SystemExit("a scheduler or its workers ended before they said anything: fewer would be measured")
    return line


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


# --- how it goes ----------------------------------------------------------------------------------------------------


def prove(number: int, workers: int, pictures: int, artifacts: int) -> None:
    """Prints a row for jobs that are handed out together, for a few that are not, and for a validation."""
    window = elsewhere.AHEAD * workers
    few = max(1, number // 50)
    cases: dict[str, tuple[Iterable[Call], int]] = {
        f"{number} jobs, {elsewhere.SHARD} a call": (jobs(number, elsewhere.SHARD), window),
        f"{few} jobs, one a call": (jobs(few, 1), window),
        f"{pictures} pictures, {artifacts} artifacts": (shards(pictures, artifacts), window),
        f"{few} jobs, one a call, all at once": (jobs(few, 1), few),
    }
    print("| on ", end="")
    print(
        f"{workers} workers | calls | seconds | calls a second | tasks at most | scheduler's memory | messages | MB |"
    )
    print("|---|---|---|---|---|---|---|---|")
    with cluster_of(workers) as (scheduler, cluster):
        for name, (calls, most) in cases.items():
            before = scheduler.says()["memory"]
            begun = time.monotonic()
            count = hand_out(cluster, calls, most)
            seconds, said = time.monotonic() - begun, scheduler.says()
            memory = f"{before >> 20} to {said['peak'] >> 20} MiB"
            print(
                f"| {name} | {count} | {seconds:.0f} | {count / seconds:.0f} | {said['tasks']} | {memory} | "
                f"{said['messages']} | {said['bytes'] / 1e6:.1f} |",
                flush=True,
            )


def hand_out(cluster: Cluster, calls: Iterable[Call], most: int) -> int:
    """Has all calls done, so many under way at a time, as a validation does; how many there were."""
    left, done = iter(calls), 0
    for function, arguments in itertools.islice(left, most):
        cluster.submit(function, *arguments)
    while (ended := cluster.settled()) is not None:
        ended.result()
        done += 1
        for function, arguments in itertools.islice(left, 1):
            cluster.submit(function, *arguments)
    return done


# --- in the other processes -----------------------------------------------------------------------------------------


async def serve_scheduler() -> None:
    """A scheduler that says of itself what it is asked for, a line each time."""
    from distributed import Scheduler

    traffic = count_traffic()
    async with Scheduler(host="127.0.0.1", port=0, dashboard=False) as scheduler:
        print(scheduler.address, flush=True)
        most, peak = 0, 0
        asked = threading.Event()
        threading.Thread(target=_listen, args=[asked], daemon=True).start()
        while True:
            await asyncio.sleep(0.05)
            memory = psutil.Process().memory_info().rss
            most, peak = max(most, len(scheduler.tasks)), max(peak, memory)
            if asked.is_set():
                asked.clear()
                print(json.dumps({"memory": memory, "peak": peak, "tasks": most, **traffic}), flush=True)
                traffic.update(dict.fromkeys(traffic, 0))
                most, peak = 0, 0


def _listen(asked: threading.Event) -> None:
    for _ in sys.stdin:
        asked.set()


async def serve_workers(address: str, number: int, folder: str) -> None:
    """So many workers of one thread, until this process is ended."""
    from distributed import Worker

    started = [
        Worker(address, nthreads=1, memory_limit=0, host="127.0.0.1", local_directory=folder, dashboard=False)
        for _ in range(number)
    ]
    await asyncio.gather(*started)
    print("ready", flush=True)
    await asyncio.Event().wait()


def count_traffic() -> dict[str, int]:
    """Counts, from now on, what goes in and out of this process over Dask's connections."""
    from distributed.comm.tcp import TCP
    from tornado.iostream import IOStream

    seen = {"messages": 0, "bytes": 0}

    def count_messages(name: str) -> None:
        original = getattr(TCP, name)

        async def counted(*arguments: Any, **options: Any) -> Any:
            result = await original(*arguments, **options)
            seen["messages"] += 1
            return result

        setattr(TCP, name, counted)

    def count_bytes(name: str) -> None:
        original = getattr(IOStream, name)

        def counted(*arguments: Any) -> Any:
            size = original(*arguments)
            seen["bytes"] += size or 0
            return size

        setattr(IOStream, name, counted)

    for name in ("read", "write"):
        count_messages(name)
    for name in ("read_from_fd", "write_to_fd"):
        count_bytes(name)
    return seen


if __name__ == "__main__":
    role, *more = sys.argv[1:]
    if role == "scheduler":
        asyncio.run(serve_scheduler())
    else:
        asyncio.run(serve_workers(more[0], int(more[1]), more[2]))
