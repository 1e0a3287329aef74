"""How long files take where they run: the same runner on this machine, a board or a phone, and what came of it.

Every artifact lives in a process of its own on the device. They take turns, in an order that is reversed every other
round (A B B A), so that whatever changes meanwhile changes for all of them; docs/latency.md says how figures are made.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from pathlib import Path
from typing import TypeVar

from edgecvx import __version__
from edgecvx.data.dataset import DEMO
from edgecvx.errors import DeviceError, EdgecvxError, UsageError
from edgecvx.latency.devices import is_browser, open_browsers, open_device
from edgecvx.latency.devices.base import Device
from edgecvx.latency.devices.collect import At, Collector
from edgecvx.latency.devices.job import WAIT_MINUTES, Job
from edgecvx.latency.gates import check_limits, judge
from edgecvx.latency.request import ArtifactFiles, make_job, read_choice, read_pictures, read_threads
from edgecvx.latency.warnings import warnings_of
from edgecvx.manifest import without_manifests
from edgecvx.results.latency import SCHEMA_VERSION, Benchmark, DeviceBench, Measured, Protocol
from edgecvx.results.texts import read_result, writable
from edgecvx.spec import to_json
from edgecvx.web.visits.invitation import Invitation

SCHEMA_FILE = "benchmark.schema.json"
"""In ``edgecvx/assets``: the JSON schema of ``as_json``, made by ``tools/schema.py``."""
RUNS = 200
"""Samples of each artifact where nothing is said: enough for p95."""
_MOST_RUNS, _MOST_ROUNDS, _DAY = 10_000_000, 1_000, 86_400.0


def benchmark(
    artifacts: str | Path | Sequence[str | Path],
    *,
    devices: str | Sequence[str | Device] = ("local",),
    threads: Sequence[int | None] | None = None,
    runs: int | None = None,
    seconds: float | None = None,
    rounds: int = 20,
    end_to_end: bool = True,
    memory: bool = True,
    sustained_minutes: float = 0,
    data: str | Path = DEMO,
    runtimes: Sequence[str] = (),
    python: str | None = None,
    adb_benchmark: str | None = None,
    invitation: Invitation | None = None,
    max_p50: float | None = None,
    max_ratio: float | None = None,
    against: str | Path | None = None,
    seed: int = 0,
    wait_minutes: float = WAIT_MINUTES,
    on_progress: Callable[[At], None] | None = None,
) -> Benchmark:
    """Measures how long artifacts take on devices.

    Args:
        artifacts: Files that ``edgecvx export`` wrote.
        devices: ``local``, ``ssh://user@host[:port]``, ``adb://SERIAL``, ``browser[:N]``; several are measured side by
            side.
        threads: How many threads the runtimes may use; several are measured in turn. None leaves it to the runtimes.
        runs: Samples of each artifact, 200 where neither this nor ``seconds`` is given.
        seconds: In place of that: how long each artifact is run, over all rounds.
        rounds: How many turns each artifact has; ratios and their intervals come from the rounds.
        end_to_end: Whether to measure from the picture file to the classes as well.
        memory: Whether to measure memory, in a process of its own.
        sustained_minutes: How long each artifact is run without a pause afterwards; 0 for not at all.
        data: A folder of pictures, or ``demo`` for drawn ones.
        runtimes: ``NAME:KEY=VALUE``: other options for a runtime, each in place of the runtime's own.
        python: The command of the devices' Python.
        adb_benchmark: For ``adb://``: the path of LiteRT's ``benchmark_model`` for the phone's processor.
        invitation: For ``browser``: where the page is served, how long browsers are waited for, and who shows the link.
        max_p50: A gate: milliseconds that the median of the model alone may take.
        max_ratio: A gate: how many times as long as ``against`` an artifact may take.
        against: That file; measured too if it is not among the artifacts.
        seed: Of the choice of pictures.
        wait_minutes: How long to wait for a device on which somebody else measures.
        on_progress: Called as it goes on, from the threads of the devices.

    Returns:
        Everything that was measured; a device or an artifact that failed has an error there and stops no other.

    Raises:
        EdgecvxError: The request cannot be carried out, or no device could measure anything.
    """
    check_limits(max_p50, max_ratio, against)
    numbers, choices = read_threads(threads), [read_choice(text) for text in dict.fromkeys(runtimes)]
    named = [devices] if isinstance(devices, str) else list(devices)
    opened: list[Device] = []
    for d in named:
        if isinstance(d, str) and is_browser(d):
            opened += open_browsers(d, invitation or Invitation())
        else:
            opened.append(open_device(d, python=python, adb_benchmark=adb_benchmark) if isinstance(d, str) else d)
    if sum(isinstance(d, str) and is_browser(d) for d in named) > 1:
        raise UsageError("--device names browsers twice: browser:N is N of them, behind one link")
    if not opened or len({d.name for d in opened}) < len(opened):
        raise UsageError("--device names no device, or one twice")
    if adb_benchmark is not None and not any(d.name.startswith("adb://") for d in opened):
        raise UsageError(f"--adb-benchmark {adb_benchmark} goes with a device adb://SERIAL, and there is none")
    protocol = Protocol(
        rounds=_within("--rounds", rounds, 1, _MOST_ROUNDS),
        runs=(RUNS if runs is None else runs) if seconds is None else None,
        seconds=seconds,
        end_to_end=end_to_end,
        memory=memory,
        sustained_minutes=_within("--sustained", sustained_minutes, 0, _DAY / 60),
        pictures=DEMO,
        seed=_within("--seed", seed, 0, 1_000_000),
    )
    protocol = _checked(protocol, runs)
    artifact_files, base = _artifact_files(artifacts, against, [d.name for d in opened])
    pictures = read_pictures(data, seed)
    protocol = dataclasses.replace(protocol, pictures=pictures.name)
    job, requested = make_job(artifact_files, threads=numbers, choices=choices, pictures=pictures, protocol=protocol)
    job = dataclasses.replace(job, wait_seconds=60 * _within("--wait", wait_minutes, 0, _DAY / 60))
    results = _measure(opened, job, requested, on_progress)
    return Benchmark(
        edgecvx=__version__,
        protocol=protocol,
        devices=results,
        gates=tuple(g for d in results for g in judge(d, max_p50=max_p50, max_ratio=max_ratio, against=base)),
        warnings=warnings_of(results),
    )


def as_json(benchmark: Benchmark) -> str:
    """The benchmark as JSON, one object by the schema in ``assets``; ``read_json`` takes it back.

    Indented but for the samples, which take a line each turn.
    """
    text = json.dumps(to_json(benchmark), indent=1, ensure_ascii=False, allow_nan=False)
    text = _NUMBERS.sub(lambda found: " ".join(found[0].split()), text) + "\n"
    return writable(text)


def read_json(text: str) -> Benchmark:
    """The benchmark that ``as_json`` wrote.

    Raises:
        EdgecvxError: The text is something else.
    """
    return read_result(Benchmark, text, "benchmark", SCHEMA_VERSION)


_NUMBERS = re.compile(r"\[\n\s*-?[\d.e+-]+(?:,\n\s*-?[\d.e+-]+)*\n\s*\]")
"""A list of numbers alone. No text holds the line breaks: JSON writes those of a text as ``\\n``."""
_Number = TypeVar("_Number", int, float)


def _within(name: str, value: _Number, least: float, most: float) -> _Number:
    if not least <= value <= most:  # a NaN is not either
        raise UsageError(f"{name} {value:g} does not work: it must be from {least:g} to {most:g}")
    return value


def _checked(protocol: Protocol, runs: int | None) -> Protocol:
    """The protocol, if it can be carried out; no more rounds than there are runs."""
    if protocol.seconds is not None:
        if runs is not None:
            raise UsageError("--runs and --seconds exclude each other: one of them says when enough was measured")
        _within("--seconds", protocol.seconds, 0.001, _DAY)
    if protocol.runs is not None:
        _within("--runs", protocol.runs, 1, _MOST_RUNS)
        return dataclasses.replace(protocol, rounds=min(protocol.rounds, protocol.runs))
    return protocol


def _artifact_files(
    artifacts: str | Path | Sequence[str | Path], against: str | Path | None, devices: Sequence[str]
) -> tuple[list[ArtifactFiles], str | None]:
    """The artifacts, with the one to compare against at the end where it is not among them; and that one's hash."""
    paths = without_manifests([artifacts] if isinstance(artifacts, str | Path) else artifacts)
    if not paths:
        raise UsageError("no artifact given")
    found = [ArtifactFiles.read(path) for path in paths]
    base = None
    if against is not None:
        measure = ArtifactFiles.read(against)
        base = measure.identity.sha256
        if base not in [c.identity.sha256 for c in found]:
            found.append(measure)
        for c in found:
            if c.batch != measure.batch:
                raise UsageError(
                    f"{c.path.name} takes {c.batch} pictures a run, {measure.path.name} {measure.batch}: "
                    "there is no ratio between different batches"
                )
        if all(c.identity.sha256 == base for c in found):
            raise UsageError(f"--against {measure.path.name} is all there is to measure: name another artifact")
    for c in found:
        if c.manifest.runtime == "coreml" and "local" in devices and sys.platform != "darwin":
            raise UsageError(
                f"{c.path.name}: off a Mac, Core ML files are computed by a reference executor, which has no latency "
                "worth a number; measure it with --device ssh:// on a Mac"
            )
    return found, base


