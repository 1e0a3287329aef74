"""What a report says, in words: headlines, recommendations, the figures of a row. The same in every form of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgecvx.report.join import UNKNOWN, DevicePart, Dossier, Pick, Row, comparable
from edgecvx.results.accuracy import DataInfo
from edgecvx.results.figures import (
    ABSENT,
    VERDICTS,
    between,
    count,
    counted,
    megabytes,
    milliseconds,
    percent,
    points,
    rate,
    sentence,
    span,
    times,
)
from edgecvx.results.latency import Conditions, Fingerprint, Memory, Summary, Told, WarmUp, percentile

Pairs = tuple[tuple[str, str], ...]


# --- headlines ------------------------------------------------------------------------------------------------------


def headline(dossier: Dossier) -> str:
    """What came out, in one line."""
    ranked = [device for device in dossier.devices if device.emulated is None]
    files = counted(len({row.identity.sha256 for row in dossier.rows}), "file")
    if not dossier.rows:
        return "Nothing was measured"
    if not dossier.devices:
        return f"{files}, validated and not yet timed"
    if not ranked:
        return f"{files}, run in an emulator"
    if len(ranked) > 1:
        told = "and what to take on each" if any(device.picks for device in ranked) else "side by side"
        return f"{files} on {counted(len(ranked), 'device')}, {told}"
    (device,) = ranked
    if device.picks:
        best = device.picks[0].row
        return f"On {device.title}, take {best.label}: {milliseconds(best.p50 or 0.0)}"
    verdicts = {row.verdict for row in comparable(device.rows)} - {None}
    if verdicts == {"undecided"}:
        return f"Too few pictures to tell what to take on {device.title}"
    if verdicts:
        return f"Nothing on {device.title} passes its gate"
    return f"{files}, timed on {device.title}"


def lead(dossier: Dossier) -> str:
    """What was measured, on what."""
    models = dict.fromkeys(row.identity.model for row in dossier.rows)
    told = ", ".join(models) if len(models) <= 3 else f"{len(models)} models"
    parts = [f"{told or 'No model'}."]
    if dossier.data:
        parts.append(f"Accuracy against FP32 PyTorch, over {' and '.join(map(pictures, dossier.data))}.")
    if dossier.devices:
        named = [d.title + (" (emulated)" if d.emulated is not None else "") for d in dossier.devices]
        parts.append(f"Latency on {' and '.join(filter(None, (', '.join(named[:-1]), named[-1])))}.")
    return " ".join(parts)


def pictures(data: DataInfo) -> str:
    """The pictures of a validation, in words."""
    if data.kind == "demo":
        return counted(data.chosen, "drawn picture")
    return f"{counted(data.chosen, 'picture')} of {data.name}"


def take(device: DevicePart) -> str:
    """What to pick on a device, in sentences with the numbers they rest on; empty where nobody validated."""
    if device.emulated is not None:
        return ""
    if not device.picks:
        return _nothing(device)
    told = [_take(device.picks[0], several=len(device.picks) > 1)]
    if second := runner_up(device.picks[0]):
        told.append(second)
    return " ".join(told)


def _take(pick: Pick, *, several: bool) -> str:
    row = pick.row
    p50 = percentile(row.summary, 0.5)
    interval = f" {between(p50.interval.low, p50.interval.high)}" if p50 and p50.interval else ""
    told = (
        f"The fastest that passes {'of all models ' if several else ''}is {row.label}: p50 {milliseconds(row.p50 or 0)}"
    )
    told += interval
    if row.summary:
        told += f", {rate(row.summary.per_second)} pictures a second"
    top1 = row.paired
    if top1:
        told += (
            f"; top-1 {percent(top1.artifact.value)}, {points(top1.delta)} {span(top1.interval)} points against FP32"
        )
    if row.against_fp32:
        told += f"; {times(row.against_fp32.value)} the time of the FP32 file"
    return told + "."


def runner_up(pick: Pick) -> str:
    """How far the next is behind, or that the two cannot be told apart."""
    if pick.next is None:
        return ""
    if pick.against is None:
        return f"Next is {pick.next.label}, {milliseconds(pick.next.p50 or 0.0)}."
    i = pick.against.interval
    figures = times(pick.against.value) + (f" {between(i.low, i.high)}" if i else "")
    if i and i.low <= 1 <= i.high:
        return f"It cannot be told apart from {pick.next.label}, which takes {figures} its time."
    return f"Next is {pick.next.label}, which takes {figures} its time."


def _nothing(device: DevicePart) -> str:
    rows = comparable(device.rows)
    if not any(row.accuracy for row in rows):
        return ""
    kinds = [row.verdict for row in rows]
    counted_kinds = [
        f"{kinds.count(kind)} {word}"
        for kind, word in (*((k, w) for k, (_, w) in VERDICTS.items()), (None, "without a validation"))
        if kinds.count(kind)
    ]
    told = f"Nothing timed here passes its accuracy gate: {', '.join(counted_kinds)}"
    needed = max((row.accuracy.outcome.verdict.pictures_needed or 0 for row in rows if row.accuracy), default=0)
    return f"{told}; about {counted(needed, 'picture')} would decide." if needed else f"{told}."


# --- one row --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of the table: what it is called, and what a row has there, in two lines."""

    name: str
    figure: Callable[[Row], str]
    more: Callable[[Row], str] = lambda row: ""


