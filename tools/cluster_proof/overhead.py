"""What a cluster of this machine costs and gains: the same command in one process, and on workers that it starts."""

from __future__ import annotations

import functools
import os
import resource
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How the command is called."""

    options: tuple[str, ...]
    pinned: bool = False
    """Whether it has one processor, with all that it starts."""


WAYS: Mapping[str, Way] = {
    "one process": Way(options=()),
    "one thread": Way(options=("--threads", "1")),
    "one thread, one processor": Way(options=("--threads", "1"), pinned=True),
    "local:1": Way(options=("--cluster", "local:1")),
    "local:1, one processor": Way(options=("--cluster", "local:1"), pinned=True),
    "local:2": Way(options=("--cluster", "local:2")),
}
"""One process decodes in other threads than the one that asks reference and artifact in turn, and so does a worker:
where processors are to spare, either uses a little more than one unless it is kept to one."""
COMPARED = (
    ("local:1", "one thread", "{:.2f} times as long as"),
    ("local:1, one processor", "one thread, one processor", "{:.2f} times as long as"),
    ("local:1", "local:2", "{:.2f} times as long as"),
    ("local:1, one processor", "local:2", "{:.2f} times as long as"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """What one call took, start to end."""

    seconds: float
    processor_seconds: float
    report: bytes


def measured(way: Way, artifacts: Sequence[Path], pictures: int, folder: Path) -> Took:
    """Runs the command, with nothing known before."""
    folder.mkdir()
    command = [sys.executable, "-m", "edgecvx", "validate", *map(str, artifacts), "--limit", str(pictures)]
    command += ["--json", str(folder / "report.json"), *way.options]
    environment = {**os.environ, "EDGECVX_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    pin = functools.partial(os.sched_setaffinity, 0, {min(os.sched_getaffinity(0))}) if way.pinned else None
    before, begun = _processor_seconds(), time.monotonic()
    quiet = subprocess.DEVNULL
    code = subprocess.run(command, env=environment, stdout=quiet, stderr=quiet, preexec_fn=pin, check=False).returncode
    seconds = time.monotonic() - begun
    if code not in (0, 1):
        raise SystemExit(f"{' '.join(command)} ended with exit code {code}")
    report = (folder / "report.json").read_bytes()
    return Took(seconds=seconds, processor_seconds=_processor_seconds() - before, report=report)


def compare(artifacts: Sequence[Path], pictures: int, folder: Path, ways: Collection[str]) -> Iterator[str]:
    """Prints how long each way takes and how they compare, and gives a sentence where reports differ.

    A busy machine decides the times, so that nothing fails for them.
    """
    took: dict[str, Took] = {}
    for number, (name, way) in enumerate(WAYS.items()):
        if name in ways:
            took[name] = found = measured(way, artifacts, pictures, folder / str(number))
            rate = pictures * len(artifacts) / found.seconds
            print(
                f"  {name}: {found.seconds:.1f} s, {found.processor_seconds:.1f} processor seconds, "
                f"{rate:.1f} pictures a second",
                flush=True,
            )
    for one, other, words in COMPARED:
        if one in took and other in took:
            print(f"  {one} takes {words.format(took[one].seconds / took[other].seconds)} {other}", flush=True)
    if len({found.report for found in took.values()}) > 1:
        yield "the reports of one process and of workers differ"


def _processor_seconds() -> float:
    """Of all that was started and has ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
