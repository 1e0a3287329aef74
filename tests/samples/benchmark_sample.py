"""Benchmarks with everything a report can show, made up and seeded: for the tests of the reports.

Three machines: a quiet-enough x86 guest, a Raspberry Pi 5 that gets hot, and an emulated board.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Sequence

import numpy as np
import validation_sample

from edgecvx.results.accuracy import ArtifactIdentity, ArtifactOutcome, Interval, Validation, VerdictKind
from edgecvx.results.latency import (
    Benchmark,
    Conditions,
    DeviceBench,
    Fingerprint,
    Measured,
    Memory,
    Noise,
    Percentile,
    Protocol,
    Ratio,
    Summary,
    Sustained,
    Turn,
    WarmUp,
)
from edgecvx.spec import Calibration, Task, WeightsSource

ROUNDS, RUNS = 20, 200
FP32_BYTES = 20_896_000
SIZES = {"fp32": 20_912_000, "fp16": 10_470_000, "int8": 5_480_192}
RUNTIMES = {
    "onnx": ("onnxruntime", "1.31.1", ".onnx", "CPUExecutionProvider"),
    "openvino": ("openvino", "2026.4.1", ".xml", "CPU"),
    "tflite": ("tflite", "2.3.0", ".tflite", "XNNPACK, 1 of 1 nodes"),
}
LATENCY = {  # of femto with one thread on the x86 guest, milliseconds
    ("onnx", "fp32"): 21.4,
    ("onnx", "int8"): 9.8,
    ("openvino", "fp32"): 19.2,
    ("openvino", "int8"): 7.1,
    ("tflite", "fp32"): 24.9,
    ("tflite", "fp16"): 25.2,
    ("tflite", "int8"): 27.3,  # slower: that is what a report has to explain
}
LOST: dict[tuple[str, str], tuple[VerdictKind, int, int]] = {
    ("onnx", "fp32"): ("pass", 0, 0),
    ("onnx", "int8"): ("pass", 14, 9),
    ("openvino", "fp32"): ("pass", 0, 0),
    ("openvino", "int8"): ("undecided", 29, 14),
    ("tflite", "fp32"): ("pass", 0, 0),
    ("tflite", "fp16"): ("pass", 3, 4),
    ("tflite", "int8"): ("fail", 71, 13),
}


def sha(name: str) -> str:
    """A made-up content hash."""
    return hashlib.sha256(name.encode()).hexdigest()


def identity(target: str, precision: str, *, model: str = "convnextv2_femto.demo") -> ArtifactIdentity:
    """The artifact of a model for a target in a precision."""
    runtime, version, suffix, _ = RUNTIMES[target]
    file = f"{model}-224-{precision}{suffix}"
    return ArtifactIdentity(
        file=file,
        sha256=sha(file),
        bytes=SIZES[precision],
        model=model,
        task=Task.CLASSIFY,
        target=target,
        format=suffix[1:],
        precision=precision,
        runtime=runtime,
        runtime_version=version,
    )


def validation() -> Validation:
    """The artifacts of the benchmarks, on the same 2,000 drawn pictures."""
    made = validation_sample.validation()
    outcomes = []
    for (target, precision), (kind, lost, gained) in LOST.items():
        closeness = {"fp32": -11.0, "fp16": -6.2, "int8": -2.4 - lost / 100}[precision]
        o = validation_sample.outcome(
            "x", kind, lost=lost, gained=gained, closeness=closeness, broken=19 if kind == "fail" else None
        )
        outcomes.append(
            dataclasses.replace(
                o,
                identity=identity(target, precision),
                layers=o.layers if (target, precision) == ("tflite", "int8") else (),
            )
        )
    return dataclasses.replace(made, artifacts=tuple(outcomes), warnings=())


def samples(seed: int, milliseconds: float, count: int, *, noise: float = 0.015) -> list[int]:
    """Runs as they come: a floor nothing goes below, a tail, and now and then something else took the processor."""
    rng = np.random.default_rng(seed)
    values = milliseconds * (1 - noise + rng.lognormal(math.log(noise), 0.7, count))
    values[rng.random(count) < 0.01] *= rng.uniform(1.3, 1.8)
    return [int(1e6 * v) for v in values]


def summary(nanoseconds: Sequence[int], *, parts: dict[str, float] | None = None) -> Summary:
    """What they add up to."""
    ms = np.sort(np.asarray(nanoseconds)) / 1e6
    n = len(ms)

    def at(q: float) -> Percentile:
        half = 1.96 * math.sqrt(q * (1 - q) * n)
        low, high = (min(n - 1, max(0, round(q * n + d))) for d in (-half, half))
        return Percentile(
            q=q, ms=float(np.quantile(ms, q)), interval=Interval(low=float(ms[low]), high=float(ms[high]))
        )

    least = {0.5: 1, 0.9: 64, 0.95: 130, 0.99: 662}
    return Summary(
        samples=n,
        mean=float(ms.mean()),
        min=float(ms[0]),
        max=float(ms[-1]),
        percentiles=tuple(at(q) for q, enough in least.items() if n >= enough),
        per_second=1e3 / float(ms.mean()),
        parts=parts or {},
    )


def turns(
    nanoseconds: Sequence[int], *, place: int, heat: float | None, parts: dict[str, float] | None = None
) -> tuple[Turn, ...]:
    """The samples in ``ROUNDS`` turns of equal length; ``heat`` is where the temperature ends."""
    rng = np.random.default_rng(place)
    each = max(1, len(nanoseconds) // ROUNDS)
    made = []
    for i in range(min(ROUNDS, len(nanoseconds))):
        got = tuple(nanoseconds[i * each : (i + 1) * each])
        warm = None if heat is None else 48 + (heat - 48) * (1 - math.exp(-i / 6)) + float(rng.normal(0, 0.4))
        made.append(
            Turn(
                round=i,
                started=round(3 + 2.5 * i + 0.21 * place, 3),
                samples_ns=got,
                parts_ns={name: tuple(int(share * v) for v in got) for name, share in (parts or {}).items()},
                yardstick_ns=int(2.04e6 * (1 + abs(rng.normal(0, 0.006)))),
                celsius=None if warm is None else round(warm, 1),
                mhz=None if heat is None else 2400.0 if (warm or 0) < 80 else 1800.0,
            )
        )
    return tuple(made)


PARTS = {"decode": 0.11, "prepare": 0.16, "infer": 0.72, "rank": 0.01}


def measured(
    number: int,
    who: ArtifactIdentity,
    milliseconds: float,
    *,
    threads: int | None = 1,
    runs: int = RUNS,
    heat: float | None = None,
    backend: str | None = None,
    outlier: float | None = None,
) -> Measured:
    """One artifact's figures; ``outlier`` is how many times the usual its slowest run takes."""
    taken = samples(number, milliseconds, runs)
    if outlier:
        taken[runs // 3] = int(outlier * milliseconds * 1e6)
    whole = samples(1000 + number, milliseconds / PARTS["infer"], runs)
    int8 = who.precision == "int8"
    return Measured(
        id=f"a{number}",
        identity=who,
        weights=WeightsSource(
            kind="demo", ref="demo.safetensors", layout="timm", sha256="ab" * 32, license="apache-2.0"
        ),
        calibration=Calibration(kind="demo", name="demo", count=2, sha256="cd" * 32, pictures=("1", "2"))
        if int8
        else None,
        fp32_bytes=FP32_BYTES,
        int8_share=(0.998 if who.target != "tflite" else 0.71) if int8 else None,
        kept_float={"Gelu": "the erf has no INT8 kernel"} if int8 and who.target == "tflite" else {},
        batch=1,
        threads=threads,
        options={},
        backend=backend or RUNTIMES[who.target][3],
        arithmetic="f32",
        load_ns=int(84e6),
        first_ns=int(3.1e6 * milliseconds),
        warm_up=WarmUp(
            samples_ns=tuple(int(1e6 * milliseconds * (1 + math.exp(-i / 3))) for i in range(25)), steady=True
        ),
        model=turns(taken, place=number, heat=heat),
        end_to_end=turns(whole, place=number, heat=heat, parts=PARTS),
        model_summary=summary(taken),
        end_to_end_summary=summary(whole, parts={name: share * whole[0] / 1e6 for name, share in PARTS.items()}),
        memory=Memory(runtime=48_000_000, model=2 * who.bytes, peak=52_000_000 + 3 * who.bytes),
    )


def ratios(rows: Sequence[Measured]) -> tuple[Ratio, ...]:
    """Every pair, once."""
    made = []
    for i, of in enumerate(rows):
        for against in rows[:i]:
            if of.model_summary and against.model_summary:
                value = of.model_summary.percentiles[0].ms / against.model_summary.percentiles[0].ms
                interval = Interval(low=0.985 * value, high=1.015 * value)
                made.append(Ratio(of=of.id, against=against.id, value=value, interval=interval, rounds=ROUNDS))
    return tuple(made)


def laptop() -> DeviceBench:
    """A guest on somebody's server: seven artifacts, two of them also with two threads, and one that died."""
    rows = [measured(i, identity(*key), ms) for i, (key, ms) in enumerate(LATENCY.items())]
    rows[0] = measured(0, identity("onnx", "fp32"), LATENCY["onnx", "fp32"], outlier=11)
    rows += [
        measured(len(rows) + i, identity(*key), LATENCY[key] / 1.8, threads=2)
        for i, key in enumerate((("onnx", "fp32"), ("onnx", "int8")))
    ]
    broken = dataclasses.replace(
        measured(len(rows), identity("openvino", "fp16"), 1.0),
        model=(), end_to_end=(), model_summary=None, end_to_end_summary=None, memory=None, warm_up=None,
        load_ns=None, first_ns=None, error="openvino died with SIGSEGV while the file was opened",
    )  # fmt: skip
    return DeviceBench(
        fingerprint=Fingerprint(
            id="1a2b3c4d5e6f7081",
            name="local",
            hostname="build-7",
            board=None,
            soc=None,
            cpu="AMD EPYC 7B13",
            machine="x86_64",
            cores=2,
            memory_bytes=16_800_000_000,
            os="Debian GNU/Linux 13 (trixie)",
            kernel="6.12.0",
            python="3.13.5",
            numpy="2.4.1",
            features=("avx2", "fma"),
            emulated=None,
            virtual="kvm",
            facts={},
        ),
        before=conditions(0, load=0.31),
        after=conditions(9, load=1.04),
        measured=(*rows, broken),
        ratios=ratios(rows),
        noise=noise("quiet", 0.011, 0.004),
        interruptions=0,
    )


def pi() -> DeviceBench:
    """A Raspberry Pi 5 without a fan: it gets hot, and says so."""
    rows = [
        measured(
            i, identity(*key), 1.9 * LATENCY[key] * (0.55 if key == ("tflite", "int8") else 1), threads=4, heat=83.0
        )
        for i, key in enumerate((("onnx", "fp32"), ("onnx", "int8"), ("tflite", "fp32"), ("tflite", "int8")))
    ]
    rows[3] = dataclasses.replace(rows[3], sustained=sustained(28.5))
    return DeviceBench(
        fingerprint=Fingerprint(
            id="9f8e7d6c5b4a3921",
            name="ssh://pi@kitchen",
            hostname="kitchen",
            board="Raspberry Pi 5 Model B Rev 1.0",
            soc="BCM2712",
            cpu="Cortex-A76",
            machine="aarch64",
            cores=4,
            memory_bytes=8_450_000_000,
            os="Debian GNU/Linux 12 (bookworm)",
            kernel="6.6.51+rpt-rpi-2712",
            python="3.11.2",
            numpy="1.24.2",
            features=("asimd", "asimddp"),
            emulated=None,
            virtual=None,
            facts={"firmware": "2026-01-08"},
        ),
        before=conditions(0, load=0.04, governor="ondemand", celsius=48.1, mhz=1500.0),
        after=conditions(
            11, load=3.6, governor="ondemand", celsius=83.4, mhz=1800.0, throttled=("soft temperature limit",)
        ),
        measured=tuple(rows),
        ratios=ratios(rows),
        noise=noise("drifting", 0.014, 0.083),
        interruptions=1,
    )


def emulated() -> DeviceBench:
    """The same file under qemu: everything works, and no time means anything."""
    rows = [
        measured(0, identity("tflite", "int8"), 2900.0, runs=20),
        measured(1, identity("onnx", "fp32"), 4100.0, runs=20),
    ]
    made = pi()
    return dataclasses.replace(
        made,
        fingerprint=dataclasses.replace(
            made.fingerprint,
            id="00ff00ff00ff00ff",
            name="ssh://board@127.0.0.1:2222",
            hostname="board",
            board=None,
            soc=None,
            cpu=None,
            emulated="qemu",
            features=None,
            facts={},
        ),
        before=conditions(0, load=0.2),
        after=None,
        measured=tuple(rows),
        ratios=ratios(rows),
        noise=None,
        interruptions=0,
    )


def sustained(milliseconds: float) -> Sustained:
    """Ten minutes in which the clock falls after four."""
    rng = np.random.default_rng(9)
    windows = []
    for i in range(150):
        warm = 48 + 37 * (1 - math.exp(-i / 35))
        slow = 1.0 if warm < 82 else 1.31
        got = [int(1e6 * milliseconds * slow * (1 + abs(rng.normal(0, 0.01)))) for _ in range(40)]
        windows.append(
            Turn(
                round=i,
                started=4.0 * i,
                samples_ns=tuple(got),
                parts_ns={},
                yardstick_ns=None,
                celsius=round(warm, 1),
                mhz=2400.0 if slow == 1 else 1800.0,
            )
        )
    return Sustained(seconds=600.0, windows=tuple(windows), slowdown=Interval(low=1.30, high=1.32), slowdown_ratio=1.31)


def conditions(
    minute: int,
    *,
    load: float,
    governor: str | None = None,
    celsius: float | None = None,
    mhz: float | None = None,
    throttled: tuple[str, ...] | None = (),
) -> Conditions:
    """At a minute of one morning."""
    return Conditions(
        at=f"2026-03-01T09:{minute:02}:00Z",
        governor=governor,
        mhz=(mhz,) * 4 if mhz else None,
        mhz_max=(2400.0,) * 4 if mhz else None,
        celsius={"cpu": celsius} if celsius else None,
        throttled=throttled,
        power_mode=None,
        load=load,
        memory_available_bytes=6_000_000_000,
    )


def noise(verdict: str, spread: float, drift: float) -> Noise:
    """What the yardstick said."""
    return Noise(
        samples=180,
        spread=spread,
        drift=drift,
        slowest=1.4,
        verdict=verdict,  # type: ignore[arg-type]
        sentence=f"the fixed work took {100 * spread:.1f}% more or less, and {100 * drift:.1f}% longer at the end",
    )


def benchmark(*devices: DeviceBench) -> Benchmark:
    """One call; all three machines where none is named."""
    return Benchmark(
        edgecvx="0.1.0",
        protocol=Protocol(
            rounds=ROUNDS,
            runs=RUNS,
            seconds=None,
            end_to_end=True,
            memory=True,
            sustained_minutes=0,
            pictures="demo",
            seed=0,
        ),
        devices=devices or (laptop(), pi(), emulated()),
    )


def many(count: int = 200) -> tuple[Validation, Benchmark]:
    """So many artifacts on one device, and a validation of each."""
    rng = np.random.default_rng(5)
    sizes = {"atto": 0.7, "femto": 1.0, "pico": 1.7, "nano": 2.9, "tiny": 5.5}
    rows: list[Measured] = []
    outcomes: list[ArtifactOutcome] = []
    kinds: tuple[VerdictKind, ...] = ("pass", "pass", "pass", "undecided", "fail")
    for i in range(count):
        variant, factor = list(sizes.items())[i % 5]
        target, precision = list(LATENCY)[(i // 5) % len(LATENCY)]
        who = identity(target, precision, model=f"convnextv2_{variant}.run{i // 35}")
        rows.append(measured(i, who, factor * LATENCY[target, precision] * float(rng.uniform(0.9, 1.1))))
        o = validation_sample.outcome(
            who.file, kinds[i % 7 % 5], lost=2 + i % 40, gained=2 + i % 9, closeness=-2.5, broken=None
        )
        outcomes.append(dataclasses.replace(o, identity=who, layers=o.layers if i % 10 == 0 else ()))
    bench = dataclasses.replace(laptop(), measured=tuple(rows), ratios=ratios(rows))
    return dataclasses.replace(validation(), artifacts=tuple(outcomes)), benchmark(bench)


def hostile(text: str) -> Benchmark:
    """All three machines with ``text`` wherever a stranger chooses the words."""

    def spoil_measured(m: Measured) -> Measured:
        return dataclasses.replace(
            m,
            identity=dataclasses.replace(
                m.identity, file=text, model=text, target=text, runtime=text, runtime_version=text
            ),
            weights=dataclasses.replace(m.weights, ref=text, license=text),
            calibration=m.calibration and dataclasses.replace(m.calibration, name=text),
            kept_float={text: text} if m.kept_float else {},
            options={text: text},
            backend=text,
            arithmetic=text,
            end_to_end_note=text,
        )

    def spoil(d: DeviceBench) -> DeviceBench:
        f = d.fingerprint
        emulator = text if f.emulated else None
        after = d.after and dataclasses.replace(d.after, governor=text, throttled=(text,), celsius={text: 50.0})
        return dataclasses.replace(
            d,
            fingerprint=dataclasses.replace(
                f,
                name=text,
                hostname=text,
                board=text,
                soc=text,
                cpu=text,
                os=text,
                kernel=text,
                python=text,
                numpy=text,
                virtual=text,
                emulated=emulator,
                features=(text,),
                facts={text: text},
            ),
            before=dataclasses.replace(d.before, governor=text, throttled=(text,), power_mode=text),
            after=after,
            measured=tuple(map(spoil_measured, d.measured)),
            noise=d.noise and dataclasses.replace(d.noise, sentence=text),
            error=text,
        )

    made = benchmark()
    return dataclasses.replace(
        made,
        edgecvx=text,
        protocol=dataclasses.replace(made.protocol, pictures=text),
        devices=tuple(map(spoil, made.devices)),
        warnings=(text,),
    )