def _top1(row: Row) -> str:
    return percent(row.top1) if row.top1 is not None else ABSENT


def change(row: Row) -> str:
    """In percentage points against FP32; empty without labels."""
    return f"{points(row.paired.delta)} {span(row.paired.interval)}" if row.paired else ""


def _p50(row: Row) -> str:
    if row.p50 is not None:
        return milliseconds(row.p50)
    told = row.measured.told if row.measured else None
    return f"mean {milliseconds(told.mean)}" if told else ABSENT


def _p50_interval(row: Row) -> str:
    found = percentile(row.summary, 0.5)
    return between(found.interval.low, found.interval.high) if found and found.interval else ""


def _at(q: float) -> Callable[[Row], str]:
    def figure(row: Row) -> str:
        found = percentile(row.summary, q)
        return milliseconds(found.ms) if found else ABSENT

    return figure


def _ratio(row: Row) -> str:
    return times(row.against_fp32.value) if row.against_fp32 else ABSENT


def _ratio_interval(row: Row) -> str:
    i = row.against_fp32.interval if row.against_fp32 else None
    return between(i.low, i.high) if i else ""


def _peak(row: Row) -> str:
    memory = row.measured.memory if row.measured else None
    return megabytes(memory.peak, 0) if memory and memory.peak is not None else ABSENT


def _model_memory(row: Row) -> str:
    memory = row.measured.memory if row.measured else None
    return f"model {megabytes(memory.model, 0)}" if memory and memory.model is not None else ""


COLUMNS = (
    Column(name="top-1", figure=_top1, more=change),
    Column(name="p50", figure=_p50, more=_p50_interval),
    Column(name="p90", figure=_at(0.9)),
    Column(name="time vs FP32", figure=_ratio, more=_ratio_interval),
    Column(name="pictures/s", figure=lambda row: rate(row.summary.per_second) if row.summary else ABSENT),
    Column(
        name="size",
        figure=lambda row: megabytes(row.identity.bytes),
        more=lambda row: f"{percent(row.share, 0)} of FP32" if row.share is not None else "",
    ),
    Column(name="peak memory", figure=_peak, more=_model_memory),
)
"""After the artifact's name and its verdict."""
ACCURACY_COLUMNS = tuple(column for column in COLUMNS if column.name in ("top-1", "size"))


