"""What a reader of latencies must know before believing them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from edgecvx.results import statistics
from edgecvx.results.figures import counted
from edgecvx.results.latency import Conditions, DeviceBench, Fingerprint, Measured, Ratio, percentile
from edgecvx.spec import is_quantized

_BUSY = 0.5
"""Load per core, before anything was measured, from which on others are using the machine."""
_INT8_X86 = ("avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8")
_INT8_ARM = ("asimddp", "i8mm")
_PARTLY = re.compile(r"(\d{1,6}) of (\d{1,6}) nodes")
_ON_GPU = "tensorrt"
"""The runtime to which neither threads nor the processor's instructions mean anything."""
_GAINS = 0.95
"""Part of FP32's time below which INT8 gains something: less is not worth a file whose answers differ."""
_NAMED = 3
"""Of the operators that stay in floats."""


def warnings_of(devices: Sequence[DeviceBench]) -> tuple[str, ...]:
    """Sentences over all devices, each once."""
    found = [f"{d.fingerprint.name}: {sentence}" for d in devices for sentence in of_device(d)]
    same = Counter(d.fingerprint.id for d in devices if d.fingerprint.id != "unknown")
    for d in devices:
        if same.pop(d.fingerprint.id, 1) > 1:
            names = " and ".join(o.fingerprint.name for o in devices if o.fingerprint.id == d.fingerprint.id)
            found.append(f"{names} are one and the same device: they were measured at once and slowed each other down")
    return tuple(dict.fromkeys(found))


def of_device(device: DeviceBench) -> Iterator[str]:
    """Sentences over one device, without its name."""
    fingerprint = device.fingerprint
    if fingerprint.emulated is not None:
        yield f"EMULATED ({fingerprint.emulated}): the times are the emulator's, and no latencies of the device"
    if not any(m.model for m in device.measured):
        return
    yield from _of_conditions(fingerprint, device.before, device.after)
    if device.noise is not None and device.noise.verdict != "quiet":
        yield f"the machine was {device.noise.verdict}: a fixed piece of work did not take a fixed time there"
    if device.interruptions:
        yield f"the connection was lost {counted(device.interruptions, 'time')}, and the measurement taken up again"
    yield from _of_threads(device)
    for m in device.measured:
        if m.warm_up is not None and not m.warm_up.steady and m.model:
            yield f"{m.identity.file} had not become steady when its warm-up ended"
    for m in device.measured:
        if m.options.get("delegate") == "xnnpack" and (m.backend or "").startswith("plain kernels"):
            yield f"{m.identity.file} was to run in XNNPACK, which took none of it: these are times of plain kernels"
    yield from _of_intervals(device)
    yield from _of_int8(device)


def _of_intervals(device: DeviceBench) -> Iterator[str]:
    """The p90 that are given without an interval, and why."""
    found = [(m, p90.no_interval) for m in device.measured if (p90 := percentile(m.model_summary, 0.9))]
    without = [(m.identity.file, reason) for m, reason in found if reason]
    if without:
        (file, reason), others = without[0], len(without) - 1
        more = f", nor of {counted(others, 'other')}" if others else ""
        yield f"no interval is given of p90 of {file}{more}: {reason}; --rounds and --seconds measure for longer"


def _of_conditions(fingerprint: Fingerprint, before: Conditions, after: Conditions | None) -> Iterator[str]:
    if before.governor is not None and set(before.governor.split(",")) != {"performance"}:
        yield (
            f"the frequency governor is {before.governor}, not performance: the clock follows the load, "
            "and with it every time"
        )
    throttled = dict.fromkeys((*(before.throttled or ()), *((after.throttled if after else None) or ())))
    if throttled:
        yield f"throttled: {', '.join(throttled)}; at its full clock the device is faster"
    if before.load is not None and fingerprint.cores and before.load > _BUSY * fingerprint.cores:
        yield f"a load average of {before.load:.1f} on {fingerprint.cores} cores before the start: others were using it"
    if fingerprint.virtual is not None:
        yield f"a virtual machine ({fingerprint.virtual}): other guests share the processor, unseen from here"


