"""All about each artifact on one device."""

from __future__ import annotations

from edgecvx.report.join import DevicePart
from edgecvx.report.markup import Html, render
from edgecvx.report.plots import latency
from edgecvx.report.tables import run_facts
from edgecvx.results.figures import ABSENT, milliseconds

TITLE = "Each artifact, to the last run"
PLOTTED = 60
"""Rows with a plot of their runs, one after the other: the fastest."""
TEMPLATE = """\
{% for row, p50, pairs, plot in runs %}
<details id="{{ row.key }}">
<summary><span class="name">{{ row.label }}</span> <span class="count">{{ p50 }}</span></summary>
<div class="{{ "beside" if plot }}">{{ facts(pairs) }}
{%- if plot %}<figure><figcaption>Run after run</figcaption>{{ plot }}</figure>{% endif %}</div>
</details>
{% endfor %}
"""


def section(device: DevicePart) -> Html | None:
    """Folded twice: it is long, and links lead into it."""
    plotted = {row.key for row in latency.with_samples(device.rows)[:PLOTTED]}
    runs = [
        (
            row,
            milliseconds(row.p50) if row.p50 is not None else ABSENT,
            run_facts(row),
            latency.in_order(row) if row.key in plotted else "",
        )
        for row in device.rows
    ]
    return render(TEMPLATE, runs=runs)
