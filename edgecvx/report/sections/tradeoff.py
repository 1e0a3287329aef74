"""Accuracy against latency on one device, and what is dominated there."""

from __future__ import annotations

from functools import partial

from edgecvx.report import words
from edgecvx.report.join import DevicePart, Front, Row, comparable
from edgecvx.report.markup import Html, figure, render
from edgecvx.report.plots import latency
from edgecvx.results.figures import percent, points

TITLE = "Accuracy against latency"
KEYS = (("square", "FP32"), ("diamond", "FP16"), ("round", "INT8"))
TEMPLATE = """\
{% for plot in plots %}{{ plot }}{% endfor %}
{% if dominated %}
<details>
<summary>Dominated: something else is at least as fast and at least as right
<span class="count">({{ dominated | length }})</span></summary>
{{ items(dominated, "many") }}
</details>
{% endif %}
"""


def section(device: DevicePart) -> Html | None:
    """A plot for each set of pictures: accuracies over different ones never share an axis."""
    plots = [
        figure(TITLE, _caption(front, device), partial(latency.tradeoff, front), keys=KEYS)
        for front in device.fronts
        if len(front.rows) > 1
    ]
    dominated = [_dominated(row, by) for front in device.fronts for row, by in front.dominated]
    return render(TEMPLATE, plots=plots, dominated=dominated)


def _caption(front: Front, device: DevicePart) -> str:
    caption = (
        f"Top-1 over {words.pictures(front.data)} ({front.data.sha256[:12]}); left is faster, up is more often right."
    )
    if len(front.best) > 1:
        caption += " The line joins what nothing beats in one without losing in the other."
    if len(front.rows) <= latency.WHISKERS_UP_TO:
        caption += " Bars are 95% intervals, upright of the change against FP32."
    batches = {row.measured.batch for row in device.rows if row.measured and row.p50 is not None}
    if len(device.rows) > len(comparable(device.rows)) and len(batches) > 1:
        caption += f" Batch {min(batches)} alone."
    return words.of_emulator(caption, device)


def _dominated(row: Row, by: Row) -> str:
    """By whom, and by how much."""
    slower = (row.p50 or 0.0) / (by.p50 or 1.0) - 1
    worse = (by.top1 or 0.0) - (row.top1 or 0.0)
    lost = [f"{percent(slower, 0)} slower"] if round(100 * slower) else []
    lost += [f"{points(worse).removeprefix('+')} points less"] if round(1e4 * worse) else ["no more often right"]
    return f"{row.label}, by {by.label}: {' and '.join(lost)}"