def _of_threads(device: DeviceBench) -> Iterator[str]:
    cores = device.fingerprint.cores
    numbers = sorted({m.threads for m in device.measured if m.threads is not None})
    if cores is not None and numbers and numbers[-1] > cores:
        yield f"{numbers[-1]} threads on {cores} cores: they wait for each other"
    for m in device.measured:
        if m.threads is not None and m.threads_told not in (None, m.threads):
            yield f"{m.identity.runtime} took {counted(m.threads_told or 0, 'thread')} where {m.threads} were given"
    left = {m.identity.runtime for m in device.measured if m.threads is None and m.model} - {_ON_GPU}
    if len(left) > 1:
        yield (
            f"threads were left to {', '.join(sorted(left))}, which choose differently: "
            "--threads 1, or another number, makes them comparable"
        )


def _of_int8(device: DeviceBench) -> Iterator[str]:
    """INT8 files that gain nothing over FP32 ones of the same network and runtime, why, and which form gains."""
    for m in device.measured:
        base, ratio = _against_fp32(device, m)
        if base is None or ratio is None or ratio.interval is None or ratio.interval.low <= _GAINS:
            continue
        reasons = list(_why_int8_is_slow(device.fingerprint, m))
        why = "; ".join(reasons) if reasons else "why is not known"
        yield (
            f"{m.identity.file} takes {ratio.value:.2f} times as long as {base.identity.file} "
            f"(95% interval {ratio.interval.low:.2f} to {ratio.interval.high:.2f}): "
            f"INT8 {'is slower' if ratio.interval.low > 1 else 'gains nothing'} here; {why}{_which_gains(device, m)}"
        )


def _which_gains(device: DeviceBench, of: Measured) -> str:
    """The INT8 file of the same network that gains most on this device, where one does."""
    found = []
    for m in device.measured:
        _, ratio = _against_fp32(device, m)
        same = (m.identity.model, m.identity.task, m.threads) == (of.identity.model, of.identity.task, of.threads)
        if same and ratio is not None and ratio.interval is not None and ratio.interval.high < _GAINS:
            found.append((ratio.value, m))
    if not found:
        return ""
    value, best = min(found, key=lambda pair: pair[0])
    return f"; {best.identity.file} gains, in {best.identity.runtime}: {value:.2f} times the time of its FP32 file"


def _against_fp32(device: DeviceBench, m: Measured) -> tuple[Measured | None, Ratio | None]:
    """The FP32 file an INT8 file is compared with, and their ratio; for any other file neither."""
    base = baseline(device.measured, m) if is_quantized(m.identity.precision) else None
    return base, None if base is None else statistics.ratio_of(device.ratios, m.id, base.id)


def _why_int8_is_slow(fingerprint: Fingerprint, m: Measured) -> Iterator[str]:
    features = fingerprint.features if m.identity.runtime != _ON_GPU else None
    wanted = _INT8_ARM if fingerprint.machine in ("aarch64", "arm64", "armv7l") else _INT8_X86
    if features is not None and not set(features) & set(wanted):
        yield f"this processor has none of the instructions that multiply bytes fast ({', '.join(wanted)})"
    if m.int8_share is not None and m.int8_share < 0.9:
        yield f"only {m.int8_share:.0%} of its multiply-accumulates are INT8"
    if m.backend is not None and m.backend.startswith("plain kernels"):
        yield "no delegate took the file, and plain kernels are slow"
    if (partly := _PARTLY.search(m.backend or "")) and int(partly[1]) < int(partly[2]):
        yield f"the delegate took {partly[1]} of {partly[2]} nodes"
    if m.kept_float:
        kept = list(m.kept_float)
        more = f" and {len(kept) - _NAMED} more" if len(kept) > _NAMED else ""
        yield f"in floats, with a conversion on either side: {', '.join(kept[:_NAMED])}{more}"


def baseline(measured: Sequence[Measured], of: Measured) -> Measured | None:
    """The FP32 file that an artifact is to be compared with: the same network, runtime, threads, options and batch.

    The first of them, which itself is compared with none.
    """
    for m in measured:
        if (
            m.identity.precision == "fp32"
            and (m.identity.model, m.identity.task) == (of.identity.model, of.identity.task)
            and (m.identity.runtime, m.threads, m.batch) == (of.identity.runtime, of.threads, of.batch)
            and dict(m.options) == dict(of.options)
        ):
            return None if m.id == of.id else m
    return None
