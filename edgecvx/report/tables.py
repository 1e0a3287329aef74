"""The tables of a report: what a row has in each column, and what there is to know of it, name by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edgecvx.report import words
from edgecvx.report.join import UNKNOWN, Accuracy, Row
from edgecvx.results.accuracy import ArtifactOutcome, DataInfo, LayerError, VerdictKind
from edgecvx.results.figures import (
    ABSENT,
    count,
    counted,
    decibels,
    interval_text,
    megabytes,
    milliseconds,
    percent,
    points,
    rate,
    sentence,
    span,
    times,
)
from edgecvx.results.latency import (
    Benchmark,
    Conditions,
    Fingerprint,
    Memory,
    Percentile,
    Summary,
    ToolTimings,
    WarmUp,
    percentile,
)

Pairs = tuple[tuple[str, str], ...]


def known(pairs: Mapping[str, str | None]) -> Pairs:
    """What there is of these, in order."""
    return tuple((name, value) for name, value in pairs.items() if value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a page's table."""

    link: str
    label: str
    verdict: VerdictKind | None
    cells: Sequence[Cell]
    file: str = ""
    marks: Sequence[str] = ()


# --- accuracy -------------------------------------------------------------------------------------------------------

JUDGED = ("top-1 FP32", "top-1 file", "change, points", "flips", "SQNR", "size")


def judged(a: Accuracy, *marks: str) -> Line:
    """What a validation says of an artifact, under the names in ``JUDGED``."""
    reference, artifact, change, interval, flips, sqnr = judged_cells(a.outcome)
    pairs = (artifact, ""), (change, interval if a.outcome.top1 else ""), (flips, ""), (sqnr, "")
    i = a.outcome.identity
    cells = ((reference, ""), *pairs, (megabytes(i.bytes), ""))
    return Line(link=a.key, label=i.file, verdict=a.outcome.verdict.kind, cells=cells, marks=marks)


def judged_cells(o: ArtifactOutcome) -> tuple[str, str, str, str, str, str]:
    """Top-1 of FP32 and of the file, the change and its interval, flips, SQNR."""
    top1 = o.top1
    flips = count(o.answers.flips) if o.answers else ABSENT
    sqnr = decibels(o.outputs[0].sqnr_db) if o.outputs else ABSENT
    if top1 is None:
        return ABSENT, ABSENT, ABSENT, ABSENT, flips, sqnr
    rates = percent(top1.reference.value), percent(top1.artifact.value)
    return *rates, points(top1.delta), span(top1.interval), flips, sqnr


def layer_cells(layer: LayerError) -> tuple[str, str, str, str, str]:
    """Name, kind, what is born here, what arrives in total, and the worst channel."""
    channel = f"{layer.channel} ({percent(layer.channel_share, 0)})" if layer.channel_share else ABSENT
    return layer.name, layer.kind, decibels(layer.local_sqnr_db), decibels(layer.sqnr_db), channel


# --- one row --------------------------------------------------------------------------------------------------------


def change(row: Row) -> str:
    """In percentage points against FP32; empty without labels."""
    return f"{points(row.paired.delta)} {span(row.paired.interval)}" if row.paired else ""


Cell = tuple[str, str]
"""A figure, and what stands below it."""
NO_INTERVAL = "no interval"


def _top1(row: Row) -> Cell:
    return (percent(row.top1) if row.top1 is not None else ABSENT), change(row)


def _quantile(q: float) -> Callable[[Row], Cell]:
    def cell(row: Row) -> Cell:
        found = percentile(row.summary, q)
        return (milliseconds(found.ms), interval_text(found.interval)) if found else (ABSENT, "")

    return cell


def _p50(row: Row) -> Cell:
    tool = row.measured.told if row.measured else None
    figure, interval = _quantile(0.5)(row)
    if row.p50 is None:
        return f"mean {milliseconds(tool.mean)}" if tool else ABSENT, interval
    return figure, interval


def _ratio(row: Row) -> Cell:
    ratio = row.against_fp32
    return (times(ratio.value), interval_text(ratio.interval) or NO_INTERVAL) if ratio else (ABSENT, "")


def _size(row: Row) -> Cell:
    return megabytes(row.identity.bytes), f"{percent(row.share, 0)} of FP32" if row.share is not None else ""


