"""A report as Markdown, and as a table for a README."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from edgecvx.report import words
from edgecvx.report.join import DevicePart, Report, Row
from edgecvx.report.remarks import device_remarks, general_remarks
from edgecvx.report.tables import COLUMNS, change, judged_cells, layer_cells
from edgecvx.report.words import described, headline, lead, noise, pictures, take
from edgecvx.results.accuracy import DataInfo, Validation
from edgecvx.results.figures import ABSENT, VERDICTS, count, counted, percent, sentence
from edgecvx.results.layers import ranked
from edgecvx.results.texts import literal, shorten, writable

LONGEST = 300
"""Characters of one cell or name; what is longer is cut in the middle."""
REMARKS = 12
"""Of one device."""
LAYERS_SHOWN, LEFT_OUT_SHOWN = 6, 10
"""Lines of each list; JSON and HTML have more."""


def _p50(row: Row) -> str:
    broken = row.measured is not None and row.measured.error is not None and row.p50 is None
    return "not measured" if broken else " ".join(COLUMNS["p50"](row)).rstrip()


CELLS: Mapping[str, Callable[[Row], str]] = {
    "artifact": lambda row: row.label,
    "verdict": lambda row: " ".join(VERDICTS[row.verdict]) if row.verdict else ABSENT,
    "top-1": lambda row: COLUMNS["top-1"](row)[0],
    "change, points": lambda row: change(row) or ABSENT,
    "p50": _p50,
    "p90": lambda row: COLUMNS["p90"](row)[0],
    "time vs FP32": lambda row: " ".join(COLUMNS["time vs FP32"](row)).rstrip(),
    "pictures/s": lambda row: COLUMNS["pictures/s"](row)[0],
    "size": lambda row: COLUMNS["size"](row)[0],
    "of FP32": lambda row: percent(row.share, 0) if row.share is not None else ABSENT,
    "peak memory": lambda row: COLUMNS["peak memory"](row)[0],
}
"""The columns of a table; those of the page, with room for one line only."""


# --- Markdown -------------------------------------------------------------------------------------------------------


def markdown(report: Report) -> str:
    """The report as GitHub's Markdown."""
    lines = [f"## {literal_text(report.title or headline(report))}", "", literal_text(lead(report)), ""]
    lines += [f"> {literal_text(remark)}  " for remark in general_remarks(report)]
    for device in report.devices:
        lines += ["", f"### {_title(device)}", "", literal_text(described(device.fingerprint)), ""]
        if pick := take(device):
            lines += [f"**{literal_text(pick)}**", ""]
        lines += [*_table(device.rows), ""]
        lines += [f"On the Pareto front, {literal_text(names)}.\n" for names in _fronts(device)]
        remarks = device_remarks(device)
        lines += [f"- {literal_text(remark)}" for remark in remarks[:REMARKS]]
        lines += [f"- {len(remarks) - REMARKS} more stand on the page."] if len(remarks) > REMARKS else []
        lines += ["", f"<sub>{literal_text(noise(device))}</sub>"]
    if report.unmeasured:
        lines += ["", "### Validated, not timed", "", *_table(report.unmeasured)]
    lines += ["", *_provenance(report), ""]
    return writable("\n".join(lines))


def table(report: Report) -> str:
    """The tables alone, for a README: one per device."""
    lines: list[str] = []
    for device in report.devices:
        lines += [f"**{_title(device)}**: {literal_text(described(device.fingerprint))}", "", *_table(device.rows), ""]
    if report.unmeasured:
        lines += ["**Validated, not timed**", "", *_table(report.unmeasured), ""]
    over = f"Top-1 over {' and '.join(map(pictures, report.data))}, with" if report.data else "With"
    lines.append(f"<sub>{literal_text(over)} 95% intervals. edgecvx {literal_text(report.versions)}.</sub>")
    return writable("\n".join([*lines, ""]))


def _title(device: DevicePart) -> str:
    return literal_text(device.title) + (" (emulated: no device times)" if device.emulated is not None else "")


