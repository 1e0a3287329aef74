"""What a benchmark yields: the values behind every report, and the schema of its JSON.

Written and read with ``spec.to_json`` and ``spec.from_json``. Every run that was timed is in here, in the order it was
made, in nanoseconds: nothing is clipped, averaged away or left out, so that every figure can be computed again. What
could not be read on a device is None, and shown as 'unknown': nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from edgecvx.results.accuracy import ArtifactIdentity, Interval
from edgecvx.results.figures import counted, milliseconds
from edgecvx.results.shown import as_printed
from edgecvx.runtimes.proof import Recheck
from edgecvx.spec import Calibration, WeightsSource

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """Which device it was, as far as it tells."""

    id: str
    """The same for every benchmark on this device and no other: a hash over what stays the same about it. It tells
    nothing about the device by itself; results with different ids are never ranked together."""
    name: str
    """How the user reached it: ``local``, ``ssh://pi@kitchen``, ``adb://SERIAL``."""
    hostname: str | None
    board: str | None
    """The model in the device tree, or the product's name in the firmware: ``Raspberry Pi 5 Model B Rev 1.0``."""
    soc: str | None
    cpu: str | None
    """The processor by its own name: ``Cortex-A76``, ``AMD EPYC 9R14``."""
    machine: str
    """``aarch64``, ``x86_64``, …"""
    cores: int | None
    """Processors this measurement could use."""
    memory_bytes: int | None
    os: str | None
    kernel: str | None
    python: str | None
    numpy: str | None
    features: tuple[str, ...] | None
    """Those of the processor's instructions that matter here: ``asimddp``, ``i8mm``, ``avx512_vnni``, …"""
    emulated: str | None
    """The emulator all of this ran in (``qemu``), where it was found out: times then say nothing about the device."""
    virtual: str | None
    """The hypervisor's name, where there is one: other guests share the machine."""
    facts: Mapping[str, str]
    """Whatever else was read: the delegate library, a Jetson's release, the firmware's version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """The state the device was in at one moment."""

    at: str
    """UTC, ISO 8601."""
    governor: str | None
    """``performance``; several, joined with commas, where cores differ."""
    mhz: tuple[float, ...] | None
    """The clock of each core now."""
    mhz_max: tuple[float, ...] | None
    celsius: Mapping[str, float] | None
    """Temperature by sensor."""
    throttled: tuple[str, ...] | None
    """What holds the clock back, now or since boot, in the device's words; empty where nothing does."""
    power_mode: str | None
    """A Jetson's nvpmodel."""
    load: float | None
    """The load average over the last minute, before anything was measured."""
    memory_available_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Runs of one artifact in a row, between two turns of the others."""

    round: int
    started: float
    """Seconds since the benchmark began on the device."""
    samples_ns: tuple[int, ...]
    parts_ns: Mapping[str, tuple[int, ...]]
    """End to end only: ``decode``, ``prepare``, ``infer``, ``rank``, as many of each as there are samples."""
    yardstick_ns: int | None
    """A fixed piece of work that has nothing to do with the model, timed right before this turn: the machine's own
    noise and drift."""
    celsius: float | None = None
    """The hottest sensor after the turn."""
    mhz: float | None = None
    """The fastest core after the turn."""
    settle_ns: tuple[int, ...] = ()
    """The runs right before those: they find the caches of the artifact before, and count for nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentile:
    """A percentile, of which there are enough samples to speak."""

    q: float
    ms: float
    interval: Interval | None
    """95%, from the order of the samples alone, in milliseconds."""
    no_interval: str | None = None
    """Why there is none: what the samples share leaves too few of them for its ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What all samples of a kind add up to. Milliseconds."""

    samples: int
    mean: float
    min: float
    max: float
    """The slowest run of all: an outlier stays visible."""
    percentiles: tuple[Percentile, ...]
    """p50 always; p90, p95 and p99 from 64, 130 and 662 samples on."""
    per_second: float
    """Pictures a second, one batch after the other: the batch over the mean."""
    parts: Mapping[str, float]
    """End to end only: the median of each part."""


