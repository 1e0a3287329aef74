"""What a page measured by itself and saved: its raw events, made into a benchmark as any device's are.

No edgecvx was beside that page. Which files it ran, it says itself, by their manifests; so the figures are held to
everything a device is held to here, and the benchmark says where it came from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecvx.errors import EdgecvxError
from edgecvx.latency.devices.browser_events import Interpreter
from edgecvx.latency.devices.collect import Collector
from edgecvx.latency.devices.job import Job
from edgecvx.latency.request import ArtifactFiles, proved, requested, warm_up
from edgecvx.latency.warnings import warnings_of
from edgecvx.manifest import Manifest, manifest_of
from edgecvx.results.latency import Benchmark, Measured, Protocol
from edgecvx.results.untrusted import plain
from edgecvx.runtimes import check_threads
from edgecvx.spec import from_json
from edgecvx.web.visits.browsers import read_browser
from edgecvx.web.visits.engines import ONLY, RUNTIME

KIND = "browser-benchmark"
SCHEMA_VERSION = 1
DEVICE = "browser (saved by the page)"
WHERE_FROM = "a page that measured by itself and saved this: no edgecvx was beside it"
_MOST_ROUNDS, _MOST_RUNS, _MOST_ARTIFACTS = 1000, 1_000_000, 64
_KEPT = re.compile(r"[0-9a-f]{16,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One file with one number of threads."""

    manifest: int
    """Its place among the manifests."""
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """The file, read."""

    schema_version: int
    kind: str
    edgecvx: str
    browser: Any
    kept: str | None
    rounds: int
    runs: int
    artifacts: tuple[Row, ...]
    manifests: tuple[Any, ...]
    events: tuple[Any, ...]


def benchmark_of(data: object) -> Benchmark:
    """The benchmark in a file that a page saved.

    Raises:
        EdgecvxError: It is of another version, was changed, or says what no page of ours says.
    """
    saved = from_json(Saved, data, where="the file")
    if saved.schema_version != SCHEMA_VERSION:
        raise EdgecvxError(f"its schema_version is {saved.schema_version}, this edgecvx reads {SCHEMA_VERSION}")
    _check(saved)
    manifests = [_manifest(item, i) for i, item in enumerate(saved.manifests)]
    measured = tuple(_requested(f"a{i}", manifests, row) for i, row in enumerate(saved.artifacts))
    job = Job(order=_order(saved, manifests), files={})
    collector = Collector(job, measured, device=DEVICE)
    interpreter = Interpreter(read_browser(saved.browser), saved.kept, {"measured by": WHERE_FROM})
    for event in saved.events:
        if not isinstance(event, dict):
            raise EdgecvxError("an event in it is no object")
        collector.add(interpreter.event(event, DEVICE))
    device = collector.result(None if collector.done else "the page was stopped before it was done")
    return Benchmark(
        edgecvx=plain(saved.edgecvx, 40),
        protocol=_protocol(saved),
        devices=(device,),
        warnings=(f"{device.fingerprint.name}: {WHERE_FROM}", *warnings_of([device])),
    )


def _check(saved: Saved) -> None:
    """Refuses sizes that no page of ours has."""
    for name, value, most in (
        ("rounds", saved.rounds, _MOST_ROUNDS),
        ("runs", saved.runs, _MOST_RUNS),
        ("artifacts", len(saved.artifacts), _MOST_ARTIFACTS),
        ("manifests", len(saved.manifests), _MOST_ARTIFACTS),
    ):
        if not 1 <= value <= most:
            raise EdgecvxError(f"{value} {name} in it cannot be")
    if saved.kept is not None and not _KEPT.fullmatch(saved.kept):
        raise EdgecvxError("the word by which its browser is known again is none")
    for row in saved.artifacts:
        check_threads(row.threads)
        if not 0 <= row.manifest < len(saved.manifests):
            raise EdgecvxError(f"there is no manifest {row.manifest} in it")


def _manifest(data: object, number: int) -> Manifest:
    manifest = manifest_of(data, f"manifest {number}")
    if manifest.runtime != RUNTIME:
        raise EdgecvxError(f"{plain(manifest.artifact_name)}: {ONLY}")
    return manifest


def _requested(name: str, manifests: Sequence[Manifest], row: Row) -> Measured:
    manifest = manifests[row.manifest]
    files = ArtifactFiles(path=Path(manifest.artifact_name), manifest=manifest)
    return requested(name, files, files.identity, row.threads, {}, None)


def _order(saved: Saved, manifests: Sequence[Manifest]) -> Mapping[str, Any]:
    """The order as this side would have given it."""
    return {
        "artifacts": [
            {"id": f"a{i}", "proved": proved(manifests[row.manifest], {}, "")} for i, row in enumerate(saved.artifacts)
        ],
        "rounds": saved.rounds,
        "runs": saved.runs,
        "seconds": None,
        "sustained_minutes": 0,
        "first_round": 0,
        "warm_up": warm_up(),
    }


def _protocol(saved: Saved) -> Protocol:
    return Protocol(
        rounds=saved.rounds,
        runs=saved.runs,
        seconds=None,
        end_to_end=True,
        memory=False,
        sustained_minutes=0,
        pictures="drawn by the page",
        seed=0,
    )
