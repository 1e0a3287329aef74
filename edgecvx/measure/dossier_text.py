"""A report as Markdown, and as a table for a README."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgecvx.measure.dossier_join import DevicePart, Dossier, Row, percentile
from edgecvx.measure.dossier_remarks import device_remarks, general_remarks
from edgecvx.measure.dossier_words import described, headline, lead, noise_told, pictures, take
from edgecvx.measure.figures import (
    ABSENT,
    VERDICTS,
    between,
    counted,
    megabytes,
    milliseconds,
    percent,
    points,
    rate,
    span,
    times,
)
from edgecvx.measure.report import plain
from edgecvx.measure.svg import shorten

LONGEST = 300
"""Characters of one cell or name; what is longer is cut in the middle."""
REMARKS = 12
"""Of one device."""
HEADS = (
    "artifact", "verdict", "top-1", "change, points", "p50", "p90", "time vs FP32", "pictures/s", "size", "of FP32",
    "peak memory",
)  # fmt: skip


# --- Markdown -------------------------------------------------------------------------------------------------------


def markdown(dossier: Dossier, *, title: str | None = None) -> str:
    """The report as GitHub's Markdown."""
    lines = [f"## {_text(title or headline(dossier))}", "", _text(lead(dossier)), ""]
    lines += [f"> {_text(remark)}  " for remark in general_remarks(dossier)]
    for device in dossier.devices:
        lines += ["", f"### {_title(device)}", "", _text(described(device.fingerprint)), ""]
        if told := take(device):
            lines += [f"**{_text(told)}**", ""]
        lines += [*_table(device.rows), ""]
        lines += [f"On the Pareto front, {_text(names)}.\n" for names in _fronts(device)]
        remarks = device_remarks(device)
        lines += [f"- {_text(remark)}" for remark in remarks[:REMARKS]]
        lines += [f"- {len(remarks) - REMARKS} more stand on the page."] if len(remarks) > REMARKS else []
        lines += ["", f"<sub>{_text(noise_told(device))}</sub>"]
    if dossier.unmeasured:
        lines += ["", "### Validated, not timed", "", *_table(dossier.unmeasured)]
    lines += ["", *_provenance(dossier), ""]
    return _writable("\n".join(lines))


def table(dossier: Dossier) -> str:
    """The tables alone, for a README: one per device."""
    lines: list[str] = []
    for device in dossier.devices:
        lines += [f"**{_title(device)}**: {_text(described(device.fingerprint))}", "", *_table(device.rows), ""]
    if dossier.unmeasured:
        lines += ["**Validated, not timed**", "", *_table(dossier.unmeasured), ""]
    data = {a.data.sha256: a.data for a in dossier.accuracies.values()}
    told = f"Top-1 over {' and '.join(map(pictures, data.values()))}, with" if data else "With"
    versions = dict.fromkeys([b.edgecvx for b in dossier.benchmarks] + [v.edgecvx for v in dossier.validations])
    lines.append(f"<sub>{_text(told)} 95% intervals. edgecvx {_text(', '.join(versions))}.</sub>")
    return _writable("\n".join([*lines, ""]))


def _title(device: DevicePart) -> str:
    return _text(device.title) + (" (emulated: no device times)" if device.emulated is not None else "")


def _table(rows: Sequence[Row]) -> list[str]:
    """Columns that no row fills are left out."""
    cells = [_cells(row) for row in rows]
    shown = [i for i in range(len(HEADS)) if i == 0 or any(row[i] not in (ABSENT, "") for row in cells)]
    lines = [
        "| " + " | ".join(HEADS[i] for i in shown) + " |",
        "|" + "|".join("---" if i < 2 else "--:" for i in shown) + "|",
    ]
    return lines + ["| " + " | ".join(_text(row[i]) for i in shown) + " |" for row in cells]


def _cells(row: Row) -> tuple[str, ...]:
    top1 = row.accuracy.outcome.top1 if row.accuracy else None
    p50, p90 = percentile(row.summary, 0.5), percentile(row.summary, 0.9)
    ratio, measured = row.against_fp32, row.measured
    memory = measured.memory if measured else None

    def with_interval(figure: str, interval: object) -> str:
        ends = (getattr(interval, "low", None), getattr(interval, "high", None))
        return figure if None in ends else f"{figure} {between(*ends)}"  # type: ignore[arg-type]

    if measured and measured.error and p50 is None:
        first = "not measured"
    elif p50 is None:
        first = f"mean {milliseconds(measured.told.mean)}" if measured and measured.told else ABSENT
    else:
        first = with_interval(milliseconds(p50.ms), p50.interval)
    return (
        row.label,
        " ".join(VERDICTS[row.verdict]) if row.verdict else ABSENT,
        percent(top1.artifact.value) if top1 else ABSENT,
        f"{points(top1.delta)} {span(top1.interval)}" if top1 else ABSENT,
        first,
        milliseconds(p90.ms) if p90 else ABSENT,
        with_interval(times(ratio.value), ratio.interval) if ratio else ABSENT,
        rate(row.summary.per_second) if row.summary else ABSENT,
        megabytes(row.identity.bytes),
        percent(row.share, 0) if row.share is not None else ABSENT,
        megabytes(memory.peak, 0) if memory and memory.peak is not None else ABSENT,
    )


def _fronts(device: DevicePart) -> Iterator[str]:
    for front in device.fronts:
        if front.best:
            over = f"over {pictures(front.data)}: " if len(device.fronts) > 1 else ""
            yield over + ", ".join(row.label for row in front.best)


def _provenance(dossier: Dossier) -> Iterator[str]:
    yield "<details><summary>Where the files come from</summary>"
    yield ""
    yield "| file | SHA-256 | weights | licence | calibrated on |"
    yield "|---|---|---|---|---|"
    for row in {row.identity.sha256: row for row in dossier.rows}.values():
        m = row.measured
        reference = row.accuracy.outcome.reference if row.accuracy else None
        weights = m.weights if m else reference.weights if reference else None
        calibration = m.calibration if m else None
        cells = (
            row.identity.file,
            row.identity.sha256,
            f"{weights.kind} {weights.ref}" if weights else ABSENT,
            (weights and weights.license) or ABSENT,
            f"{calibration.name}, {counted(calibration.count, 'picture')}" if calibration else ABSENT,
        )
        yield "| " + " | ".join(map(_text, cells)) + " |"
    yield ""
    for data in {a.data.sha256: a.data for a in dossier.accuracies.values()}.values():
        yield _text(f"Pictures: {pictures(data)}, SHA-256 {data.sha256}.")
        yield ""
    yield "</details>"


def _text(text: str) -> str:
    return plain(shorten(text, LONGEST)) if len(text) > LONGEST else plain(text)


def _writable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