def percentile(summary: Summary | None, q: float) -> Percentile | None:
    """The one asked for; None where there are too few samples for it."""
    return next((p for p in summary.percentiles if abs(p.q - q) < 1e-9), None) if summary else None


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmUp:
    """The runs before anything counts."""

    samples_ns: tuple[int, ...]
    steady: bool
    """Whether the times had settled by the end; False where patience ran out first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """From a process in which nothing else was done. Bytes; resident memory."""

    runtime: int | None
    """After the runtime was loaded, before the file was opened."""
    model: int | None
    """What opening the file and its first runs added."""
    peak: int | None
    """The most the process ever held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sustained:
    """Runs without a pause, for minutes."""

    seconds: float
    windows: tuple[Turn, ...]
    """A few seconds each, ``round`` counting up."""
    slowdown: Interval | None
    """The 95% interval of the ratio below."""
    slowdown_ratio: float | None
    """The last tenth of the time over the first: the median of all ratios between a window of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolTimings:
    """Figures a tool of the runtime's own gave, where it gives no single runs. Milliseconds."""

    tool: str
    runs: int
    mean: float
    min: float | None
    max: float | None
    std: float | None
    means: tuple[float, ...] = ()
    """Of each round, in the order they were made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One artifact in one runtime with one number of threads, on one device."""

    id: str
    """Within this device: ``a0``, ``a1``, …; what ``Ratio`` refers to."""
    identity: ArtifactIdentity
    """``runtime_version`` is the one on the device."""
    weights: WeightsSource
    calibration: Calibration | None
    fp32_bytes: int | None
    """What the same weights take in float32, where the manifest says."""
    int8_share: float | None
    """The part of the multiply-accumulates that the file does in INT8."""
    kept_float: Mapping[str, str]
    batch: int
    threads: int | None
    """None where the runtime chose."""
    options: Mapping[str, str]
    """Of the runtime."""
    backend: str | None
    """The delegate or provider that really ran: ``XNNPACK, 1 of 1 nodes``, ``CPUExecutionProvider``."""
    arithmetic: str | None
    """What the runtime says it computes floats in, where it may choose: ``f32``, ``bf16``."""
    threads_told: int | None = None
    """How many threads the runtime says it took; OpenVINO takes no more than there are cores, whatever it is given."""
    error: str | None = None
    """Why there are no figures, or not all of them."""
    recheck: Recheck | None = None
    """What came of asking the file again on this device, where it was not proved on such a processor or runtime."""
    load_ns: int | None = None
    first_ns: int | None = None
    warm_up: WarmUp | None = None
    model: tuple[Turn, ...] = ()
    """The model alone: an array in, arrays out."""
    end_to_end: tuple[Turn, ...] = ()
    """From the bytes of a picture file to the five likeliest classes."""
    end_to_end_note: str | None = None
    """Why there is no end to end."""
    model_summary: Summary | None = None
    end_to_end_summary: Summary | None = None
    memory: Memory | None = None
    sustained: Sustained | None = None
    told: ToolTimings | None = None

    _repr_pretty_ = as_printed

    def __str__(self) -> str:
        """The file, its threads, and the median of the model alone."""
        threads = counted(self.threads, "thread") if self.threads is not None else None
        p50 = percentile(self.model_summary, 0.5)
        time = f"p50 {milliseconds(p50.ms, p50.interval)}" if p50 is not None else None
        return ", ".join(filter(None, (self.identity.file, threads, time, self.error)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """How long one takes against another, from turns that lay side by side."""

    of: str
    against: str
    """Both are ``Measured.id``."""
    value: float
    """Below 1: ``of`` is faster."""
    interval: Interval | None
    """95%; None with too few rounds."""
    rounds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """How steady the machine itself was, by the yardstick."""

    samples: int
    spread: float
    """The middle half of all times over the median: 0.02 is two percent."""
    drift: float
    """The median of the last third over that of the first, less 1."""
    slowest: float
    """The slowest over the median."""
    verdict: Literal["quiet", "noisy", "drifting"]
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceBench:
    """Everything that was measured on one device in one call."""

    fingerprint: Fingerprint
    before: Conditions
    after: Conditions | None
    """None where the device was lost on the way."""
    measured: tuple[Measured, ...]
    ratios: tuple[Ratio, ...]
    """Of every two artifacts of the same batch that have samples, each pair once; model alone."""
    noise: Noise | None
    interruptions: int
    """How often the connection was lost and the measurement taken up again."""
    error: str | None = None
    """Why this device has no figures, or not all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How it was measured."""

    rounds: int
    runs: int | None
    """Samples asked for per artifact; None where a time was given."""
    seconds: float | None
    end_to_end: bool
    memory: bool
    sustained_minutes: float
    pictures: str
    """Where the pictures came from: ``demo`` or a folder's name."""
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """A limit for continuous integration."""

    kind: Literal["max_p50", "max_ratio"]
    limit: float
    device: str
    """``Fingerprint.name``."""
    measured: str
    against: str | None
    value: float | None
    interval: Interval | None
    verdict: Literal["pass", "fail", "undecided"]
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """One call of ``edgecvx bench``."""

    schema_version: int = SCHEMA_VERSION
    kind: Literal["benchmark"] = "benchmark"
    edgecvx: str
    protocol: Protocol
    devices: tuple[DeviceBench, ...]
    gates: tuple[GateResult, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0: measured, and every gate passed; 1: a gate failed or is undecided; 2: something could not be measured."""
        if any(d.error is not None or any(m.error is not None for m in d.measured) for d in self.devices):
            return 2
        return 1 if any(g.verdict != "pass" for g in self.gates) else 0

    _repr_pretty_ = as_printed

    def __str__(self) -> str:
        rows = [f"{d.fingerprint.name}: {said}" for d in self.devices for said in (*d.measured, d.error) if said]
        gates = [gate.sentence for gate in self.gates]
        return "\n".join([*rows, *gates, *(f"warning: {warning}" for warning in self.warnings)])