def _peak(row: Row) -> Cell:
    memory = row.measured.memory if row.measured else None
    peak = megabytes(memory.peak, 0) if memory and memory.peak is not None else ABSENT
    return peak, f"model {megabytes(memory.model, 0)}" if memory and memory.model is not None else ""


COLUMNS: Mapping[str, Callable[[Row], Cell]] = {
    "top-1": _top1,
    "p50": _p50,
    "p90": lambda row: (_quantile(0.9)(row)[0], ""),
    "time vs FP32": _ratio,
    "pictures/s": lambda row: (rate(row.summary.per_second) if row.summary else ABSENT, ""),
    "size": _size,
    "peak memory": _peak,
}
"""After the artifact's name and its verdict."""


def run_facts(row: Row) -> Pairs:
    """All that was measured of one row, to the last percentile."""
    m = row.measured
    if m is None:
        return ()
    return known(
        {
            "file": row.identity.file,
            "error": m.error,
            "runtime": f"{row.identity.runtime} {row.identity.runtime_version or UNKNOWN}",
            "backend": m.backend or UNKNOWN,
            "floats computed in": m.arithmetic,
            "proof": None if m.recheck is None else m.recheck.sentence,
            "threads, batch": f"{row.threads}, batch {m.batch}",
            "options": ", ".join(f"{name}={value}" for name, value in m.options.items()),
            "opening the file": milliseconds(m.load_ns / 1e6) if m.load_ns is not None else None,
            "first run": milliseconds(m.first_ns / 1e6) if m.first_ns is not None else None,
            "warm-up": _warm_up(m.warm_up) if m.warm_up else None,
            "model alone": _summed(m.model_summary) if m.model_summary else None,
            "end to end": _summed(m.end_to_end_summary) if m.end_to_end_summary else None,
            "no end to end": m.end_to_end_note,
            "told by": _timed_by(m.told) if m.told else None,
            "memory": _memory(m.memory) if m.memory else None,
            "in INT8": f"{percent(m.int8_share, 1)} of the multiply-accumulates" if m.int8_share is not None else None,
            "kept float": "; ".join(f"{op}: {why}" for op, why in m.kept_float.items()),
        }
    )


def _warm_up(w: WarmUp) -> str:
    return f"{counted(len(w.samples_ns), 'run')}, {'settled' if w.steady else 'not settled by then'}"


def _timed_by(t: ToolTimings) -> str:
    return f"{t.tool}: mean {milliseconds(t.mean)} of {counted(t.runs, 'run')}"


def _memory(m: Memory) -> str:
    known = (("runtime", m.runtime), ("model", m.model), ("peak", m.peak))
    return "; ".join(f"{name} {megabytes(size, 0)}" for name, size in known if size is not None)


def _summed(s: Summary) -> str:
    parts = [_in_words(p) for p in s.percentiles]
    whole = f"mean {milliseconds(s.mean)}, from {milliseconds(s.min)} to {milliseconds(s.max)}"
    return ", ".join([counted(s.samples, "run"), *parts, whole])


def _in_words(p: Percentile) -> str:
    why = f" ({NO_INTERVAL}: {p.no_interval})" if p.no_interval else ""
    return f"p{100 * p.q:g} {milliseconds(p.ms, p.interval)}{why}"


# --- a device -------------------------------------------------------------------------------------------------------


def device_facts(f: Fingerprint) -> Pairs:
    """Everything a device says, and what it does not say."""
    facts: dict[str, str | None] = {
        "board": f.board,
        "SoC": f.soc,
        "processor": f.cpu,
        "machine": f.machine,
        "cores used": None if f.cores is None else str(f.cores),
        "memory": None if f.memory_bytes is None else f"{f.memory_bytes / 1e9:.1f} GB",
        "instructions": None if f.features is None else ", ".join(f.features) or "none that matter here",
        "system": f.os,
        "kernel": f.kernel,
        "Python, numpy": f"{f.python or UNKNOWN}, {f.numpy or UNKNOWN}",
        "virtual machine": f.virtual or "no sign of one",
        "emulator": f.emulated or "no sign of one",
        "host name": f.hostname,
        "reached as": f.name,
        "fingerprint": f.id,
        **f.facts,
    }
    return tuple((name, value or UNKNOWN) for name, value in facts.items())


