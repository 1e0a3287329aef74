"""The accuracy of every artifact at a glance: a table, and the change against FP32 for each set of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from edgecvx.report import tables, words
from edgecvx.report.join import Accuracy, Report
from edgecvx.report.markup import Html, figure, render
from edgecvx.report.plots import accuracy

TITLE = "Change in top-1 against FP32 PyTorch"
DRAWN = 24
"""Rows of one plot."""
TEMPLATE = """\
{{ table(lines, names, "Accuracy", "more") }}
{% for plot in plots %}{{ plot }}{% endfor %}
"""


def section(report: Report) -> Html | None:
    """None where nothing was validated."""
    if not report.judged:
        return None
    untimed = {row.identity.sha256 for row in report.unmeasured if report.devices}
    lines = [tables.judged(a, *(["not timed"] if a.outcome.identity.sha256 in untimed else [])) for a in report.judged]
    most = DRAWN if report.devices else len(lines)
    plots = [_forest([a for a in report.judged if a.data.sha256 == data.sha256], most) for data in report.data]
    return render(TEMPLATE, lines=lines, names=tables.JUDGED, plots=plots)


def _forest(accuracies: Sequence[Accuracy], most: int) -> Html:
    """Those that lose most first."""
    worst = sorted((a.outcome for a in accuracies if a.outcome.top1), key=lambda o: o.top1.delta if o.top1 else 0.0)
    if not worst:
        return Html()
    data = accuracies[0].data
    caption = f"Percentage points with 95% intervals, over {words.pictures(data)} ({data.sha256[:12]})."
    caption += f" The {most} that lose most, of {len(worst)}." if len(worst) > most else ""
    gates = dict.fromkeys(words.gate(a.validation) for a in accuracies)
    return figure(TITLE, " ".join([caption, *gates]), partial(accuracy.forest, worst[:most]))