def _measure(
    devices: Sequence[Device], job: Job, requested: Sequence[Measured], tell: Callable[[At], None] | None
) -> tuple[DeviceBench, ...]:
    """Drives all devices side by side; Ctrl-C ends what runs on each of them first."""
    stop = threading.Event()
    collectors = [Collector(job, requested, device=device.name, tell=tell) for device in devices]
    ends = [_started(device, job, collector, stop) for device, collector in zip(devices, collectors, strict=True)]
    try:
        while wait(ends, timeout=0.2).not_done:  # a wait without a limit would hold back Ctrl-C on some systems
            pass
    finally:
        stop.set()
        wait(ends)  # not for the threads: CPython takes one for ended whose join was interrupted
    errors = [end.exception() for end in ends]
    for error in errors:
        if error is not None and not isinstance(error, EdgecvxError):  # no device's fault
            raise error
    results = tuple(
        collector.result(None if error is None else str(error))
        for collector, error in zip(collectors, errors, strict=True)
    )
    if not any(m.model or m.told or m.error for d in results for m in d.measured):
        raise DeviceError("; ".join(dict.fromkeys(d.error or "nothing was measured" for d in results)))
    return results


def _started(device: Device, job: Job, collector: Collector, stop: threading.Event) -> Future[None]:
    """One device's measurement, in a thread of its own: it is idle but for the moments in which an event comes."""
    end: Future[None] = Future()

    def run() -> None:
        try:
            device.measure(job, collector, stop=stop)
            end.set_result(None)
        except BaseException as error:  # noqa: BLE001  # raised again by the thread that waits for this one
            end.set_exception(error)

    threading.Thread(target=run, name=f"edgecvx bench {device.name}", daemon=True).start()
    return end