def conditions(before: Conditions, after: Conditions | None) -> tuple[tuple[str, str, str], ...]:
    """What a device's state was before and after, side by side."""
    later = _state(after) if after else {}
    return tuple((name, value or UNKNOWN, later.get(name) or UNKNOWN) for name, value in _state(before).items())


def _state(c: Conditions) -> dict[str, str | None]:
    return {
        "at": c.at,
        "governor": c.governor,
        "clock": _clock(c.mhz),
        "highest clock": _clock(c.mhz_max),
        "temperature": ", ".join(f"{sensor} {value:.1f} °C" for sensor, value in (c.celsius or {}).items()),
        "throttled": None if c.throttled is None else ", ".join(c.throttled) or "no",
        "power mode": c.power_mode,
        "load": None if c.load is None else f"{c.load:.2f}",
        "memory free": None if c.memory_available_bytes is None else f"{c.memory_available_bytes / 1e9:.1f} GB",
    }


def _clock(mhz: Sequence[float] | None) -> str:
    if not mhz:
        return UNKNOWN
    low, high = min(mhz), max(mhz)
    return f"{low:.0f} MHz" if round(low) == round(high) else f"{low:.0f} to {high:.0f} MHz"


# --- where it comes from --------------------------------------------------------------------------------------------


def origin(row: Row) -> Pairs:
    """Where an artifact comes from, to the byte."""
    i, weights, calibration = row.identity, row.weights, row.calibration
    facts: dict[str, str | None] = {
        "SHA-256 over its files": i.sha256,
        "size": f"{count(i.bytes)} bytes",
        "model": f"{i.model}, {i.task.value}",
        "target": f"{i.target} ({i.format}), {i.precision}",
    }
    if weights:
        facts["weights"] = f"{weights.kind} {weights.ref}, SHA-256 {weights.sha256}"
        facts["licence"] = weights.license or UNKNOWN
    if calibration:
        pictures = counted(calibration.count, "picture")
        facts["calibrated on"] = f"{calibration.name} ({calibration.kind}), {pictures}, SHA-256 {calibration.sha256}"
    if row.accuracy is None:
        return known({**facts, "accuracy over": "not validated"})
    o, data = row.accuracy.outcome, row.accuracy.data
    facts["accuracy run in"] = f"{o.identity.runtime} {o.identity.runtime_version or '(not installed there)'}"
    facts["accuracy over"] = f"{words.pictures(data)}, SHA-256 {data.sha256}"
    facts["verdict"] = sentence(o.verdict.reason)
    if o.reference:
        p = o.reference.preprocess
        facts["reference"] = f"{o.reference.model}, unfolded, PyTorch {o.reference.torch}"
        facts["preprocessing"] = (
            f"{p.resize} to {p.resized}, crop {p.size}, {p.interpolation}, mean {p.mean}, std {p.std}"
        )
    return known(facts)


def pictures(d: DataInfo) -> Pairs:
    """The pictures of a validation, and those that were left out."""
    chosen = f"{count(d.chosen)} of {count(d.available)}" + (f", drawn with seed {d.seed}" if d.limit else "")
    return (
        ("data", f"{d.name} ({d.kind})"),
        ("pictures", chosen),
        ("excluded, used for calibration", count(d.excluded_calibration)),
        *((f"left out: {reason}", count(number)) for reason, number in d.skipped_reasons.items()),
        ("SHA-256 over pictures and labels", d.sha256),
    )


def protocol(b: Benchmark) -> Pairs:
    """How a benchmark was measured."""
    p = b.protocol
    each = counted(p.runs, "run") if p.runs is not None else f"{p.seconds:g} seconds" if p.seconds is not None else ""
    return known(
        {
            "at": ", ".join(dict.fromkeys(d.before.at for d in b.devices)),
            "on": ", ".join(d.fingerprint.name for d in b.devices),
            "of each artifact": f"{each}, in {counted(p.rounds, 'round')} of alternating turns".lstrip(", "),
            "end to end": f"yes, pictures: {p.pictures}" if p.end_to_end else "no",
            "memory": "in a process of its own" if p.memory else "no",
            "without a pause": f"{p.sustained_minutes:g} minutes" if p.sustained_minutes else "no",
            "edgecvx": b.edgecvx,
        }
    )
