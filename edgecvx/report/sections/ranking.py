"""The table of one device."""

from __future__ import annotations

from collections.abc import Iterator

from edgecvx.report.join import DevicePart, Row
from edgecvx.report.markup import Html, render
from edgecvx.report.tables import COLUMNS, Line

TITLE = "Everything that was run here"
TEMPLATE = """\
<p class="soft">{{ "In the emulator." if emulated else "Fastest first." }}</p>
{{ table(lines, names, "Figures on " ~ device, "slower ones") }}
"""


def section(device: DevicePart) -> Html | None:
    """A line per artifact and setting."""
    lines = [
        Line(
            link=row.key,
            label=row.label,
            file=row.identity.file if row.identity.file != row.label else "",
            verdict=row.verdict,
            marks=tuple(_marks(row, device)),
            cells=[cell(row) for cell in COLUMNS.values()],
        )
        for row in device.rows
    ]
    return render(TEMPLATE, lines=lines, names=list(COLUMNS), device=device.title, emulated=device.emulated is not None)


def _marks(row: Row, device: DevicePart) -> Iterator[str]:
    chosen = {pick.row.key for pick in device.picks}
    if row.key in chosen:
        yield "take this" if len(chosen) == 1 else "take of its model"
    yield from ("on the front" for front in device.fronts if row in front.best)
    if row.measured and row.measured.error:
        yield "error"