def _table(rows: Sequence[Row]) -> list[str]:
    """Columns that no row fills are left out."""
    columns = {name: [cell(row) for row in rows] for name, cell in CELLS.items()}
    shown = {n: cells for n, cells in columns.items() if n == "artifact" or any(c != ABSENT for c in cells)}
    lines = [
        "| " + " | ".join(shown) + " |",
        "|" + "|".join("---" if name in ("artifact", "verdict") else "--:" for name in shown) + "|",
    ]
    return lines + ["| " + " | ".join(map(literal_text, cells)) + " |" for cells in zip(*shown.values(), strict=True)]


def _fronts(device: DevicePart) -> Iterator[str]:
    for front in device.fronts:
        if front.best:
            over = f"over {pictures(front.data)}: " if len(device.fronts) > 1 else ""
            yield over + ", ".join(row.label for row in front.best)


def _provenance(report: Report) -> Iterator[str]:
    yield "<details><summary>Where the files come from</summary>"
    yield ""
    yield "| file | SHA-256 | weights | licence | calibrated on |"
    yield "|---|---|---|---|---|"
    for row in {row.identity.sha256: row for row in report.rows}.values():
        weights, calibration = row.weights, row.calibration
        cells = (
            row.identity.file,
            row.identity.sha256,
            f"{weights.kind} {weights.ref}" if weights else ABSENT,
            (weights and weights.license) or ABSENT,
            f"{calibration.name}, {counted(calibration.count, 'picture')}" if calibration else ABSENT,
        )
        yield "| " + " | ".join(map(literal_text, cells)) + " |"
    yield ""
    for data in report.data:
        yield literal_text(f"Pictures: {pictures(data)}, SHA-256 {data.sha256}.")
        yield ""
    yield "</details>"


def literal_text(text: str) -> str:
    """Untrusted text as Markdown that says just that; cut where it is longer than anybody reads."""
    return literal(shorten(text, LONGEST)) if len(text) > LONGEST else literal(text)


# --- a validation alone ---------------------------------------------------------------------------------------------


def validation_markdown(validation: Validation) -> str:
    """A validation as GitHub's Markdown, for a pull request or a release note."""
    lines = [
        f"## {words.verdict(validation)}",
        "",
        f"{literal(words.compared(validation))} {literal(words.gate(validation))}",
        "",
        "| file | verdict | top-1 FP32 | top-1 file | change, points | 95% interval | flips | SQNR |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for o in validation.artifacts:
        cells = [literal(o.identity.file), " ".join(VERDICTS[o.verdict.kind]), *judged_cells(o)]
        lines.append("| " + " | ".join(cells) + " |")
    for warning in validation.warnings:
        lines += ["", f"> {literal(sentence(warning))}"]
    for o in validation.artifacts:
        lines += ["", f"### {literal(o.identity.file)}", "", literal(sentence(o.verdict.reason))]
        lines += [f"\n**{literal(sentence(text))}**" for text in (o.error, *(f.sentence for f in o.findings)) if text]
        if line := words.agreement(o):
            lines += ["", literal(line) + "."]
        if o.recheck is not None:
            lines += ["", literal(sentence(o.recheck.sentence))]
        if o.layers:
            lines += ["", literal(words.layers(o)), ""]
            lines += ["| layer | what it is | born here | in total |", "|---|---|--:|--:|"]
            for layer in ranked(o.layers)[:LAYERS_SHOWN]:
                name, kind, *figures, _ = layer_cells(layer)
                lines.append("| " + " | ".join([literal(name), literal(kind), *figures]) + " |")
        if o.worst_classes:
            lines += ["", "Worst classes: " + literal(words.worst_classes(o)) + "."]
    d = validation.data
    excluded = f", {counted(d.excluded_calibration, 'calibration picture')} excluded" if d.excluded_calibration else ""
    if d.skipped:
        lines += ["", _left_out(d)]
    lines += ["", f"<sub>edgecvx {literal(validation.edgecvx)}, data {d.sha256[:12]}{excluded}.</sub>", ""]
    return writable("\n".join(lines))


def _left_out(data: DataInfo) -> str:
    """Every entry that was not counted, by name; of many the first."""
    total = sum(data.skipped_reasons.values())
    named = [literal(f"{s.name} ({s.reason})") for s in data.skipped[:LEFT_OUT_SHOWN]]
    more = f"; and {count(total - len(named))} more" if total > len(named) else ""
    return f"{counted(total, 'entry', 'entries')} of the data left out: {'; '.join(named)}{more}."