def run_facts(row: Row) -> Pairs:
    """All that was measured of one row, to the last percentile."""
    m = row.measured
    if m is None:
        return ()
    known: dict[str, str | None] = {
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
        "told by": _told(m.told) if m.told else None,
        "memory": _memory(m.memory) if m.memory else None,
        "in INT8": f"{percent(m.int8_share, 1)} of the multiply-accumulates" if m.int8_share is not None else None,
        "kept float": "; ".join(f"{op}: {why}" for op, why in m.kept_float.items()),
    }
    return tuple((name, value) for name, value in known.items() if value)


def _warm_up(w: WarmUp) -> str:
    return f"{counted(len(w.samples_ns), 'run')}, {'settled' if w.steady else 'not settled by then'}"


def _told(t: Told) -> str:
    return f"{t.tool}: mean {milliseconds(t.mean)} of {counted(t.runs, 'run')}"


def _memory(m: Memory) -> str:
    known = (("runtime", m.runtime), ("model", m.model), ("peak", m.peak))
    return "; ".join(f"{name} {megabytes(size, 0)}" for name, size in known if size is not None)


def _summed(s: Summary) -> str:
    parts = [f"{count(s.samples)} runs" if s.samples != 1 else "1 run"]
    for p in s.percentiles:
        interval = f" {between(p.interval.low, p.interval.high)}" if p.interval else ""
        parts.append(f"p{100 * p.q:g} {milliseconds(p.ms)}{interval}")
    return ", ".join([*parts, f"mean {milliseconds(s.mean)}, from {milliseconds(s.min)} to {milliseconds(s.max)}"])


# --- one device -----------------------------------------------------------------------------------------------------


def described(f: Fingerprint) -> str:
    """A device in a line."""
    known = [
        f.cpu,
        f"{counted(f.cores, 'core')}" if f.cores is not None else None,
        f"{f.memory_bytes / 1e9:.1f} GB" if f.memory_bytes is not None else None,
        f.machine,
        f.os,
        f"reached as {f.name}",
    ]
    return ", ".join(k for k in known if k) + "."


def fingerprint_facts(f: Fingerprint) -> Pairs:
    """Everything a device told, and what it did not tell."""
    known: dict[str, str | None] = {
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
    return tuple((name, value or UNKNOWN) for name, value in known.items())


def condition_rows(before: Conditions, after: Conditions | None) -> tuple[tuple[str, str, str], ...]:
    """What a device's state was before and after, side by side."""
    names: tuple[tuple[str, Callable[[Conditions], str]], ...] = (
        ("at", lambda c: c.at),
        ("governor", lambda c: c.governor or UNKNOWN),
        ("clock", lambda c: _clock(c.mhz)),
        ("highest clock", lambda c: _clock(c.mhz_max)),
        ("temperature", lambda c: _heat(c)),
        ("throttled", lambda c: UNKNOWN if c.throttled is None else ", ".join(c.throttled) or "no"),
        ("power mode", lambda c: c.power_mode or UNKNOWN),
        ("load", lambda c: UNKNOWN if c.load is None else f"{c.load:.2f}"),
        (
            "memory free",
            lambda c: UNKNOWN if c.memory_available_bytes is None else f"{c.memory_available_bytes / 1e9:.1f} GB",
        ),
    )
    return tuple((name, told(before), told(after) if after else UNKNOWN) for name, told in names)


def _clock(mhz: Sequence[float] | None) -> str:
    if not mhz:
        return UNKNOWN
    low, high = min(mhz), max(mhz)
    return f"{low:.0f} MHz" if round(low) == round(high) else f"{low:.0f} to {high:.0f} MHz"


def _heat(c: Conditions) -> str:
    if not c.celsius:
        return UNKNOWN
    return ", ".join(f"{sensor} {value:.1f} °C" for sensor, value in c.celsius.items())


def noise_told(device: DevicePart) -> str:
    """What the yardstick says about the machine, the last call's."""
    noise = device.benches[-1].noise
    if noise is None:
        return "The machine's own noise was not measured."
    return sentence(noise.sentence)
