"""What a report says, in words: headlines, recommendations, the figures of a row. The same in every form of it."""

from __future__ import annotations

from edgecvx.report.join import DevicePart, Pick, Report, Row, comparable
from edgecvx.results.accuracy import ArtifactOutcome, DataInfo, Validation
from edgecvx.results.figures import (
    VERDICTS,
    cosine,
    counted,
    decibels,
    milliseconds,
    p_value,
    percent,
    points,
    rate,
    sentence,
    small,
    span,
    times,
)
from edgecvx.results.latency import Fingerprint, percentile
from edgecvx.results.layers import ranked, suspects

CLASSES_SHOWN, LOSSES_SHOWN = 5, 5
"""Of a list in a sentence; JSON and HTML have more."""


# --- headlines ------------------------------------------------------------------------------------------------------


def headline(report: Report) -> str:
    """What came out, in one line."""
    ranked = [device for device in report.devices if device.emulated is None]
    files = counted(len({row.identity.sha256 for row in report.rows}), "file")
    if not report.rows:
        return "Nothing was measured"
    if not report.devices:
        return f"{files}, validated and not yet timed"
    if not ranked:
        return f"{files}, run in an emulator"
    if len(ranked) > 1:
        text = "and what to take on each" if any(device.picks for device in ranked) else "side by side"
        return f"{files} on {counted(len(ranked), 'device')}, {text}"
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


def lead(report: Report) -> str:
    """What was measured, on what."""
    models = dict.fromkeys(row.identity.model for row in report.rows)
    text = ", ".join(models) if len(models) <= 3 else f"{len(models)} models"
    parts = [f"{text or 'No model'}."]
    if report.data:
        parts.append(f"Accuracy against FP32 PyTorch, over {' and '.join(map(pictures, report.data))}.")
    if report.devices:
        named = [d.title + (" (emulated)" if d.emulated is not None else "") for d in report.devices]
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
    text = [_take(device.picks[0], several=len(device.picks) > 1)]
    if second := runner_up(device.picks[0]):
        text.append(second)
    return " ".join(text)


def _take(pick: Pick, *, several: bool) -> str:
    row = pick.row
    p50, top1, ratio = figures(row)
    text = f"The fastest that passes {'of all models ' if several else ''}is {row.label}: {p50}"
    if row.summary:
        text += f", {rate(row.summary.per_second)} pictures a second"
    text += top1 and f"; {top1} points against FP32"
    return text + (ratio and f"; {ratio}") + "."


def figures(row: Row) -> tuple[str, str, str]:
    """Its p50, its top-1 and its time against FP32's, as far as each is known."""
    p50, top1, ratio = percentile(row.summary, 0.5), row.paired, row.against_fp32
    return (
        f"p50 {milliseconds(row.p50 or 0.0, p50.interval if p50 else None)}",
        f"top-1 {percent(top1.artifact.value)}, {points(top1.delta)} {span(top1.interval)}" if top1 else "",
        f"{times(ratio.value)} the time of the FP32 file" if ratio else "",
    )


def runner_up(pick: Pick) -> str:
    """How far the next is behind, or that the two cannot be told apart."""
    if pick.next is None:
        return ""
    if pick.against is None:
        return f"Next is {pick.next.label}, {milliseconds(pick.next.p50 or 0.0)}."
    i = pick.against.interval
    said = "It cannot be told apart from" if i and i.low <= 1 <= i.high else "Next is"
    return f"{said} {pick.next.label}, which takes {times(pick.against.value, i)} its time."


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
    text = f"Nothing timed here passes its accuracy gate: {', '.join(counted_kinds)}"
    needed = max((row.accuracy.outcome.verdict.pictures_needed or 0 for row in rows if row.accuracy), default=0)
    return f"{text}; about {counted(needed, 'picture')} would decide." if needed else f"{text}."


# --- accuracy ---------------------------------------------------------------------------------------------------------


def verdict(validation: Validation) -> str:
    """What came out of one validation, in one line."""
    kinds = [outcome.verdict.kind for outcome in validation.artifacts]
    files = counted(len(kinds), "file")
    if not kinds:
        return "No file was validated"
    if set(kinds) == {"pass"}:
        return "The file keeps its accuracy" if len(kinds) == 1 else f"All {files} keep their accuracy"
    if set(kinds) == {"none"}:
        return f"{files}, compared without a verdict"
    if set(kinds) == {"undecided"}:
        return "Too few pictures to decide"
    if len(kinds) == 1:
        return {
            "fail": "The file loses too much accuracy",
            "error": "The file could not be run",
        }[kinds[0]]
    passed = kinds.count("pass")
    return f"{passed} of {files} keep{'s' if passed == 1 else ''} the accuracy" if passed else f"None of {files} passes"


def compared(validation: Validation) -> str:
    """What was compared with what, on what."""
    models = dict.fromkeys(o.reference.model for o in validation.artifacts if o.reference is not None)
    against = f", against {' and '.join(models)} in FP32" if models else ""
    return f"{pictures(validation.data)}{against}."


def of_emulator(caption: str, device: DevicePart) -> str:
    """A caption of a plot of times, which says where they are no device's."""
    return caption if device.emulated is None else f"Emulated: the emulator's times, not the device's. {caption}"


def gate(validation: Validation) -> str:
    """What every file has to reach."""
    return f"The gate: {validation.gate.text}."


def agreement(o: ArtifactOutcome) -> str:
    """How close the outputs are, in a line; empty where there are none."""
    parts = []
    if o.top5 is not None:
        parts.append(f"top-5 {percent(o.top5.artifact.value)}, {points(o.top5.delta)} {span(o.top5.interval)}")
    if o.top1 is not None:
        parts.append(f"{o.top1.lost} lost, {o.top1.gained} gained, McNemar {p_value(o.top1.p_value)}")
    if o.outputs:
        out = o.outputs[0]
        parts.append(f"cosine {cosine(out.cosine_mean)} (smallest {cosine(out.cosine_min)})")
        parts.append(f"largest error {small(out.max_error)}")
    if o.answers is not None:
        parts.append(f"KL {small(o.answers.kl_mean)} nats")
    return "; ".join(parts)


def worst_classes(o: ArtifactOutcome) -> str:
    """The classes that lost most; empty where none did."""
    return "; ".join(
        f"{c.label} {c.reference_correct} to {c.artifact_correct} of {c.pictures}"
        for c in o.worst_classes[:CLASSES_SHOWN]
    )


def biggest_losses(o: ArtifactOutcome) -> str:
    """The pictures that lost most; empty where none did."""
    return "; ".join(
        f"{loss.picture} ({loss.reference.label} {percent(loss.reference.probability, 0)}, "
        f"now {loss.artifact.label} {percent(loss.artifact.probability, 0)})"
        for loss in o.losses[:LOSSES_SHOWN]
    )


def layers(o: ArtifactOutcome) -> str:
    """What the figures of the inner tensors say, in a sentence."""
    if found := suspects(o.layers):
        names = ", ".join(layer.name for layer in found[:3])
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        return f"Far more error than usual for its kind is born in {names}{more}."
    worst = ranked(o.layers)[0]
    return f"No layer stands out; the most is born in {worst.name}, {decibels(worst.local_sqnr_db)}."


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


def noise(device: DevicePart) -> str:
    """What the yardstick says about the machine, the last call's."""
    measured = device.benches[-1].noise
    if measured is None:
        return "The machine's own noise was not measured."
    return sentence(measured.sentence)
