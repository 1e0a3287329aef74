"""A report as Markdown, and as a table for a README."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from edgecvx.report.join import DevicePart, Dossier, Row
from edgecvx.report.remarks import device_remarks, general_remarks
from edgecvx.report.words import COLUMNS, change, described, headline, lead, noise_told, pictures, take
from edgecvx.results.figures import ABSENT, VERDICTS, counted, percent
from edgecvx.results.texts import literal, shorten, writable

LONGEST = 300
"""Characters of one cell or name; what is longer is cut in the middle."""
REMARKS = 12
"""Of one device."""


def _figure(name: str, *, joined: bool = False) -> Callable[[Row], str]:
    """What a column of the page has, with its second line behind it where asked for."""
    column = next(c for c in COLUMNS if c.name == name)
    return lambda row: f"{column.figure(row)} {column.more(row) if joined else ''}".rstrip()


def _p50(row: Row) -> str:
    broken = row.measured is not None and row.measured.error is not None and row.p50 is None
    return "not measured" if broken else _figure("p50", joined=True)(row)


CELLS: Mapping[str, Callable[[Row], str]] = {
    "artifact": lambda row: row.label,
    "verdict": lambda row: " ".join(VERDICTS[row.verdict]) if row.verdict else ABSENT,
    "top-1": _figure("top-1"),
    "change, points": lambda row: change(row) or ABSENT,
    "p50": _p50,
    "p90": _figure("p90"),
    "time vs FP32": _figure("time vs FP32", joined=True),
    "pictures/s": _figure("pictures/s"),
    "size": _figure("size"),
    "of FP32": lambda row: percent(row.share, 0) if row.share is not None else ABSENT,
    "peak memory": _figure("peak memory"),
}
"""The columns of a table; those of the page, with room for one line only."""


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
    return writable("\n".join(lines))


def table(dossier: Dossier) -> str:
    """The tables alone, for a README: one per device."""
    lines: list[str] = []
    for device in dossier.devices:
        lines += [f"**{_title(device)}**: {_text(described(device.fingerprint))}", "", *_table(device.rows), ""]
    if dossier.unmeasured:
        lines += ["**Validated, not timed**", "", *_table(dossier.unmeasured), ""]
    told = f"Top-1 over {' and '.join(map(pictures, dossier.data))}, with" if dossier.data else "With"
    lines.append(f"<sub>{_text(told)} 95% intervals. edgecvx {_text(dossier.versions)}.</sub>")
    return writable("\n".join([*lines, ""]))


def _title(device: DevicePart) -> str:
    return _text(device.title) + (" (emulated: no device times)" if device.emulated is not None else "")


def _table(rows: Sequence[Row]) -> list[str]:
    """Columns that no row fills are left out."""
    columns = {name: [cell(row) for row in rows] for name, cell in CELLS.items()}
    shown = {n: cells for n, cells in columns.items() if n == "artifact" or any(c != ABSENT for c in cells)}
    lines = [
        "| " + " | ".join(shown) + " |",
        "|" + "|".join("---" if name in ("artifact", "verdict") else "--:" for name in shown) + "|",
    ]
    return lines + ["| " + " | ".join(map(_text, cells)) + " |" for cells in zip(*shown.values(), strict=True)]


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
        weights, calibration = row.weights, row.calibration
        cells = (
            row.identity.file,
            row.identity.sha256,
            f"{weights.kind} {weights.ref}" if weights else ABSENT,
            (weights and weights.license) or ABSENT,
            f"{calibration.name}, {counted(calibration.count, 'picture')}" if calibration else ABSENT,
        )
        yield "| " + " | ".join(map(_text, cells)) + " |"
    yield ""
    for data in dossier.data:
        yield _text(f"Pictures: {pictures(data)}, SHA-256 {data.sha256}.")
        yield ""
    yield "</details>"


def _text(text: str) -> str:
    return literal(shorten(text, LONGEST)) if len(text) > LONGEST else literal(text)
