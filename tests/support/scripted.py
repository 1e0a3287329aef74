"""A device that measures nothing and tells what it is scripted to: benchmarks whose every time is known."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from edgecvx.board import PROTOCOL
from edgecvx.errors import DeviceError
from edgecvx.latency.devices.collect import Collector
from edgecvx.latency.devices.job import Job
from edgecvx.results.accuracy import ArtifactIdentity
from edgecvx.results.latency import Measured
from edgecvx.spec import Task, WeightsSource

Latency = Callable[[str, int, int], int]
"""Nanoseconds of a run, from the artifact's id, the round and the number of the run in it."""

MILLISECOND = 1_000_000
NOTHING: Mapping[str, str] = MappingProxyType({})


def steady(artifact: str, round_: int, run: int) -> int:
    """A millisecond, and a microsecond more with each run of a turn."""
    return MILLISECOND + 1000 * run


def noisy(slower: Mapping[str, float], *, seed: int, spread: float = 0.02) -> Latency:
    """A machine as they are: tails without a variance, turns that share their luck, drift, and one drop of the clock.

    Args:
        slower: By how much an artifact takes longer than the first: ``{"a1": 1.05}``.
        seed: Of all of it.
        spread: The standard deviation that a turn's runs share, as a part of the time.
    """
    rng = np.random.default_rng(seed)
    drop, turns = rng.uniform(5, 15), dict[tuple[str, int], float]()

    def latency(artifact: str, round_: int, run: int) -> int:
        shared = turns.setdefault((artifact, round_), float(rng.normal(0, spread)))
        machine = 1 + 0.01 * round_ + (0.3 if round_ > drop else 0.0)
        own = slower.get(artifact, 1.0)
        return int(10 * MILLISECOND * own * machine * np.exp(shared) * (1 + 0.02 * abs(rng.standard_t(2))))

    return latency


def order(*names: str, **changes: Any) -> dict[str, Any]:
    """An order for these artifacts, with as much in it as the host's side reads."""
    return {
        "artifacts": [{"id": name, "threads": 1} for name in names],
        "rounds": 20,
        "runs": 200,
        "seconds": None,
        "end_to_end": False,
        "memory": False,
        "sustained_minutes": 0,
        "first_round": 0,
        "skip": {},
        "patience_seconds": 300,
        **changes,
    }


def job(*names: str, **changes: Any) -> Job:
    files: dict[str, Path | bytes] = {}
    return Job(order=order(*names, **changes), files=files)


def requested(name: str, *, batch: int = 1, precision: str = "fp32") -> Measured:
    """An artifact without figures."""
    return Measured(
        id=name,
        identity=ArtifactIdentity(
            file=f"{name}-{precision}.tflite",
            sha256=name * 8,
            bytes=1000,
            model="small",
            task=Task.CLASSIFY,
            target="tflite",
            format="tflite",
            precision=precision,
            runtime="tflite",
            runtime_version=None,
        ),
        weights=WeightsSource(kind="random", ref="0", layout="timm", sha256="0" * 64),
        calibration=None,
        fp32_bytes=None,
        int8_share=0.5 if precision == "int8" else None,
        kept_float={},
        batch=batch,
        threads=1,
        options={},
        backend=None,
        arithmetic=None,
    )


CONDITIONS: dict[str, Any] = {
    "at": "2026-01-02T03:04:05Z",
    "governor": "performance",
    "mhz": [1000.0],
    "mhz_max": [1000.0],
    "celsius": {"cpu": 40.0},
    "throttled": [],
    "power_mode": None,
    "load": 0.0,
    "memory_available_bytes": 1 << 30,
}
FINGERPRINT: dict[str, Any] = {
    "id": "0123456789abcdef",
    "hostname": "board",
    "board": "A board",
    "soc": None,
    "cpu": "Cortex-A76",
    "machine": "aarch64",
    "cores": 4,
    "memory_bytes": 4 << 30,
    "os": "Linux",
    "kernel": "6.1",
    "python": "3.11.2",
    "numpy": "2.0.0",
    "features": ["asimddp"],
    "emulated": None,
    "virtual": None,
    "facts": {},
}


def events(
    order: Mapping[str, Any],
    latency: Latency = steady,
    *,
    fingerprint: Mapping[str, Any] | None = None,
    conditions: Mapping[str, Any] | None = None,
) -> Iterator[dict[str, Any]]:
    """Everything a runner tells about an order, in its order."""
    state = {**CONDITIONS, **(conditions or {})}
    yield {"event": "hello", "protocol": PROTOCOL, "runner": "0", "python": "3.11.2", "numpy": "2.0.0"}
    yield {"event": "fingerprint", "fingerprint": {**FINGERPRINT, **(fingerprint or {})}}
    yield {"event": "before", "conditions": state}
    names = [a["id"] for a in order["artifacts"]]
    for name in names:
        if order["memory"] and "memory" not in order["skip"].get(name, ()):
            yield {"event": "memory", "id": name, "memory": {"runtime": 1000, "model": 500, "peak": 2000}}
    for name in names:
        opened = {"load_ns": 5 * MILLISECOND, "first_ns": 3 * MILLISECOND, "runtime_version": "2.3.0", "threads": 1}
        yield {"event": "opened", "id": name, **opened, "backend": "XNNPACK, 1 of 1 nodes", "arithmetic": None}
        yield {"event": "warm", "id": name, "samples_ns": [2 * MILLISECOND, MILLISECOND], "steady": True}
    runs = order["runs"] // order["rounds"]
    started = 0.0
    for round_ in range(order["first_round"], order["rounds"]):
        for name in names if round_ % 2 == 0 else names[::-1]:
            samples = [latency(name, round_, run) for run in range(runs)]
            yield {"event": "turn", "id": name, "kind": "model", "turn": turn(round_, samples, started)}
            started += sum(samples) / 1e9
        yield {"event": "round", "round": round_ + 1, "of": order["rounds"]}
    if order["sustained_minutes"]:
        for name in names:
            if "sustained" not in order["skip"].get(name, ()):
                for window in range(20):
                    samples = [MILLISECOND + 10_000 * window] * 5
                    yield {"event": "window", "id": name, "turn": turn(window, samples, started + 3 * window)}
    yield {"event": "after", "conditions": state}
    yield {"event": "done"}


def turn(round_: int, samples: Sequence[int], started: float = 0.0, **parts: Sequence[int]) -> dict[str, Any]:
    return {
        "round": round_,
        "started": started,
        "samples_ns": list(samples),
        "parts_ns": {name: list(times) for name, times in parts.items()},
        "yardstick_ns": 2 * MILLISECOND,
    }


class ScriptedDevice:
    """Tells the events of its job, with changes; may fail on the way."""

    def __init__(
        self,
        name: str = "scripted",
        latency: Latency = steady,
        *,
        fails_after: int | None = None,
        fingerprint: Mapping[str, Any] | None = None,
        conditions: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name
        self._latency, self._fails_after = latency, fails_after
        self._fingerprint, self._conditions = fingerprint, conditions
        self.jobs: list[Job] = []

    def measure(self, job: Job, collector: Collector, *, stop: threading.Event) -> None:
        self.jobs.append(job)
        told = events(job.order, self._latency, fingerprint=self._fingerprint, conditions=self._conditions)
        for number, event in enumerate(told):
            if number == self._fails_after:
                raise DeviceError(f"{self.name}: the cable came loose")
            collector.add(event)
